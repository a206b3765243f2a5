// Membership: who is in the cluster, as one member sees it; sans-IO. SWIM (Das, Gupta, Motivala
// 2002) with Lifeguard's corrections (Dadgar, Phillips, Currey 2017):
//  - each second it pings a member (membership_probe.cc); one that answers neither it nor
//    others on its behalf is suspected, and dead unless it says in time that it lives;
//  - what changes is told at random and spreads like a rumour (update_queue.h);
//  - whoever meets a member with another view exchanges what differs (membership_sync.cc);
//  - who only looks on can also ask who is not alive (membership_absent.cc).
// The shell seals and sends packets, opens what comes, and says what time it is.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/random.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "gossip/member_table.h"
#include "gossip/messages.h"
#include "gossip/update_queue.h"

namespace p2p::gossip {

// Probing. The first two grow with the penalty, for one that is slow itself.
inline constexpr Duration kProbeInterval = std::chrono::seconds(1);
inline constexpr Duration kAckTimeout = std::chrono::milliseconds(500);
inline constexpr std::size_t kRelays = 3;
inline constexpr Duration kRelayTimeout = std::chrono::milliseconds(350);
inline constexpr std::size_t kMaxRelayJobs = 64;
inline constexpr std::uint32_t kMaxPenalty = 8;
// What comes so much later than it was due shows that we do not get to run: nobody is blamed then.
inline constexpr Duration kLate = std::chrono::milliseconds(200);
// Telling news.
inline constexpr std::size_t kFanout = 4;
inline constexpr Duration kFreshDelay = std::chrono::milliseconds(10);
inline constexpr Duration kFreshInterval = std::chrono::milliseconds(30);
inline constexpr Duration kTellInterval = std::chrono::milliseconds(100);
inline constexpr double kNewsBytesPerSecond = 40e3;
// Exchanging what differs: every kFastSync while that brings much and when views have just come to
// differ, and less often up to every kSyncInterval; each wait between 2/3 and 4/3 of it.
inline constexpr Duration kFastSync = std::chrono::milliseconds(300);
inline constexpr Duration kSyncInterval = std::chrono::seconds(2);
inline constexpr Duration kSyncPatience = std::chrono::milliseconds(500);
inline constexpr double kSyncBytesPerSecond = 45e3;
// So many are asked for at one time.
inline constexpr std::size_t kMaxWanted = 500;
inline constexpr std::size_t kMaxGuests = 256;
// Finding others.
inline constexpr Duration kFirstGreet = std::chrono::seconds(1);
inline constexpr Duration kLastGreet = std::chrono::seconds(10);
// One seed at first: it may be everybody's; and when that one has not answered, several.
inline constexpr std::size_t kGreetAtOnce = 3;
// In company about so many of all members greet a seed in each interval.
inline constexpr Duration kGreetInCompany = std::chrono::seconds(30);
inline constexpr double kGreetersInCompany = 30;
inline constexpr Duration kReconnect = std::chrono::seconds(5);
inline constexpr std::size_t kMaxSeeds = 256;
// A host with several addresses may be seen at each: it keeps the one at which it was seen lately.
inline constexpr Duration kSeenLately = std::chrono::seconds(2);
// Asking who is not alive. Those who run longest know of most who died; what one of them has not
// heard another has.
inline constexpr std::size_t kAskedForAbsent = 3;
inline constexpr std::size_t kAbsentCandidates = 6;  // while some of them do not answer
inline constexpr Duration kAbsentTimeout = std::chrono::milliseconds(300);
inline constexpr std::size_t kAbsentTries = 3;
// One who leaves says so for as long.
inline constexpr Duration kLeaving = std::chrono::milliseconds(300);

struct MembershipConfig {
  PeerId id;
  std::uint64_t epoch = 0;
  Endpoint endpoint;               // not dialable: the one that others see
  bool endpoint_is_guess = false;  // others are believed who see another
  std::uint16_t service_port = 0;
  bool observer = false;  // looks on, and is in nobody's view
};

struct SendPacket {
  Endpoint where;
  std::optional<MemberKey> to;  // empty: a greeting, to whoever is there
  Packet packet;
};
// Another life of this member runs: this one is to end, or to begin again with a later epoch.
struct Superseded {
  std::uint64_t epoch = 0;  // the later one
};
// It answered a reach().
struct Reached {
  PeerId id;
};
// What ask_absent() could learn is in the table.
struct AbsentKnown {
  std::size_t answers = 0;  // of so many members, at most kAskedForAbsent
};
using MembershipAction = std::variant<SendPacket, Superseded, Reached, AbsentKnown>;

// Who sent a packet, as its datagram proves, and from where, which it does not.
struct Sender {
  Endpoint from;
  PeerId id;
  std::uint64_t epoch = 0;
  bool greeting = false;
};

class Membership {
 public:
  Membership(MembershipConfig config, Random random, Time now);

