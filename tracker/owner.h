// Owner: the core of whoever owns a content's peer list; sans-IO. A tracker is an Owner behind a
// listener, and a seeder has one for its own content.
//
// Policy
// - A handout has at most kMaxPeersInMessage peers; a peer that is complete gets an empty one.
// - The interval is what keeps all entries together under announces_per_second, between
//   min_interval and max_interval, then jittered by kIntervalJitter and held within kMinInterval
//   and kMaxInterval. An entry lives kLifeIntervals of the interval that its peer was told.
// - `completed` counts at once; `stopped` removes at once and is not answered.
// - An entry belongs to the connection that announced it last. When that one goes, the entry stays
//   for kDisconnectGrace; the end of an older connection of the same peer changes nothing, and
//   neither does a `stopped` on it while the newer one is open.
// - A peer that announces `started` and was not in the swarm is pushed as news to at most
//   kNewsPeers random incomplete peers of it that are connected.
// - A peer that names a zone is handed peers of its zone. The zone's gateways (peer_table.h) are
//   handed kFarPeers of other zones as well, and more where the zone has too few for what they
//   want. Who is starving may become one. When the connection of an incomplete gateway goes,
//   another member takes its place at once, and hears of far peers as news.
// - News of a newcomer with a zone goes to peers of its zone, and, where it is a gateway, to
// gateways
//   of others.
// - A peer without a zone is handed anybody, as if there were no zones.
// - Entries are at the address that the connection came from, with the announced port; port 0 is
//   counted and never handed out. With trust_advertised an advertised address goes first: best one
//   that is not loopback, then one of the family of the connection. A loopback address is believed
//   only from a loopback connection.
// - A peer beside its owner that connects over loopback is therefore found by other peers of that
//   host only, unless it advertises an address and is trusted.
// - Past a limit the announce is refused with a text; what was kept stays.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/random.h"
#include "base/time.h"
#include "tracker/messages.h"
#include "tracker/peer_table.h"

namespace p2p::tracker {

inline constexpr Duration kDisconnectGrace = std::chrono::seconds(15);
inline constexpr double kIntervalJitter = 0.2;
inline constexpr double kLifeIntervals = 2.5;
inline constexpr std::size_t kNewsPeers = 4;  // incomplete peers told of one newcomer
inline constexpr std::size_t kFarPeers = 3;   // of other zones, for a gateway
inline constexpr std::size_t kMaxSwarmsPerConnection = 4096;

struct OwnerConfig {
  // The interval grows from min to max so that no more than this many announces arrive a second.
  // Hungry peers ask sooner (kHungryInterval) and are not counted.
  Duration min_interval = std::chrono::seconds(30);
  Duration max_interval = std::chrono::minutes(10);
  double announces_per_second = 1000;
  // Believe the addresses that peers advertise (an owner behind a cluster key); otherwise only the
  // address that the connection came from, so that nobody can announce a victim's.
  bool trust_advertised = false;
  // Where set, only this swarm is served: a seeder owns its own content and no other.
  std::optional<SwarmId> only_swarm;
  TableLimits limits;
};

struct SendMessage {
  ConnectionId connection;
  Message message;
};
// The owner has forgotten the connection already; on_disconnected may follow or not.
struct CloseConnection {
  ConnectionId connection;
  std::string reason;
};
using OwnerAction = std::variant<SendMessage, CloseConnection>;

class Owner {
 public:
  Owner(OwnerConfig config, Random random, Time now);

  // The id must not be one of an earlier connection. One peer may have several connections.
  void on_connected(ConnectionId connection, const PeerId& peer, const IpAddress& observed,
                    Time now);
  // A message that no peer sends to an owner (Handout, Refusal) closes the connection. Nothing
  // happens where the connection is not known (any more).
  void on_message(ConnectionId connection, const Message& message, Time now);
  void on_disconnected(ConnectionId connection, Time now);

  // The owner's own entry (a seeder that answers announces for its content): handed out with the
  // same probability as any other entry, never expires, and is not in table(). The address handed
  // out is chosen among `endpoints` by the asker's: loopback to loopback (and to nobody else), the
  // same family where there is one. Setting it again replaces it.
  void set_self(const SwarmId& swarm, const PeerId& self, std::vector<Endpoint> endpoints,
                bool complete, std::string zone = {});

  // After on_timeout(now) it may still be `now`: one call removes a bounded number of entries.
  Time next_timeout() const { return table_.next_expiry(); }
  void on_timeout(Time now);
  std::optional<OwnerAction> poll_action();

  // For the daemon's log and tests.
  const PeerTable& table() const { return table_; }

 private:
  struct Connection {
    PeerId peer;
    IpAddress observed;
    // What was announced here and not stopped. Most connections have one: searched one by one.
    std::vector<SwarmId> swarms;
  };
  struct Self {
    PeerId peer;
    std::vector<Endpoint> endpoints;
    bool complete = false;
    std::string zone;
  };

  void advance(Time now);
  void on_announce(ConnectionId id, Connection& connection, const Announce& announce);
  void on_stopped(ConnectionId id, Connection& connection, const SwarmId& swarm);
  void on_lookup(ConnectionId id, const Connection& connection, const Lookup& lookup);
  // False and a Refusal where the announce cannot be kept.
  bool keep(ConnectionId id, Connection& connection, const Announce& announce, Duration interval);
  void forget(ConnectionId id);
  void send(ConnectionId id, Message message);
  void refuse(ConnectionId id, const SwarmId& swarm, std::string text);
  void push_news(const SwarmId& swarm, const PeerId& newcomer);
  void push(const SwarmId& swarm, const PeerId& to, const PeerRecord& record);
  void dismiss(const SwarmId& swarm, const PeerId& peer);
  bool serves(const SwarmId& swarm) const;
  bool is_self(const SwarmId& swarm, const PeerId& peer) const;
  Endpoint endpoint_of(const Connection& connection, const Announce& announce) const;
  std::vector<PeerRecord> handout(const SwarmId& swarm, const Connection& to, std::size_t want);
  std::vector<PeerRecord> handout_by_zone(const Announce& announce, const Connection& to);
  // One of `others` and itself, all equally likely to be among `want`, is the owner.
  void add_self(std::vector<PeerRecord>& peers, const SwarmId& swarm, const Connection& to,
                std::size_t want, std::size_t others, bool far);
  bool has_self_in(const SwarmId& swarm, std::string_view zone) const;
  Duration draw_interval();

  OwnerConfig config_;
  Random random_;
  Time now_;
  PeerTable table_;
  absl::flat_hash_map<ConnectionId, Connection> connections_;
  absl::flat_hash_map<SwarmId, Self> selves_;
  std::deque<OwnerAction> actions_;
};

}  // namespace p2p::tracker
