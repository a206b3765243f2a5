// World: swarms joined by simulated links, in virtual time. Everything follows from the seed: the
// events of one moment happen in the order they were made.
//
// The links are a fluid model: each peer has an uplink and a downlink, and the transfers under way
// share them max-min fairly, as TCP roughly does. Chunks to one neighbour go one after the other.
// Messages only take the latency. Everything a swarm does is held against what it may do.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "peer/swarm.h"

namespace p2p::peer {

struct WorldOptions {
  std::uint64_t seed = 1;
  Layout layout;
  SwarmConfig swarm;
  Duration latency = std::chrono::milliseconds(1);
};

// How a peer deviates from what its swarm says.
struct Behaviour {
  bool never_sends = false;                       // SendChunk is not carried out
  bool trickles = false;                          // a byte each ten seconds
  bool never_reads = false;                       // what is sent to it does not end
  bool rejects_all = false;                       // answers each Request by kNotHere
  std::function<bool(ChunkIndex)> corrupts = {};  // flips a bit of this chunk
  // What it knows of this chunk is wrong.
  std::function<bool(ChunkIndex)> misknows = {};
};

struct LinkRates {
  double up = 3.125e6;  // bytes a second
  double down = 3.125e6;
};

class World {
 public:
  using PeerNumber = std::size_t;

  using Rates = LinkRates;

  explicit World(WorldOptions options);

  PeerNumber add_seeder(Rates rates = {}, Behaviour behaviour = {});
  PeerNumber add_fetcher(Rates rates = {}, Behaviour behaviour = {});
  PeerNumber add_peer(Bitfield have, Rates rates, Behaviour behaviour,
                      std::vector<PartialChunk> partial = {});
  void connect(PeerNumber a, PeerNumber b);
  void connect_all();
  // Each peer dials others at random until it has `degree` connections.
  void connect_randomly(std::size_t degree);
  // It is gone at once; the others notice after the latency.
  void kill(PeerNumber peer);
  void after(Duration delay, std::function<void()> what);

  // Until nothing is left to do but timers, or until then, or until the condition holds.
  void run(
      Duration limit, const std::function<bool()>& done = [] { return false; });
  // Until all living peers but those named are complete. Answers whether they are.
  bool run_to_completion(Duration limit, const std::set<PeerNumber>& but = {});

  Time now() const { return now_; }
  const Swarm& swarm(PeerNumber peer) const { return *peers_[peer].swarm; }
  bool connected(PeerNumber a, PeerNumber b) const;
  std::optional<Time> completed_at(PeerNumber peer) const { return peers_[peer].completed_at; }
  Time last_completion() const;
  // Whole chunks that went out, counted in contents.
  double copies_sent(PeerNumber peer) const;
  std::uint64_t bytes_sent(PeerNumber peer) const { return peers_[peer].bytes_sent; }
  bool has_banned(PeerNumber who, PeerNumber whom) const {
    return peers_[who].banned.contains(whom);
  }
  // The last Bye that `who` said to `whom`.
  std::optional<Bye> said_bye(PeerNumber who, PeerNumber whom) const;
  const std::vector<Report>& reports(PeerNumber peer) const { return peers_[peer].reports; }
  // Chunks that the peer began to send, in order.
  const std::vector<ChunkIndex>& sends(PeerNumber peer) const { return peers_[peer].sends; }
  std::uint64_t stops(PeerNumber peer) const { return peers_[peer].stops; }
  std::uint64_t trace() const { return trace_; }
  std::uint64_t events() const { return events_done_; }

 private:
  struct Transfer {
    ChunkIndex chunk;
    std::uint32_t bytes;         // of it that are sent
    double left;                 // bytes that have not gone out
    std::uint32_t reported = 0;  // bytes that the receiver was told of
  };
  // One side of a connection.
  struct End {
    ConnectionId id;
    PeerNumber owner;
    PeerNumber other_owner;
    End* other = nullptr;
    bool open = true;
    Bitfield told;                  // what the other side has said that it has
    std::set<ChunkIndex> expected;  // ReceiveChunk
    std::set<ChunkIndex> dropped;   // DropChunk
    // What the other side lacks of a chunk, by its word.
    std::map<ChunkIndex, std::uint32_t> partial;
    std::deque<Transfer> queue;  // to the other side
    double rate = 0;
    Time updated;
  };
  struct Peer {
    std::unique_ptr<Swarm> swarm;
    Rates rates;
    Behaviour behaviour;
    bool alive = true;
    std::vector<End*> ends;
    std::optional<Time> completed_at;
    Time wake_at = kNever;
    std::set<PeerNumber> banned;
    std::vector<std::pair<PeerNumber, Bye>> byes;
    std::vector<Report> reports;
    std::vector<ChunkIndex> sends;
    std::uint64_t chunks_sent = 0, bytes_sent = 0;
    std::uint64_t stops = 0;
  };
  struct Event {
    Time at;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const Event& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  void at(Time when, std::function<void()> what);
  void drain(PeerNumber peer);
  void act(PeerNumber peer, const SwarmAction& action);
  void note(std::uint64_t value);
  End* find_end(PeerNumber peer, ConnectionId id);
  void check_message(End& end, const Message& message);
  void deliver_message(End& from, const Message& message);
  void close_end(End& end);
  void begin_send(End& end, ChunkIndex chunk);
  void stop_send(End& end, ChunkIndex chunk);
  void end_send(End& end);
  void trickle(End& end, ChunkIndex chunk, std::uint32_t sent);
  void deliver_data(End& to, ChunkIndex chunk, std::uint32_t bytes, bool last, bool corrupt,
                    bool partial = false);
  void advance_flows();
  void share_links();
  void report_progress();
  bool flows(const End& end) const;

  WorldOptions options_;
  Random random_;
  Time now_{};
  std::vector<Peer> peers_;
  std::vector<std::unique_ptr<End>> ends_;
  std::priority_queue<Event> events_;
  std::uint64_t orders_ = 0;
  std::uint64_t events_done_ = 0;
  std::vector<End*> flowing_;
  bool flows_changed_ = false;
  Time next_flow_end_ = kNever;
  Time next_progress_{};
  std::uint64_t trace_ = 0xcbf29ce484222325u;
};

}  // namespace p2p::peer