  // Where members may be, whether known or not; may be said again and again, as names resolve
  // anew. At most kMaxSeeds are taken.
  void set_seeds(std::vector<Endpoint> seeds, Time now);
  void on_packet(const Sender& sender, const Packet& packet, Time now);
  void set_endpoint(const Endpoint& endpoint, Time now);
  void set_service_port(std::uint16_t port, Time now);
  // Somebody could not reach it: it is probed next.
  void doubt(const PeerId& id, Time now);
  // Pings it, once; answered by Reached or by nothing.
  void reach(const PeerId& id, Time now);
  // An observer: asks the members that run longest who is suspected, died or left. Answered by
  // AbsentKnown. How long ago that was is told by `since` in the table.
  void ask_absent(Time now);
  // Says so to others for kLeaving; then left() and no more actions.
  void leave(Time now);
  bool left() const { return left_; }

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<MembershipAction> poll_action();

  // Also holds this member itself, once it has an address, unless it is an observer.
  const MemberTable& table() const { return table_; }
  const Claim& self() const { return *self_; }
  // Has an observer the view of the one that answered last?
  bool in_step() const { return heard_view_ && *heard_view_ == table_.summary(); }
  // Of the one that answered last; nothing before anybody did.
  const std::optional<ViewSummary>& heard_view() const { return heard_view_; }
  std::uint32_t penalty() const { return penalty_; }

  // For checks: called with each change of the view, before it is made; `before` is null for one
  // who was unknown.
  using Trace = std::function<void(const MemberTable::Member* before, const News& after)>;
  void set_trace(Trace trace) { trace_ = std::move(trace); }
  // For simulations: knows all these without having been told.
  void adopt(const std::vector<ClaimPtr>& claims, Time now);

 private:
  using Member = MemberTable::Member;
  enum class Purpose : std::uint8_t { kProbe, kRelay, kSync, kLastCall, kReach, kAbsent };
  struct SentPing {
    std::uint32_t number;
    Purpose purpose;
    PeerId to;
    Endpoint endpoint;
  };
  struct Probe {
    MemberKey target;
    Time relay_at, fail_at;
    bool again = false;  // it did not answer the one before either
    bool relayed = false;
    std::uint32_t relay_number = 0;
    std::size_t relays = 0, relays_heard = 0;
  };
  struct RelayJob {
    std::uint32_t ping_number, answer_number;
    MemberKey target, asker;
    Endpoint asker_at;
    Time until;
  };
  struct Suspicion {
    Time started, deadline;
    std::vector<std::uint64_t> accusers;  // at most 1 + kConfirmations
    bool mine = false;                    // we are one of them
    bool last_call = false;
  };
  // Did not answer when we pinged it for another.
  struct Silent {
    MemberKey key;
    Time at;
  };
  struct SentGreet {
    std::uint32_t number;
    Endpoint where;
  };
  // An observer that asks us, or a member that sends from elsewhere than it claims to be.
  struct Guest {
    MemberKey key;
    Endpoint endpoint;
    bool proven = false;
  };
  struct AbsentQuery {
    std::vector<MemberKey> members;  // to ask, one after the other
    std::size_t place = 0;
    std::uint32_t number = 0;  // of the question that waits; 0: a ping comes first, for the proof
    std::uint32_t proof = 0;
    std::uint64_t from = 0;
    std::size_t failures = 0;  // in a row
    std::size_t answers = 0;
    Time until;
  };
  // Bytes that may be sent: refills with time, holds a quarter of a second's.
  class Budget {
   public:
    explicit Budget(double bytes_per_second) : rate_(bytes_per_second), have_(most()) {}
    bool take(std::size_t bytes, Time now);
    // For what goes out in any case: less is left for those who take.
    void spend(std::size_t bytes, Time now);
    double left(Time now);
    double most() const { return rate_ / 4; }

   private:
    double rate_, have_;
    Time at_{};
  };

