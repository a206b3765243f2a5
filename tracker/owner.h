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
//   gateways of others.
// - A peer without a zone is handed anybody, as if there were no zones.
// - Entries are at the address that the connection came from, with the announced port; port 0 is
//   counted and never handed out. With trust_advertised an advertised address goes first: best one
//   that is not loopback, then one of the family of the connection. A loopback address is believed
//   only from a loopback connection.
// - A peer beside its owner that connects over loopback is therefore found by other peers of that
//   host only, unless it advertises an address and is trusted.
// - Past a limit, and past a rate, the announce is refused with a text; what was kept stays.
// - A connection whose last answer by a Handout is kLifeIntervals old, or that never had one, is
//   closed within two of the shortest lives more: it has no entry, and places are few.
//
// With `share` several owners know each other's peers through a store beside them (owner_store.cc):
// - The table alone answers, at once. What is announced here goes out as StorePut and StoreRemove;
//   what others wrote comes in and is an entry like any other, but for the connection it has not.
// - A swarm is shared from its first announce here on, until none came for kFollowFor, or nobody is
//   left of it: that is looked at every kFollowCheck. Of one address no more are shared than it may
//   have swarms in the table. Who asks
//   before the store has told what it knows of the swarm is answered from the table, and is pushed
//   the rest when it has.
// - The last word on a peer counts, whoever wrote it, except on one that is connected here: where
//   another owner says that such a one is gone, or lives less than half as long as it does here, it
//   is written again.
// - A loopback address means something to the owners of one host only: share_loopback says that all
//   are.
//
// While somebody watches a swarm (watch(), again at least every kWatchFor), its peers here are
// asked for reports (owner_watch.cc): at most kMaxWatchedPeers of a swarm, the first that there
// are, and then some by lot. Where nobody does, nothing is asked for and a Report is ignored.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/random.h"
#include "base/rate_limiter.h"
#include "base/time.h"
#include "tracker/messages.h"
#include "tracker/peer_table.h"
#include "tracker/store_record.h"

