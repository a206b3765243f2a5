// Announcer: one peer's side of discovery for one swarm; sans-IO. Keeps connections to its owners,
// announces on them, reconnects with back-off, and turns handouts and news into candidates.
//
// Owners are ranked, and it stays announced at the best `spread` of those that work. One that fails
// is passed over: the next in rank is connected at once, and the one that failed is tried again
// from time to time. When it answers it is taken back, and the lowest in rank is left.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/endpoint.h"
#include "base/id.h"
#include "base/random.h"
#include "base/time.h"
#include "tracker/messages.h"

namespace p2p::tracker {

// The shell's number of an owner: the same for as long as the owner is ranked.
using OwnerNumber = std::uint32_t;

// The wait before connecting again doubles from the first to the last; each wait is drawn between
// its half and the whole, so that the peers of an owner that restarted do not come at once. It
// starts anew when a connection has brought a Handout.
inline constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
inline constexpr Duration kLastRetry = std::chrono::seconds(20);
inline constexpr Duration kAnswerTimeout = std::chrono::seconds(10);
// Used until a handout names an interval.
inline constexpr Duration kDefaultInterval = std::chrono::seconds(30);
// A peer with too few neighbours asks sooner than the interval, but not more often than this. While
// it stays hungry the wait doubles up to the interval; wanting more than before starts it anew.
// An owner that refused is asked again so too, for what stands in the way may pass (a rate, a full
// table), each wait drawn between its half and the whole: a site that was past its rate does not
// come back at once.
inline constexpr Duration kHungryInterval = std::chrono::seconds(5);

struct AnnouncerConfig {
  SwarmId swarm;
  std::vector<OwnerNumber> owners;  // best first, each once
  std::size_t spread = 0;           // how many of them to be announced at; 0: all
  std::uint16_t listen_port = 0;
  std::string zone;                  // base/zone.h
  std::vector<Endpoint> advertised;  // the first kMaxAdvertised that are dialable are sent
};

struct ConnectOwner {
  OwnerNumber owner;
};
// Give up this connection: it did not answer in time, or broke the protocol. The announcer has
// counted it as gone and will connect again; report on_owner_disconnected before that or not at
// all.
struct DisconnectOwner {
  OwnerNumber owner;
  std::string reason;
};
// An owner that is not needed any more: close the connection, or give up making it, once what was
// sent is out. It is not to be reported as disconnected.
struct LeaveOwner {
  OwnerNumber owner;
};
struct SendToOwner {
  OwnerNumber owner;
  Message message;
};
// At most kMaxPeersInMessage, as the owner gave them: nothing is kept, nothing is weeded out.
struct FoundPeers {
  OwnerNumber owner;
  std::vector<PeerRecord> peers;
};
// Send this owner a Report of the swarm, as it is now.
struct ReportTo {
  OwnerNumber owner;
};
using AnnouncerAction =
    std::variant<ConnectOwner, DisconnectOwner, LeaveOwner, SendToOwner, FoundPeers, ReportTo>;

class Announcer {
 public:
  // The first actions, a ConnectOwner for each of the first `spread` owners, stand ready at once.
  Announcer(AnnouncerConfig config, Random random, Time now);

  // The first announce of a connection says `started` (again until one is answered by a Handout),
  // and whether the peer is complete.
  void on_owner_connected(OwnerNumber owner, Time now);
  // Also for a connection that could not be made.
  void on_owner_disconnected(OwnerNumber owner, Time now);
  // A message that no owner sends disconnects it. One of another swarm is ignored, so that several
  // announcers may share a connection. A Handout that was not asked for is news: its interval does
  // not count.
  void on_message(OwnerNumber owner, const Message& message, Time now);

  // Other owners, or another order, best first, each once. Connections to those that stay are kept;
  // those that are not named any more hear `stopped` and are left at once. To stay announced at the
  // old until the new have answered, name a few more than `spread`.
  void set_owners(const std::vector<OwnerNumber>& ranked, Time now);

  // What the next announces say. Completion is announced at once: each connected owner hears
  // `completed` once, unless it was told with `started`.
  void set_progress(std::uint16_t have_permille, bool complete, Time now);
  // How many more neighbours the swarm could use; 0 when it has enough or is complete. Best said
  // before the first connection: an announce asks for as many, and a later wish waits for the next.
  void set_wanted(std::size_t peers, Time now);
  // Whether it lacks chunks that nobody it knows has. Who begins to starve asks again as soon as a
  // hungry peer may.
  void set_starving(bool starving, Time now);
  // Says `stopped` to every connected owner, once; no timers after it, and every other input is
  // ignored (a connection that comes up late is left).
  void stop(Time now);

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<AnnouncerAction> poll_action();

  // Text of the last refusal of an owner, for the person; empty when none.
  const std::string& last_refusal() const { return last_refusal_; }

 private:
  // Idle: not tried, for there are enough that rank higher.
  enum class State { kIdle, kWaiting, kConnecting, kConnected };
  struct OwnerLink {
    OwnerNumber number = 0;
    State state = State::kIdle;
    bool failed = false;           // since its last Handout: it is passed over
    Duration retry = kFirstRetry;  // before jitter
    Time retry_at;                 // while waiting, and after a refusal
    // Of the connection:
    Time announced_at;
    bool awaiting = false;       // an answer to the announce of announced_at
    bool accepted = false;       // it answered with a Handout
    bool told_complete = false;  // an announce said so
    Duration interval = kDefaultInterval;
    Duration hungry_wait = kHungryInterval;
    // It has asked for reports up to the first; the next is due at the second.
    Time watched_until = Time::min(), report_at = kNever;
  };

  OwnerLink* find(OwnerNumber owner);
  bool is_hungry() const { return wanted_ > 0 && !complete_; }
  Time due(const OwnerLink& link) const;
  void on_watch(OwnerLink& link, const Watch& watch);
  void report(OwnerLink& link);
  void settle();
  void connect(OwnerLink& link);
  void leave(OwnerLink& link);
  void announce(OwnerLink& link, Event event);
  void on_handout(OwnerLink& link, const Handout& handout);
  void on_refusal(OwnerLink& link, const Refusal& refusal);
  void give_up(OwnerLink& link, std::string reason);
  Duration jittered(Duration wait);
  void fail(OwnerLink& link);

  AnnouncerConfig config_;
  Random random_;
  Time now_;
  std::vector<OwnerLink> links_;  // best first
  std::uint16_t have_permille_ = 0;
  bool complete_ = false;
  std::size_t wanted_ = 0;
  bool starving_ = false;
  bool stopped_ = false;
  std::string last_refusal_;
  std::deque<AnnouncerAction> actions_;
};

}  // namespace p2p::tracker
