// PeerBook: which peers of a swarm to dial, admit, keep and avoid; sans-IO. It keeps the number of
// neighbours near the degree, leaves room for newcomers, passes on whom it knows, and remembers who
// lied.
//
// Neighbours of another zone than ours are far. Few are wanted, and only owners say which (to a few
// of each zone): a neighbour that names a zone is told of others of that zone only.
//
// Endpoints on loopback are passed on only to neighbours that are on loopback themselves: to others
// they name a different host.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/random.h"
#include "base/time.h"
#include "peer/messages.h"
#include "peer/swarm.h"

namespace p2p::peer {

struct PeerBookConfig {
  PeerId self;
  // We dial until we have this many neighbours...
  std::size_t degree = 9;
  // ...and are found by others up to this many: not many more, for where some peers have several
  // times the neighbours of others, their links are not all used (with 50, a simulated swarm lost a
  // fifth of its speed). At the cap, a newcomer takes the place of a neighbour that has been there
  // for kSettled and is not busy (set_busy_test), so that no island forms.
  std::size_t max_neighbours = 18;
  // Of those, so many far ones while there are near ones to dial.
  std::size_t far_degree = 3;
  std::string zone;  // ours (base/zone.h)
  std::size_t max_dialing = 8;
  std::size_t max_candidates = 2000;
};

inline constexpr Duration kSettled = std::chrono::seconds(10);
inline constexpr Duration kFirstRedial = std::chrono::seconds(1);
inline constexpr Duration kLastRedial = std::chrono::minutes(1);
// An endpoint that is not lasting is forgotten after this many failures in a row.
inline constexpr unsigned kMaxFailures = 6;
// Who had to make place for a newcomer is no newcomer itself within this time.
inline constexpr Duration kEvictedFor = std::chrono::minutes(1);
inline constexpr Duration kPeersInterval =
    std::chrono::seconds(30);  // between two Peers messages to a neighbour
inline constexpr std::size_t kMaxBanned = 10'000;
inline constexpr Duration kSearchInterval = std::chrono::milliseconds(200);  // while hungry

// Make a TCP connection, shake hands, say Join. Ends in on_joined or on_dial_failed.
struct Dial {
  Endpoint endpoint;
};
// Close with a Bye. `known` is sent as Peers before it, for the one who is turned away.
struct Close {
  ConnectionId connection;
  Bye bye;
  std::vector<Endpoint> known;
};
struct SendPeers {
  ConnectionId connection;
  std::vector<Endpoint> endpoints;
};
using PeerBookAction = std::variant<Dial, Close, SendPeers>;

class PeerBook {
 public:
  PeerBook(PeerBookConfig config, Random random, Time now);

  // Who is in the middle of a chunk, either way, is not sent away for a newcomer: else, where a
  // chunk takes longer than kSettled, a crowd of newcomers would cut every one off, and none would
  // ever come through. Without a test nobody is busy.
  void set_busy_test(std::function<bool(ConnectionId)> is_busy) { is_busy_ = std::move(is_busy); }

  // From owners, links, and Peers messages. Undialable ones are skipped; over the cap, old failures
  // make room first. `lasting`: named by the link, never forgotten.
  void on_candidates(const std::vector<Endpoint>& endpoints, bool lasting, Time now);
  // From owners: of another zone.
  void on_far_candidates(const std::vector<Endpoint>& endpoints, Time now);

  // Both sides have said Join. `dialled` is the endpoint for our own dials. `listens` is where the
  // other side can be dialled (the observed address and its port), if it listens; `zone` is its own
  // word. Answers whether it is admitted as a neighbour; otherwise a Close action follows. Of two
  // connections between the same two peers, the one that the smaller PeerId dialled stays.
  bool on_joined(ConnectionId connection, const PeerId& peer, std::optional<Endpoint> dialled,
                 std::optional<Endpoint> listens, const std::string& zone, Time now);
  // Also for connections that a Close named: harmless where the connection is not known any more.
  void on_disconnected(ConnectionId connection, Time now);
  // `for_good`: it is ourselves, or it refused our secret.
  void on_dial_failed(const Endpoint& endpoint, bool for_good, Time now);
  // Closes nothing: who bans disconnects. It is not dialled nor admitted again.
  void ban(const PeerId& peer);
  bool is_banned(const PeerId& peer) const;