namespace p2p::tracker {

inline constexpr Duration kDisconnectGrace = std::chrono::seconds(15);
inline constexpr double kIntervalJitter = 0.2;
inline constexpr double kLifeIntervals = 2.5;
inline constexpr std::size_t kNewsPeers = 4;  // incomplete peers told of one newcomer
inline constexpr std::size_t kFarPeers = 3;   // of other zones, for a gateway
inline constexpr std::size_t kMaxSwarmsPerConnection = 4096;

// How often peers may announce and look up.
//
// On a connection once in a second for each swarm that it has announced, and once more. An honest
// peer asks every kHungryInterval at most. It may be ahead of that by 20 s: as many swarms as a
// connection may have can be announced at once, and soon again. Past it, it is refused without any
// work; who is as far ahead again does not listen, and is left.
inline constexpr Duration kAnnounceGap = std::chrono::seconds(1);
inline constexpr Duration kAnnounceAhead = std::chrono::seconds(20);
// Of an address, over all its connections: at once what it may have entries. What is refused for
// this is no reason to leave a connection: others of the address may be to blame.
inline constexpr RateLimit kAnnouncesOfAddress{1000, 20'000};

// Longer than any interval: a swarm with a peer that is connected stays shared.
inline constexpr Duration kFollowFor = 2 * kMaxInterval;
// And so often it is looked whether anybody is left of a swarm; of so many at once.
inline constexpr Duration kFollowCheck = kDisconnectGrace;
inline constexpr std::size_t kMaxFollowsChecked = 8192;
// That a swarm cannot be shared is told of not more often.
inline constexpr Duration kUnsharedToldEvery = std::chrono::minutes(10);
// Connections of a swarm that are pushed what the store knows; the others ask again in time.
inline constexpr std::size_t kMaxWaitingForStore = 4096;
// Nobody is believed to live longer, whatever the store says.
inline constexpr Duration kMaxStoredLife =
    std::chrono::duration_cast<Duration>(kMaxInterval * kLifeIntervals);
// The `connection` of entries that came from the store.
inline constexpr ConnectionId kFromStore = UINT64_MAX;

inline constexpr Duration kWatchFor = std::chrono::seconds(10);
inline constexpr std::size_t kMaxWatchedSwarms = 16;
inline constexpr std::size_t kMaxWatchedPeers = 200;
inline constexpr std::size_t kMaxWatchedPeersInAll = 1000;
// Newcomers of a watched swarm are looked for so often.
inline constexpr Duration kWatchLook = std::chrono::seconds(1);

// A peer of a watched swarm.
struct WatchedPeer {
  ConnectionId connection;
  Time asked_until;  // it reports so long
  std::optional<Report> report = {};
  Time reported = Time::min();
  // Of all its reports: what its link has been seen to carry.
  std::uint64_t best_down = 0, best_up = 0;
  // Smoothed over some reports.
  double down = 0, up = 0;
};

struct WatchedSwarm {
  Time until;                  // watched so long
  Time look_at = Time::min();  // for newcomers
  std::map<PeerId, WatchedPeer> peers = {};
};

struct OwnerConfig {
  // The interval grows from min to max so that no more than this many announces arrive a second.
  // Hungry peers ask sooner (kHungryInterval) and are not counted.
  Duration min_interval = std::chrono::seconds(30);
  Duration max_interval = std::chrono::minutes(10);
  double announces_per_second = 1000;
  // Believe the addresses that peers advertise (an owner behind a cluster key); otherwise only the
  // address that the connection came from, so that nobody can announce a victim's.
  bool trust_advertised = false;
  // Only swarms that the owner's own host is in (set_self) are served: a seeder owns its own
  // contents and no others.
  bool own_swarms_only = false;
  TableLimits limits;
  RateLimit announces = kAnnouncesOfAddress;  // {}: as often as they like, on a connection too
  // Loopback addresses too: without it they may announce as often as they like.
  bool limits_loopback = false;
  bool share = false;  // through a store; at most limits.swarms swarms
  bool share_loopback = false;
};

// What an owner has done since it began.
struct OwnerStats {
  // That came in, by their event; those that were refused too.
  std::array<std::uint64_t, static_cast<std::size_t>(Event::kStopped) + 1> announces{};
  std::uint64_t lookups = 0;
  std::uint64_t handouts = 0;  // answers to either
  std::uint64_t news = 0;      // handouts that were pushed
  std::uint64_t refusals = 0;
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
// The store is to be asked for a swarm, then to tell of its changes: on_stored_peer for each entry,
// then on_store_loaded.
struct StoreFollow {
  SwarmId swarm;
};
struct StoreUnfollow {
  SwarmId swarm;
};
// Only of swarms that are followed.
struct StorePut {
  SwarmId swarm;
  StoredPeer peer;
  Time expires;
};
struct StoreRemove {
  SwarmId swarm;
  PeerId peer;
};
// Some swarm is not shared, for a limit: for the log.
struct StoreFull {
  std::string reason;
};
using OwnerAction = std::variant<SendMessage, CloseConnection, StoreFollow, StoreUnfollow, StorePut,
                                 StoreRemove, StoreFull>;

// How a peer of the store came to be known: told just now, or as one of the many that are read when
// a swarm is read again, of which its peers are not pushed each as news.
enum class Heard { kAsNews, kInReading };

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
  // same family where there is one. Setting it again replaces it. The share counts while it is not
  // complete.
  void set_self(const SwarmId& swarm, const PeerId& self, std::vector<Endpoint> endpoints,
                bool complete, std::string zone = {}, std::uint16_t have_permille = 0);

  void forget_self(const SwarmId& swarm) { selves_.erase(swarm); }

  // Somebody looks at the swarm. One too many: the one that was looked at longest ago is watched no
  // more.
  void watch(const SwarmId& swarm, Time now);
  // What is known of a swarm that is watched; null where it is not.
  const WatchedSwarm* watched(const SwarmId& swarm) const {
    const auto found = watched_.find(swarm);
    return found == watched_.end() ? nullptr : &found->second;
  }

  // What another owner wrote to the store. Of a swarm that is not followed: ignored.
  void on_stored_peer(const SwarmId& swarm, const StoredPeer& stored, Time expires, Time now,
                      Heard heard = Heard::kAsNews);
  void on_stored_removal(const SwarmId& swarm, const PeerId& peer, Time now);
  // All that the store knows of the swarm has come, or as much as is read of one.
  void on_store_loaded(const SwarmId& swarm, Time now);
  // What was announced here, to be written anew: of up to `count` of the swarm's entries from
  // position `first` on. Nothing where it has no more.
  std::optional<std::vector<StorePut>> own_entries(const SwarmId& swarm, std::size_t first,
                                                   std::size_t count) const;

  // After on_timeout(now) it may still be `now`: one call removes a bounded number of entries.
  Time next_timeout() const {
    return std::min({table_.next_expiry(), next_unfollow(), next_look()});
  }
  void on_timeout(Time now);
  std::optional<OwnerAction> poll_action();

  // For the daemon's log, its metrics and tests.
  const PeerTable& table() const { return table_; }
  const OwnerStats& stats() const { return stats_; }

 private:
  struct Connection {
    PeerId peer;
    IpAddress observed;
    // What was announced here and not stopped. Most connections have one: searched one by one.
    std::vector<SwarmId> swarms;
    Time announced_until = Time::min();  // its rate would have allowed what it has sent by then
    Time useless_at;                     // unless it is answered by a Handout before
    bool doubted = false;                // it was found useless once
  };
  struct Self {
    PeerId peer;
    std::vector<Endpoint> endpoints;
    bool complete = false;
    std::string zone;
    std::uint8_t have_percent = 0;
  };

  // A swarm that is shared.
  struct Followed {
    Time until;                                    // prolonged by announces
    std::optional<IpAddress> founder;              // its network(), where that is counted
    bool loading = true;                           // the store has not told yet
    std::map<ConnectionId, std::uint8_t> waiting;  // meanwhile, with what they want
  };

  void advance(Time now);
  void count(const Message& message);
  // False: it comes too often, and has had its answer.
  bool admit(ConnectionId id, Connection& connection, const Message& message);
  void on_announce(ConnectionId id, Connection& connection, const Announce& announce);
  void on_stopped(ConnectionId id, Connection& connection, const SwarmId& swarm);
  void on_lookup(ConnectionId id, Connection& connection, const Lookup& lookup);
  // False and a Refusal where the announce cannot be kept.
  bool keep(ConnectionId id, Connection& connection, const Announce& announce, Duration interval);
  void forget(ConnectionId id);
  void close_useless();
  void note_use(Connection& connection, Duration interval);
  Time next_look() const { return looks_.empty() ? kNever : looks_.front().first; }
  Time end_of_life(Duration interval) const;
  void send(ConnectionId id, Message message);
  void refuse(ConnectionId id, const SwarmId& swarm, std::string text);
  void push_news(const SwarmId& swarm, const PeerId& newcomer);
  void push(const SwarmId& swarm, const PeerId& to, const PeerRecord& record);
  void dismiss(const SwarmId& swarm, const PeerId& peer);
  bool serves(const SwarmId& swarm) const;
  bool is_self(const SwarmId& swarm, const PeerId& peer) const;
  Endpoint endpoint_of(const Connection& connection, const Announce& announce) const;
  std::vector<PeerRecord> handout(const SwarmId& swarm, const Connection& to, std::size_t want,
                                  bool with_shares = false);
  std::vector<PeerRecord> handout_by_zone(const Announce& announce, const Connection& to);
  // One of `others` and itself, all equally likely to be among `want`, is the owner.
  void add_self(std::vector<PeerRecord>& peers, const SwarmId& swarm, const Connection& to,
                std::size_t want, std::size_t others, bool far, bool with_shares = false);
  bool has_self_in(const SwarmId& swarm, std::string_view zone) const;
  Duration draw_interval();

  // owner_watch.cc
  void on_report(ConnectionId id, const Connection& connection, const Report& report);
  void ask_for_reports(const SwarmId& swarm, WatchedSwarm& watched);
  void end_watches();

  // owner_store.cc
  void follow(ConnectionId id, const Announce& announce, bool complete);
  bool may_follow(const std::optional<IpAddress>& founder, const IpAddress& observed);
  void unfollow_unasked();
  void stop_waiting(ConnectionId id, const SwarmId& swarm);
  Time next_unfollow() const { return unfollows_.empty() ? kNever : unfollows_.front().first; }
  // Where the swarm is shared.
  void store(const SwarmId& swarm, const PeerId& peer);
  void store_removal(const SwarmId& swarm, const PeerId& peer);
  std::optional<StorePut> stored_form(const SwarmId& swarm, const TableEntry& entry) const;
  bool is_connected(const TableEntry& entry) const {
    return connections_.contains(entry.connection);
  }

  OwnerConfig config_;
  Random random_;
  Time now_;
  PeerTable table_;
  RateLimiter announces_;
  absl::flat_hash_map<ConnectionId, Connection> connections_;
  // When each connection is looked at: in order of time, not of when they become useless.
  std::deque<std::pair<Time, ConnectionId>> looks_;
  absl::flat_hash_map<SwarmId, Self> selves_;
  absl::flat_hash_map<SwarmId, Followed> followed_;
  absl::flat_hash_map<IpAddress, std::size_t> follows_of_;  // by founder
  Time unshared_told_ = Time::min();
  // In order of time, which may be earlier than the swarm's true one.
  std::deque<std::pair<Time, SwarmId>> unfollows_;
  OwnerStats stats_;
  std::map<SwarmId, WatchedSwarm> watched_;
  std::size_t watched_peers_ = 0;  // of all
  std::deque<OwnerAction> actions_;
};

}  // namespace p2p::tracker
