// Scenario: what a simulated or real cluster does. One description for the simulator's flags, for
// the files in tools/scenarios/ (TOML, the same keys) and for the cluster lab, which reads them
// too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "content/layout.h"
#include "peer/peer_book.h"
#include "peer/swarm.h"

namespace p2p::sim {

// A moment of the run: "3s", or "50%" of the fluid bound.
struct Moment {
  double value = 0;  // seconds, or a share of the bound
  bool is_share = false;
};

// One of the events that a scenario lists.
struct ListedEvent {
  Moment at;          // from when the first peer may come
  bool kill = false;  // or else restart
  std::string host;   // tracker, or fetcher-1...

  bool is_of_tracker() const { return host == "tracker"; }
};

struct Scenario {
  std::uint32_t peers = 100;  // without the seeders
  std::uint64_t size_bytes = 1'000'000'000;
  std::uint32_t chunk_bytes = 0;  // 0: the product's rule
  double up = 125e6;              // bytes a second, of each peer
  double down = 125e6;
  std::uint32_t seeders = 1;
  double seed_up = 0;                               // 0: as `up`
  Duration latency = std::chrono::milliseconds(1);  // one way, between two hosts
  double loss =
      0;  // share of the messages that must be sent again: late by three latencies or more

  enum class Arrival { kSpread, kPoisson };
  Arrival arrival = Arrival::kSpread;
  Duration arrive_over{};  // kSpread: evenly over this time; 0: all at once
  double arrive_rate = 0;  // kPoisson: peers a second

  double churn = 0;            // share of the peers that is killed once...
  bool churn_at_once = false;  // ...at churn_at, or else between 25 % and 75 % of the bound
  Moment churn_at;
  Duration churn_back = std::chrono::seconds(2);  // started again with what it had verified

  double slow = 0;  // share of the peers with slow_rate, both ways
  double slow_rate = 0;
  double liars = 0;  // share of the peers whose chunks are corrupt
  bool has_tracker_down = false;
  Moment tracker_from, tracker_to;
  std::vector<ListedEvent> events;  // who is restarted while it runs, or is complete, is left alone
  std::uint32_t racks = 1;
  double rack_rate = 0;  // between a rack and the rest, each way
  bool zones = true;     // the hosts of a rack name it as their zone
  // How long a peer stays that has neighbours left who are not complete when it is; by default as
  // long as `p2p fetch` does.
  Duration linger = std::chrono::seconds(2);
  double disk = 0;         // bytes a second that a peer verifies and writes; 0: no limit
  double disk_faults = 0;  // share of the peers whose disk loses chunks that it serves
  bool tracker = true;     // the link names a tracker...
  bool direct = true;      // ...and the seeders, as what `p2p seed --tracker` prints does
  std::uint64_t seed = 1;

  // The product's own, for experiments.
  peer::SwarmConfig schedule;
  std::size_t degree = peer::PeerBookConfig{}.degree;
  std::size_t max_neighbours = peer::PeerBookConfig{}.max_neighbours;

  Layout layout() const;
  double seeder_up() const { return seed_up > 0 ? seed_up : up; }
  // Of those that are not slow.
  std::uint32_t slow_peers() const;

  // The least time in which fluid could be spread: the slowest of the seeders' uplinks for one
  // copy, a downlink for one, and all uplinks for all copies.
  double fluid_bound_seconds() const;
  // The same where chunks are relayed whole: floor(log2 N) chunk times more (for equal links and
  // one seeder; several start more trees).
  double chunks_bound_seconds() const;
  double seconds_of(const Moment& moment) const;
  // Which peer, from 0, that is; nothing where it is none.
  std::optional<std::uint32_t> fetcher_of(const ListedEvent& event) const;
};

Result<double> parse_link_rate(const std::string& text);   // "300MB/s", "25Mbit/s"; not 0
Result<Duration> parse_duration(const std::string& text);  // "100us", "1ms", "5s", "2min"
Result<Moment> parse_moment(const std::string& text);
std::string moment_text(const Moment& moment);

// Each sets what a flag of this form says; a message for the person where it does not parse.
Status parse_arrive(const std::string& text, Scenario& scenario);        // "5s", "poisson:100"
Status parse_churn(const std::string& text, Scenario& scenario);         // "0.05", "0.25@50%+2s"
Status parse_slow(const std::string& text, Scenario& scenario);          // "0.1:2.5Mbit/s"
Status parse_tracker_down(const std::string& text, Scenario& scenario);  // "20%:80%"
Status parse_racks(const std::string& text, Scenario& scenario);         // "4:1GB/s"
// A list in TOML, as the lab's: [{ at = "50%", do = "kill", host = "fetcher-7" }].
Status parse_events(const std::string& text, Scenario& scenario);
std::string events_text(const Scenario& scenario);
// Takes the list, for parse_events(), out of the text of a scenario file; nothing where it has
// none.
std::optional<std::string> take_events(std::string& toml);
// Part of check(): are there such hosts?
Status check_events(const Scenario& scenario);

// What no flag sees alone.
Status check(const Scenario& scenario);

// The flags that make this scenario, for a person to run it again.
std::string to_flags(const Scenario& scenario);

// Small, with faults, all from the seed.
Scenario random_scenario(std::uint64_t seed);

}  // namespace p2p::sim
