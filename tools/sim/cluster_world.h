// ClusterWorld: many members of a cluster, each the product's own core, on a simulated network that
// loses, delays and parts; in virtual time, and the same again from the same seed. It also holds
// each view to what must always be true of it, and stops with ClusterBroken where it is not.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "gossip/membership.h"

namespace p2p::sim {

using NodeNumber = std::uint32_t;

struct ClusterConfig {
  std::uint64_t seed = 1;
  double loss = 0;                                    // share of the datagrams
  Duration latency = std::chrono::microseconds(500);  // one way; half of it to one and a half
  bool guessed_endpoints = false;  // members believe others who see another address
  std::size_t seeds = 3;           // the first members, that all others greet
};

// Something that must never be so. The text says what, and when.
struct ClusterBroken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class ClusterWorld {
 public:
  explicit ClusterWorld(ClusterConfig config);
  ~ClusterWorld();

  // So many members that all know each other.
  void add_acquainted(std::size_t members);
  // One that knows the seeds alone.
  NodeNumber join();
  // One that sends from another address than it claims to be at, where it is reached too.
  NodeNumber join_behind_mapping();
  // Its host gets another address, and it is not told.
  void move(NodeNumber node);
  void crash(NodeNumber node);
  void leave(NodeNumber node);
  // A crashed or departed one again, with the same identity; at a new address, or at its own.
  void restart(NodeNumber node, bool new_address);
  void change_service_port(NodeNumber node);
  // Nothing passes between those of different groups. By default all are in group 0.
  void set_group(NodeNumber node, int group);
  // It gets to run for moments only, with waits of up to `most` between them, until `until`.
  void starve(NodeNumber node, Duration most, Time until);

  // `to` gets this packet now, whatever the network is like, as if `from` had sent it: so that a
  // test can tell a lie.
  void inject(NodeNumber from, NodeNumber to, const gossip::Packet& packet);

  void run_for(Duration duration);
  // Asks `done` each `step`; false when it was not in time.
  bool run_until(const std::function<bool()>& done, Duration limit,
                 Duration step = std::chrono::milliseconds(10));

  Time now() const { return now_; }
  std::size_t size() const { return nodes_.size(); }
  bool is_up(NodeNumber node) const { return nodes_[node]->core != nullptr; }
  std::size_t up() const { return up_; }
  const gossip::Membership& core(NodeNumber node) const { return *nodes_[node]->core; }
  const NodeNumber* find(const PeerId& id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : &found->second;
  }
  const Endpoint& endpoint(NodeNumber node) const { return nodes_[node]->endpoint; }
  const PeerId& id(NodeNumber node) const { return nodes_[node]->id; }
  // Of those that run, how many hold this of the member?
  std::size_t count_views(
      NodeNumber of, const std::function<bool(const gossip::MemberTable::Member*)>& holds) const;
  // Do all that run hold exactly those that run for live ones, with the same claims?
  bool views_equal() const;

  // Sent and received bytes since reset_traffic(), headers included, of all nodes.
  void reset_traffic();
  double mean_bytes_per_second() const;  // sent, a node
  // The most that one sent or received in a second of the clock.
  double peak_bytes_per_second() const;
  // The most that one sent or received on average.
  double worst_bytes_per_second() const;
  std::uint64_t packets() const { return packets_; }
  std::size_t wrongly_dead() const { return wrongly_dead_; }
  Random& random() { return random_; }

 private:
  struct Node {
    PeerId id;
    Endpoint endpoint;
    std::optional<Endpoint> source;  // when it sends from elsewhere
    std::uint64_t epoch = 0;
    std::unique_ptr<gossip::Membership> core;
    bool crashed = false;
    int group = 0;
    Time wake = kNever;  // the earliest that stands in the queue
    Time starved_until{}, blocked_until{};
    Duration most_blocked{};
    std::vector<std::uint32_t> inbox;  // while it is blocked
    std::uint64_t sent = 0, received = 0;
    std::uint64_t second_sent = 0, second_received = 0, peak = 0;
    std::int64_t second = 0;
  };
  struct Flight {
    gossip::Sender sender;
    NodeNumber from = 0, to = 0;
    std::optional<gossip::MemberKey> key;
    gossip::Packet packet;
    std::size_t bytes = 0;
  };
  enum class Kind : std::uint8_t { kWake, kArrive, kBlock };
  struct Event {
    Time at;
    std::uint64_t order;
    std::uint32_t what;  // a node, or a flight
    Kind kind;
    bool operator>(const Event& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  NodeNumber add_node();
  void launch(NodeNumber node);
  void check(NodeNumber viewer, const gossip::MemberTable::Member* before,
             const gossip::News& after);
  [[noreturn]] void broken(const std::string& what) const;
  Endpoint fresh_endpoint(NodeNumber node);
  void push(Time at, Kind kind, std::uint32_t what);
  void drain(NodeNumber number);
  void send(NodeNumber from, gossip::SendPacket action);
  void arrive(std::uint32_t flight);
  void deliver(std::uint32_t flight);
  void wake(NodeNumber number);
  void block(NodeNumber number);
  void step_to(Time end);
  void count(Node& node, std::size_t bytes, bool sent);

  ClusterConfig config_;
  Random random_;
  Time now_{};
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<NodeNumber> by_address_;  // the last node that had it
  absl::flat_hash_map<PeerId, NodeNumber> by_id_;
  std::vector<Flight> flights_;
  std::vector<std::uint32_t> free_flights_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t orders_ = 0, packets_ = 0;
  std::size_t up_ = 0, wrongly_dead_ = 0;
  bool parted_ = false;
  Time whole_since_{};
  Time traffic_since_{};
};

}  // namespace p2p::sim
