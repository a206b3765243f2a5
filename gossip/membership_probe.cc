// Membership: who answers, and what becomes of those who do not.
#include <algorithm>

#include "gossip/membership.h"
#include "gossip/suspicion.h"

namespace p2p::gossip {
namespace {

// In place of an observer's claim, which nobody takes: as long as any, so that an answer with a
// challenge, which must not be longer than the ping, may be sent.
const SelfClaim& filling() {
  static const SelfClaim claim = [] {
    Bytes address(16, 0x7f);
    return SelfClaim{kMaxIncarnation, {IpAddress::from_bytes(address).value(), 0xffff}, 0xffff};
  }();
  return claim;
}

constexpr std::size_t kMaxSentPings = 1024;
// So many suspects are judged at one time; the others a moment later.
constexpr int kJudgedAtOnce = 64;

}  // namespace

// ---- probing ----

std::uint32_t Membership::ping(const MemberKey& to, const Endpoint& where, Purpose purpose) {
  const std::uint32_t number = fresh_number();
  pings_.push_back({number, purpose, to.id, where});
  if (pings_.size() > kMaxSentPings) pings_.pop_front();
  send(where, to,
       Ping{number, config_.observer, config_.observer ? filling() : self_claim(),
            you_are(to.id, to.epoch), where, table_.summary()});
  return number;
}

void Membership::start_probe() {
  const auto slowed = [&](Duration duration) { return duration * (penalty_ + 1); };
  probe_at_ = now_ + slowed(kProbeInterval);
  if (!is_speaking()) return;
  if (probe_) fail_probe();
  const auto live = [&](const PeerId& id) {
    const Member* member = table_.find(id);
    return member && is_live(member->status) ? member : nullptr;
  };
  const auto silent = std::exchange(silent_target_, std::nullopt);
  const Member* target = silent ? live(silent->id) : nullptr;
  if (target && target->key() != *silent) target = nullptr;  // another life of it
  const bool again = target != nullptr;
  if (!target && doubted_) target = live(*std::exchange(doubted_, std::nullopt));
  // In turn one at random, and the one that follows in the order of ids: so that it is also
  // certain, and soon, that each is probed by somebody.
  if (!target) {
    probe_successor_ = !probe_successor_;
    target = probe_successor_ ? table_.successor(config_.id) : random_other();
  }
  if (!target) return;
  probe_ = Probe{target->key(), now_ + slowed(kAckTimeout), probe_at_, again};
  ping(target->key(), target->claim->endpoint, Purpose::kProbe);
}

void Membership::doubt(const PeerId& id, Time now) {
  advance(now);
  const Member* member = table_.find(id);
  if (left_ || config_.observer || id == config_.id || !member ||
      member->status != MemberStatus::kAlive)
    return;
  doubted_ = id;
  if (!probe_) probe_at_ = std::min(probe_at_, now_);
}

void Membership::reach(const PeerId& id, Time now) {
  advance(now);
  const Member* member = table_.find(id);
  if (left_ || id == config_.id || !member) return;
  ping(member->key(), member->claim->endpoint, Purpose::kReach);
}

// It did not answer in time: others may reach it, and one packet may have been lost.
void Membership::ask_relays() {
  probe_->relayed = true;
  const Member* target = table_.find(probe_->target.id);
  if (!target || target->key() != probe_->target || !is_live(target->status)) return probe_.reset();
  probe_->relay_number = fresh_number();
  const std::vector<const Member*> relays = random_others(kRelays, target->claim->id);
  for (const Member* relay : relays)
    send(relay->claim->endpoint, relay->key(),
         Relay{probe_->relay_number, target->key(), target->claim->endpoint});
  probe_->relays = relays.size();
  ping(target->key(), target->claim->endpoint, Purpose::kProbe);
}

void Membership::succeed_probe() {
  probe_.reset();
  if (penalty_ > 0) --penalty_;
}

void Membership::fail_probe() {
  // Relays that say nothing at all speak against us, not against the one we probed.
  const std::size_t silent = probe_->relays - std::min(probe_->relays, probe_->relays_heard);
  const std::size_t blame = probe_->relays == 0 ? 1 : silent;
  penalty_ = std::min(penalty_ + static_cast<std::uint32_t>(blame), kMaxPenalty);
  const MemberKey target = probe_->target;
  const bool again = probe_->again;
  probe_.reset();
  const Member* member = table_.find(target.id);
  if (!member || member->key() != target) return;
  // All are told of a suspicion and of what refutes it, so one is not raised for a few lost
  // packets.
  if (again || member->status == MemberStatus::kSuspect)
    accuse(target.id);
  else
    silent_target_ = target;
}

void Membership::on(const Sender& sender, const Relay& relay) {
  if (config_.observer || relay.target.id == config_.id || relay_jobs_.size() >= kMaxRelayJobs)
    return;
  const std::uint32_t number = ping(relay.target, relay.endpoint, Purpose::kRelay);
  relay_jobs_.push_back({number,
                         relay.number,
                         relay.target,
                         {sender.id, sender.epoch},
                         sender.from,
                         now_ + kRelayTimeout});
}

void Membership::finish_relays() {
  for (std::size_t i = 0; i < relay_jobs_.size();) {
    if (relay_jobs_[i].until > now_) {
      ++i;
      continue;
    }
    const RelayJob job = relay_jobs_[i];
    relay_jobs_.erase(relay_jobs_.begin() + static_cast<std::ptrdiff_t>(i));
    send(job.asker_at, job.asker, RelayAnswer{job.answer_number, false});
    // A lost packet does not make a suspect; but if it is one, we have seen it too.
    const Member* target = table_.find(job.target.id);
    if (penalty_ > 0 || !target || target->key() != job.target) continue;
    if (target->status == MemberStatus::kSuspect) accuse(job.target.id);
    silent_.push_back({job.target, now_});
    if (silent_.size() > kMaxRelayJobs) silent_.pop_front();
  }
}

void Membership::on(const Sender&, const RelayAnswer& answer) {
  if (!probe_ || !probe_->relayed || answer.number != probe_->relay_number) return;
  ++probe_->relays_heard;
  if (answer.answered) succeed_probe();
}

void Membership::on(const Sender& sender, const Ping& ping) {
  if (!is_speaking() && !config_.observer) return;
  if (!ping.observer) hear_self_claim(sender, ping.self);
  // One behind a mapped port, or with several addresses, sends from elsewhere than it claims to be:
  // it is where it sends from that is to be proven then.
  if (const Member* member = table_.find(sender.id);
      !member || member->claim->endpoint != sender.from)
    note_guest(sender);
  hear_you(ping.you);
  hear_seen(sender, ping.seen);
  if (!ping.observer) hear_view(ping.view);
  const bool proven = is_proven(sender);
  Ack ack{ping.number,  proven ? 0 : challenge_of(sender),
          self_claim(), you_are(sender.id, sender.epoch),
          sender.from,  table_.summary()};
  if (ping.observer) ack.you = {};
  // Whoever sent it may not be where it seems to come from: no more goes there than came.
  if (!proven && encoded_bytes(ack) > encoded_bytes(ping)) ack.seen = {};
  if (!proven && encoded_bytes(ack) > encoded_bytes(ping)) ack.challenge = 0;
  if (!proven && encoded_bytes(ack) > encoded_bytes(ping)) return;
  send(sender.from, {sender.id, sender.epoch}, ack);
}

void Membership::on(const Sender& sender, const Ack& ack) {
  const auto sent = std::find_if(pings_.begin(), pings_.end(), [&](const SentPing& pinged) {
    return pinged.number == ack.number && pinged.to == sender.id;
  });
  if (sent == pings_.end()) return;
  const SentPing pinged = *sent;
  pings_.erase(sent);
  hear_self_claim(sender, ack.self);
  hear_you(ack.you);
  hear_seen(sender, ack.seen);
  if (pinged.endpoint == sender.from) prove(sender);
  if (pinged.purpose == Purpose::kReach) actions_.push_back(Reached{sender.id});
  if (pinged.purpose == Purpose::kAbsent && absent_ && absent_->number == 0 &&
      absent_->members[absent_->place] == MemberKey{sender.id, sender.epoch}) {
    absent_->proof = ack.challenge;
    ask_absent_page();
  }
  if (pinged.purpose == Purpose::kRelay) {
    const auto job = std::find_if(relay_jobs_.begin(), relay_jobs_.end(),
                                  [&](const RelayJob& j) { return j.ping_number == ack.number; });
    if (job != relay_jobs_.end()) {
      send(job->asker_at, job->asker, RelayAnswer{job->answer_number, true});
      relay_jobs_.erase(job);
    }
  } else if (probe_ && probe_->target.id == sender.id) {
    succeed_probe();
  }
  heard_view_ = ack.view;
  hear_view(ack.view);
  // One that answers from elsewhere may not be there, and digests are larger than its answer.
  const bool is_there = pinged.endpoint == sender.from || is_proven(sender);
  if (behind_ && is_there && pinged.purpose == Purpose::kSync) send_digests(sender, ack.challenge);
}

// ---- suspicion ----

void Membership::accuse(const PeerId& id) {
  const Member* member = table_.find(id);
  if (!member || !is_live(member->status) || config_.observer) return;
  const News news{member->claim, MemberStatus::kSuspect, tag_of(config_.id)};
  if (member->status == MemberStatus::kAlive) {
    if (learn(news)) queue(news);
  } else {
    add_accuser(news);
  }
}

// It has just become a suspect.
void Membership::suspect(const News& news) {
  end_suspicion(news.id());
  Suspicion& suspicion = suspicions_[news.id()];
  suspicion.started = now_;
  suspicion.deadline = now_ + kSuspicionMax;
  deadlines_.emplace(suspicion.deadline, news.id());
  add_accuser(news);
}

// Others are to know that it was silent to us too.
void Membership::second(const News& news) {
  const MemberKey key{news.id(), news.claim->epoch};
  if (std::any_of(silent_.begin(), silent_.end(), [&](const Silent& silent) {
        return silent.key == key && silent.at + kSuspicionMin >= now_;
      }))
    accuse(news.id());
}

void Membership::add_accuser(const News& news) {
  const auto found = suspicions_.find(news.id());
  if (found == suspicions_.end() || news.accuser == 0) return;
  Suspicion& suspicion = found->second;
  std::vector<std::uint64_t>& accusers = suspicion.accusers;
  if (accusers.size() > kConfirmations ||
      std::find(accusers.begin(), accusers.end(), news.accuser) != accusers.end())
    return;
  accusers.push_back(news.accuser);
  suspicion.mine |= news.accuser == tag_of(config_.id);
  // Others are to know of each; the first is news anyway.
  if (accusers.size() > 1) queue(news);
  // Those who accuse it give the verdict; the others wait, lest one who is slow gives it early.
  if (suspicion.mine && !suspicion.last_call)
    set_deadline(news.id(), suspicion,
                 suspicion.started + suspicion_time(accusers.size(), table_.live()));
}

void Membership::set_deadline(const PeerId& id, Suspicion& suspicion, Time deadline) {
  deadlines_.erase({suspicion.deadline, id});
  suspicion.deadline = deadline;
  deadlines_.emplace(deadline, id);
}

void Membership::end_suspicion(const PeerId& id) {
  const auto found = suspicions_.find(id);
  if (found == suspicions_.end()) return;
  deadlines_.erase({found->second.deadline, id});
  suspicions_.erase(found);
}

void Membership::judge_suspects() {
  for (int i = 0; i < kJudgedAtOnce && !deadlines_.empty(); ++i) {
    if (deadlines_.begin()->first > now_) return;
    const PeerId id = deadlines_.begin()->second;
    Suspicion& suspicion = suspicions_.at(id);
    const Member* member = table_.find(id);
    if (config_.observer || !member) {
      end_suspicion(id);
      continue;
    }
    if (!suspicion.last_call && others() > 1) {
      // It hears once more that it is a suspect, and has the time of an answer.
      suspicion.last_call = true;
      ping(member->key(), member->claim->endpoint, Purpose::kLastCall);
      set_deadline(id, suspicion, now_ + kAckTimeout);
      continue;
    }
    const News news{member->claim, MemberStatus::kDead, tag_of(config_.id)};
    if (learn(news)) queue(news);
  }
}

}  // namespace p2p::gossip