  // membership.cc
  void advance(Time now);
  void on_late(Duration late);
  bool learn(const News& news);
  void hear(const News& news);
  void hear_of_self(std::uint64_t epoch, Incarnation incarnation, MemberStatus status);
  void hear_self_claim(const Sender& sender, const SelfClaim& self);
  void hear_you(const YouAre& you);
  void hear_seen(const Sender& sender, const Endpoint& seen);
  void supersede(std::uint64_t epoch);
  void raise_incarnation(Incarnation above);
  void announce_self();
  bool is_speaking() const { return self_->endpoint.is_dialable(); }
  void queue(const News& news);
  void tell();
  void greet();
  void greet(const Endpoint& where);
  void reconnect();
  void send(const Endpoint& where, const MemberKey& to, Packet packet);
  SelfClaim self_claim() const;
  YouAre you_are(const PeerId& id, std::uint64_t epoch) const;
  std::uint32_t fresh_number();
  const Member* random_other();
  // Up to `count` different ones, without `except`.
  std::vector<const Member*> random_others(std::size_t count, const PeerId& except);
  std::size_t others() const { return table_.live() - (is_listed_ ? 1 : 0); }
  void on(const Sender& sender, const Gossip& gossip);
  void on(const Sender& sender, const Greet& greet);
  void on(const Sender& sender, const Welcome& welcome);

  // membership_probe.cc
  void start_probe();
  std::uint32_t ping(const MemberKey& to, const Endpoint& where, Purpose purpose);  // its number
  void ask_relays();
  void fail_probe();
  void succeed_probe();
  void finish_relays();
  void accuse(const PeerId& id);
  void suspect(const News& news);
  void second(const News& news);
  void add_accuser(const News& news);
  void set_deadline(const PeerId& id, Suspicion& suspicion, Time deadline);
  void end_suspicion(const PeerId& id);
  void judge_suspects();
  void on(const Sender& sender, const Ping& ping);
  void on(const Sender& sender, const Ack& ack);
  void on(const Sender& sender, const Relay& relay);
  void on(const Sender& sender, const RelayAnswer& answer);

  // membership_sync.cc
  void hear_view(const ViewSummary& view);
  bool has_much_to_gain() const;
  void start_sync();
  void send_digests(const Sender& to, std::uint32_t proof);
  std::uint32_t challenge_of(const Sender& sender) const;
  bool is_proven(const Sender& sender) const;
  void note_guest(const Sender& sender);
  void prove(const Sender& sender);
  void send_question(const Sender& to, Packet packet);
  bool send_budgeted(const Sender& to, Packet packet);
  void send_members_of(const Sender& to, const std::vector<std::size_t>& buckets);
  void send_listings(const Sender& to, const std::vector<std::size_t>& buckets, double lacks);
  bool send_records(const Sender& to, std::vector<News> records);
  void on(const Sender& sender, const Digests& digests);
  void on(const Sender& sender, const Listing& listing);
  void on(const Sender& sender, const Want& want);
  void on(const Sender& sender, const Records& records);

  // membership_absent.cc
  void ask_next_absent();
  void ask_absent_page();
  void end_absent_member(bool answered);
  void fail_absent();
  void learn_absent(const AbsentMember& absent);
  void on(const Sender& sender, const AskAbsent& ask);
  void on(const Sender& sender, const Absent& absent);

  MembershipConfig config_;
  Random random_;
  Secret secret_;  // of challenges
  Time now_;
  Trace trace_;
  MemberTable table_;
  ClaimPtr self_;
  const bool endpoint_is_learned_;
  bool is_listed_ = false;  // we stand in the table ourselves
  UpdateQueue updates_;
  std::deque<MembershipAction> actions_;

  std::uint32_t penalty_ = 0;
  std::optional<Probe> probe_;
  std::optional<PeerId> doubted_;
  std::optional<MemberKey> silent_target_;  // of the last probe: it is probed again
  bool probe_successor_ = false;
  std::deque<SentPing> pings_;
  std::vector<RelayJob> relay_jobs_;
  std::deque<Silent> silent_;  // at most kMaxRelayJobs, the latest
  absl::flat_hash_map<PeerId, Suspicion> suspicions_;
  std::set<std::pair<Time, PeerId>> deadlines_;  // of suspicions_

  Budget news_budget_{kNewsBytesPerSecond}, sync_budget_{kSyncBytesPerSecond};
  std::optional<ViewSummary> heard_view_;
  bool behind_ = false;     // somebody has another view
  std::size_t gained_ = 0;  // by what came since the last sync began
  Time synced_at_;
  Duration sync_interval_ = kFastSync;
  std::vector<Guest> guests_;
  std::optional<AbsentQuery> absent_;

  std::vector<Endpoint> seeds_;
  std::deque<SentGreet> greets_;
  Duration greet_wait_ = kFirstGreet;
  // What others see as our address and we do not: the last who said so.
  std::optional<std::pair<PeerId, Endpoint>> witness_;
  Time seen_there_ = Time::min();  // somebody reached us where we say we are
  bool superseded_ = false;

  Time probe_at_, tell_at_ = kNever, told_at_, sync_at_ = kNever, greet_at_ = kNever;
  Time reconnect_at_, forget_at_, left_at_ = kNever;
  bool left_ = false;
};

}  // namespace p2p::gossip