  // A complete peer dials nobody: those who lack something come to it.
  void set_complete(Time now);

  // While we are hungry, others are dialled beyond the degree, one each kSearchInterval, up to
  // max_neighbours; while we are starved, one of the neighbours goes for each when we are at
  // max_neighbours. A group of peers that all lack the same chunks would otherwise be content with
  // each other, and never end.
  void set_hunger(Hunger hunger, Time now);

  // How many more neighbours we could use, beyond the candidates at hand.
  std::size_t wanted() const;
  std::size_t neighbours() const;
  std::size_t dialing() const;
  // Is there anyone left to try, now or later?
  bool has_candidates() const;

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<PeerBookAction> poll_action();

 private:
  // A place where a peer may be. Found by endpoint; kept in a vector, in order of coming.
  struct Candidate {
    Endpoint endpoint;
    std::optional<PeerId> peer;  // who answered there last
    Time not_before = Time::min();
    unsigned failures = 0;
    bool lasting = false;
    bool far = false;
    bool dialling = false;
    bool connected = false;  // a neighbour is there
    bool dead = false;       // ourselves, a refused secret, or banned
  };
  struct Neighbour {
    ConnectionId connection;
    PeerId peer;
    std::optional<Endpoint> dialled;  // by us
    std::optional<Endpoint> listens;
    std::string zone;
    Time since;
    Time next_peers;
  };
  struct Evicted {
    PeerId peer;
    Time at;
  };

  Candidate* find_candidate(const Endpoint& endpoint);
  Candidate* add_candidate(const Endpoint& endpoint, bool lasting);
  bool make_room();
  void drop_candidate(std::size_t index);
  void fail(const Endpoint& endpoint, Time now);
  Duration backoff(unsigned failures);
  bool is_usable(const Candidate& candidate) const;
  Neighbour* find_neighbour(ConnectionId connection);
  std::vector<Endpoint> known_to(const Neighbour& reader) const;
  void close(const Neighbour& who, ByeReason reason, std::string text);
  void leave(std::size_t index, Time now);
  bool settle_duplicate(const Neighbour& newcomer, Time now);
  bool make_place(const Neighbour& newcomer, Time now);
  void send_peers(Neighbour& neighbour, Time now);
  void dial(Time now);
  bool is_hungry() const { return hunger_ != Hunger::kFed; }
  // Whom we may dial now: for want of near ones, of far ones, or, beyond the degree, anybody.
  struct Wish {
    bool near = false, far = false, search = false;
    bool far_last = false;  // far ones after all others
    bool is_any() const { return near || far || search; }
  };
  Wish wish(Time now);
  bool is_far(const Neighbour& neighbour) const;
  std::size_t far_neighbours() const;
  std::size_t near_links() const;  // neighbours and dials
  void make_place_for_dial(Time now);

  PeerBookConfig config_;
  std::function<bool(ConnectionId)> is_busy_;
  Random random_;
  std::vector<Candidate> candidates_;
  absl::flat_hash_map<Endpoint, std::size_t> by_endpoint_;  // index in candidates_
  std::vector<Neighbour> neighbours_;                       // in order of joining
  std::size_t dialling_ = 0, dialling_far_ = 0;
  absl::flat_hash_set<PeerId> banned_;
  std::deque<PeerId> banned_order_;
  std::deque<Evicted> evicted_;
  bool complete_ = false;
  Hunger hunger_ = Hunger::kFed;
  Time search_at_{};  // the next dial beyond the degree
  Time wake_at_ = kNever;
  std::deque<PeerBookAction> actions_;
};

}  // namespace p2p::peer
