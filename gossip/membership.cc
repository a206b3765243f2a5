#include "gossip/membership.h"

#include <algorithm>
#include <utility>

namespace p2p::gossip {
namespace {

constexpr Duration kForgetInterval = std::chrono::minutes(10);
constexpr std::size_t kMaxSentGreets = 16;
constexpr int kPickTries = 32;

}  // namespace

double Membership::Budget::left(Time now) {
  have_ = std::min(most(), have_ + rate_ * to_seconds(now - at_));
  at_ = now;
  return have_;
}

void Membership::Budget::spend(std::size_t bytes, Time now) {
  have_ = std::max(left(now) - static_cast<double>(bytes), 0.0);
}

bool Membership::Budget::take(std::size_t bytes, Time now) {
  if (left(now) < static_cast<double>(bytes)) return false;
  spend(bytes, now);
  return true;
}

Membership::Membership(MembershipConfig config, Random random, Time now)
    : config_(std::move(config)),
      random_(random.fork("membership")),
      now_(now),
      endpoint_is_learned_(config_.endpoint_is_guess || !config_.endpoint.is_dialable()),
      synced_at_(now),
      told_at_(now) {
  Bytes secret(Secret::kSize);
  for (std::size_t i = 0; i < secret.size(); i += 8) put_u64(&secret[i], random_.next());
  secret_ = Secret::from_bytes(secret).value();
  // Members that start together do not act together.
  const auto within = [&](Duration span) {
    return now + from_seconds(to_seconds(span) * random_.unit());
  };
  probe_at_ = config_.observer ? kNever : within(kProbeInterval);
  reconnect_at_ = config_.observer ? kNever : within(kReconnect);
  forget_at_ = now + kForgetInterval;
  self_ = std::make_shared<Claim>(
      Claim{config_.id, config_.epoch, 0, config_.endpoint, config_.service_port});
  if (is_speaking()) announce_self();
}

// ---- what is known ----

// The claim as it is now, to the table and to all.
void Membership::announce_self() {
  if (config_.observer || left_at_ != kNever) return;
  const News news{self_, MemberStatus::kAlive, 0};
  if (!learn(news)) return;
  is_listed_ = true;
  queue(news);
}

void Membership::raise_incarnation(Incarnation above) {
  // A newer claim would overrule that it leaves.
  if (left_at_ != kNever) return;
  const Incarnation highest = std::max(above, self_->incarnation);
  if (highest >= kMaxIncarnation) {
    // Nothing is above that, in this life.
    return supersede(config_.epoch);
  }
  auto claim = std::make_shared<Claim>(*self_);
  claim->incarnation = highest + 1;
  claim->endpoint = config_.endpoint;
  claim->service_port = config_.service_port;
  self_ = std::move(claim);
  announce_self();
}

void Membership::set_endpoint(const Endpoint& endpoint, Time now) {
  advance(now);
  if (left_ || !endpoint.is_dialable() || endpoint == config_.endpoint) return;
  config_.endpoint = endpoint;
  raise_incarnation(0);
}

void Membership::set_service_port(std::uint16_t port, Time now) {
  advance(now);
  if (left_ || port == config_.service_port) return;
  config_.service_port = port;
  if (is_speaking())
    raise_incarnation(0);
  else
    self_ = std::make_shared<Claim>(
        Claim{config_.id, config_.epoch, self_->incarnation, config_.endpoint, port});
}

// Into the table; whether it was new. Suspicions follow the status.
bool Membership::learn(const News& news) {
  if (trace_) {
    const Member* before = table_.find(news.id());
    if (!before || news.rank() > before->rank()) trace_(before, news);
  }
  if (!table_.put(news, now_)) return false;
  if (news.id() == config_.id) return true;
  if (news.status == MemberStatus::kSuspect)
    suspect(news);
  else
    end_suspicion(news.id());
  return true;
}

// What somebody told, to be told on when it is new.
void Membership::hear(const News& news) {
  if (news.id() == config_.id)
    return hear_of_self(news.claim->epoch, news.claim->incarnation, news.status);
  const Member* known = table_.find(news.id());
  const bool is_new = !known || news.rank() > known->rank();
  if (is_new) {
    if (!learn(news)) return;
    queue(news);
    if (news.status == MemberStatus::kSuspect) second(news);
    return;
  }
  if (known->rank() != news.rank()) return;
  updates_.heard(news);
  if (news.status == MemberStatus::kSuspect) add_accuser(news);
}

void Membership::hear_of_self(std::uint64_t epoch, Incarnation incarnation, MemberStatus status) {
  if (config_.observer || left_at_ != kNever || epoch < config_.epoch) return;
  if (epoch > config_.epoch) {
    return supersede(epoch);
  }
  if (incarnation < self_->incarnation) return;
  if (incarnation == self_->incarnation && status == MemberStatus::kAlive) return;
  // Who is suspected may well be slow.
  if (status != MemberStatus::kAlive) penalty_ = std::min(penalty_ + 1, kMaxPenalty);
  raise_incarnation(incarnation);
}

void Membership::supersede(std::uint64_t epoch) {
  if (!std::exchange(superseded_, true)) actions_.push_back(Superseded{epoch});
}

void Membership::hear_you(const YouAre& you) {
  hear_of_self(config_.epoch, you.incarnation, you.status);
}

void Membership::hear_self_claim(const Sender& sender, const SelfClaim& self) {
  if (!self.endpoint.is_dialable()) return;
  // It would be everybody's own.
  if (self.endpoint.address.is_loopback() && !sender.from.address.is_loopback()) return;
  const Member* known = table_.find(sender.id);
  if (known && known->rank() >= Rank{sender.epoch, self.incarnation, MemberStatus::kAlive}) return;
  const News news{std::make_shared<Claim>(Claim{sender.id, sender.epoch, self.incarnation,
                                                self.endpoint, self.service_port}),
                  MemberStatus::kAlive, 0};
  // An earlier life of it may still run where it was, for instance with a copy of its key. Nobody
  // opens its datagrams any more, so it would never hear of this one from an answer.
  if (known && known->claim->epoch < sender.epoch && known->claim->endpoint != self.endpoint &&
      known->status != MemberStatus::kLeft)
    send(known->claim->endpoint, known->key(), Gossip{{news}});
  hear(news);
}

// Two who agree that we are elsewhere than we say are believed, and the first of all alone, unless
// we were told where we are, or are still seen where we say. An address that means something to one
// host or link only is no news to who has another.
void Membership::hear_seen(const Sender& sender, const Endpoint& seen) {
  if (config_.observer || !endpoint_is_learned_ || !seen.is_dialable()) return;
  if (seen == config_.endpoint) {
    seen_there_ = now_;
    witness_.reset();
    return;
  }
  const bool is_local = seen.address.is_loopback() || seen.address.is_link_local();
  if (is_speaking() && is_local && !config_.endpoint.address.is_loopback()) return;
  if (is_speaking() && others() > 0) {
    if (seen_there_ != Time::min() && now_ - seen_there_ < kSeenLately) return;
    if (!witness_ || witness_->second != seen || witness_->first == sender.id) {
      witness_ = {sender.id, seen};
      return;
    }
  }
  witness_.reset();
  set_endpoint(seen, now_);
}

SelfClaim Membership::self_claim() const {
  return {self_->incarnation, self_->endpoint, self_->service_port};
}

YouAre Membership::you_are(const PeerId& id, std::uint64_t epoch) const {
  const Member* known = table_.find(id);
  if (!known || known->claim->epoch != epoch) return {};
  return {known->claim->incarnation, known->status};
}

void Membership::adopt(const std::vector<ClaimPtr>& claims, Time now) {
  advance(now);
  for (const ClaimPtr& claim : claims) table_.put({claim, MemberStatus::kAlive, 0}, now);
  updates_ = {};
  tell_at_ = kNever;
}

// ---- telling ----

void Membership::queue(const News& news) {
  if (config_.observer) return;
  updates_.add(news);
  tell_at_ = std::min(tell_at_, std::max(now_ + kFreshDelay, told_at_ + kFreshInterval));
}

void Membership::tell() {
  told_at_ = now_;
  tell_at_ = kNever;
  const std::size_t fanout = std::min(kFanout, others());
  if (fanout == 0) {
    // Nobody to tell; whoever comes learns it by a sync.
    updates_ = {};
    return;
  }
  const std::size_t packet_bytes =
      kDatagramBytes + std::min(kMaxPacketBytes, kUsualNewsBytes * updates_.size());
  if (!news_budget_.take(fanout * packet_bytes, now_)) {
    tell_at_ = now_ + kTellInterval;
    return;
  }
  Gossip gossip{
      updates_.take(kMaxPacketBytes - 5, static_cast<std::uint32_t>(fanout), table_.live())};
  if (!gossip.news.empty())
    for (const Member* member : random_others(fanout, config_.id))
      send(member->claim->endpoint, member->key(), gossip);
  if (!updates_.empty()) tell_at_ = now_ + (updates_.has_fresh() ? kFreshInterval : kTellInterval);
}

void Membership::on(const Sender&, const Gossip& gossip) {
  for (const News& news : gossip.news) hear(news);
}

// ---- finding others ----

void Membership::set_seeds(std::vector<Endpoint> seeds, Time now) {
  advance(now);
  std::erase_if(seeds, [](const Endpoint& seed) { return !seed.is_dialable(); });
  if (seeds.size() > kMaxSeeds) seeds.resize(kMaxSeeds);
  const bool had_none = seeds_.empty();
  seeds_ = std::move(seeds);
  if (seeds_.empty()) {
    greet_at_ = kNever;
  } else if (had_none) {
    greet_at_ = now_;
  }
}

void Membership::greet() {
  if (others() > 0) {
    // Halves of a cluster that was parted find each other by the seeds of either.
    greet_wait_ = kFirstGreet;
    greet_at_ = now_ + kGreetInCompany;
    if (!config_.observer && random_.chance(kGreetersInCompany / static_cast<double>(others())))
      greet(seeds_[random_.below(seeds_.size())]);
    return;
  }
  std::vector<Endpoint> seeds = seeds_;
  std::erase(seeds, config_.endpoint);
  random_.shuffle(seeds);
  const std::size_t most = greet_wait_ == kFirstGreet ? 1 : kGreetAtOnce;
  if (seeds.size() > most) seeds.resize(most);
  for (const Endpoint& seed : seeds) greet(seed);
  greet_at_ = now_ + from_seconds(to_seconds(greet_wait_) * (0.75 + 0.5 * random_.unit()));
  greet_wait_ = std::min(greet_wait_ * 3 / 2, kLastGreet);
}

void Membership::greet(const Endpoint& where) {
  if (where == config_.endpoint) return;
  const std::uint32_t number = fresh_number();
  greets_.push_back({number, where});
  if (greets_.size() > kMaxSentGreets) greets_.pop_front();
  actions_.push_back(SendPacket{where, std::nullopt, Greet{number}});
}

// The more are dead, the likelier it is that they are not, and a network was parted.
void Membership::reconnect() {
  reconnect_at_ = now_ + kReconnect;
  if (table_.dead() == 0) return;
  if (!random_.chance(static_cast<double>(table_.dead()) / static_cast<double>(table_.live() + 1)))
    return;
  const MemberIndex index = table_.random_dead(random_);
  if (index != kNobody) greet(table_.at(index).claim->endpoint);
}

// Nothing is learned from a greeting, which may be a recorded one, and the answer is not larger.
void Membership::on(const Sender& sender, const Greet& greeting) {
  if (config_.observer || !is_speaking()) return;
  Welcome welcome{greeting.number, self_claim(), sender.from, {}};
  for (const Member* member : random_others(kMaxIntroductions, sender.id))
    welcome.introductions.push_back({member->claim, member->status, 0});
  while (encoded_bytes(welcome) > kGreetBytes) welcome.introductions.pop_back();
  // A last part is left for those who synchronise, however many greet.
  if (sync_budget_.left(now_) > sync_budget_.most() / 4)
    sync_budget_.spend(encoded_bytes(welcome) + kDatagramBytes, now_);
  send(sender.from, {sender.id, sender.epoch}, std::move(welcome));
}

void Membership::on(const Sender& sender, const Welcome& welcome) {
  const auto sent = std::find_if(greets_.begin(), greets_.end(), [&](const SentGreet& greeted) {
    return greeted.number == welcome.number && greeted.where == sender.from;
  });
  if (sent == greets_.end()) return;
  greets_.erase(sent);
  hear_seen(sender, welcome.seen);
  if (!is_speaking() && !config_.observer) return;
  hear_self_claim(sender, welcome.self);
  std::vector<const Claim*> here;
  for (const News& news : welcome.introductions)
    if (news.id() != config_.id && learn(news)) here.push_back(news.claim.get());
  // The one who welcomed us may be everybody's seed: it is one of several to bring us up to date.
  const Member* welcomer = table_.find(sender.id);
  if (welcomer) here.push_back(welcomer->claim.get());
  if (here.empty()) return;
  const Claim& first = *here[random_.below(here.size())];
  ping({first.id, first.epoch}, first.endpoint, Purpose::kSync);
  // And others, should it not answer.
  if (sync_at_ == kNever) sync_at_ = now_ + kFastSync;
  // One that is thought dead learns by a ping that it is; and where it welcomed from is where it
  // can be reached, whatever it claims.
  const bool is_elsewhere = welcomer && welcomer->claim->endpoint != sender.from;
  if (welcomer && (config_.observer || is_elsewhere || !is_live(welcomer->status)))
    ping({sender.id, sender.epoch}, sender.from, Purpose::kSync);
}

// ---- time ----

void Membership::advance(Time now) {
  now_ = std::max(now_, now);
  const Time due = next_timeout();
  if (due != kNever && now_ - due > kLate) on_late(now_ - due);
}

// We did not run: whoever did not answer meanwhile is not to blame.
void Membership::on_late(Duration late) {
  penalty_ = std::min(penalty_ + 1, kMaxPenalty);
  probe_.reset();
  relay_jobs_.clear();
  std::set<std::pair<Time, PeerId>> deadlines;
  for (const auto& [deadline, id] : deadlines_) {
    Suspicion& suspicion = suspicions_.at(id);
    suspicion.started += late;
    suspicion.deadline += late;
    deadlines.emplace(suspicion.deadline, id);
  }
  deadlines_ = std::move(deadlines);
  for (Time* at : {&probe_at_, &tell_at_, &sync_at_, &greet_at_, &reconnect_at_, &forget_at_})
    if (*at != kNever) *at = std::max(*at, now_);
}

Time Membership::next_timeout() const {
  if (left_) return kNever;
  Time next =
      std::min({probe_at_, tell_at_, sync_at_, greet_at_, reconnect_at_, forget_at_, left_at_});
  if (probe_) next = std::min(next, probe_->relayed ? probe_->fail_at : probe_->relay_at);
  for (const RelayJob& job : relay_jobs_) next = std::min(next, job.until);
  if (absent_) next = std::min(next, absent_->until);
  if (!deadlines_.empty()) next = std::min(next, deadlines_.begin()->first);
  return next;
}

void Membership::on_timeout(Time now) {
  if (left_) return;
  advance(now);
  if (left_at_ <= now_) {
    left_ = true;
    return;
  }
  if (probe_ && !probe_->relayed && probe_->relay_at <= now_) ask_relays();
  if (probe_ && probe_->relayed && probe_->fail_at <= now_) fail_probe();
  finish_relays();
  judge_suspects();
  if (absent_ && absent_->until <= now_) fail_absent();
  if (probe_at_ <= now_) start_probe();
  if (tell_at_ <= now_) tell();
  if (sync_at_ <= now_) start_sync();
  if (greet_at_ <= now_) greet();
  if (reconnect_at_ <= now_) reconnect();
  if (forget_at_ <= now_) {
    forget_at_ = now_ + kForgetInterval;
    table_.forget_old(now_);
  }
}

void Membership::leave(Time now) {
  advance(now);
  if (left_ || left_at_ != kNever) return;
  if (config_.observer || !is_listed_ || others() == 0) {
    left_ = true;
    return;
  }
  left_at_ = now_ + kLeaving;
  const News news{self_, MemberStatus::kLeft, 0};
  learn(news);
  is_listed_ = false;
  probe_.reset();
  probe_at_ = sync_at_ = greet_at_ = reconnect_at_ = kNever;
  queue(news);
  tell_at_ = now_;
}

// ---- packets ----

void Membership::on_packet(const Sender& sender, const Packet& packet, Time now) {
  advance(now);
  if (left_ || sender.greeting != std::holds_alternative<Greet>(packet)) return;
  if (sender.id == config_.id) {
    // Another life of ours. No recorded datagram, for there was none of a later epoch before.
    if (sender.epoch > config_.epoch && !config_.observer) supersede(sender.epoch);
    return;
  }
  std::visit([&](const auto& message) { on(sender, message); }, packet);
}

void Membership::send(const Endpoint& where, const MemberKey& to, Packet packet) {
  actions_.push_back(SendPacket{where, to, std::move(packet)});
}

std::uint32_t Membership::fresh_number() {
  // Always five bytes long, so that an answer's length does not depend on it.
  return static_cast<std::uint32_t>(random_.next()) | 0x80000000u;
}

const Membership::Member* Membership::random_other() {
  const auto other = random_others(1, config_.id);
  return other.empty() ? nullptr : other[0];
}

std::vector<const Membership::Member*> Membership::random_others(std::size_t count,
                                                                 const PeerId& except) {
  std::vector<const Member*> chosen;
  if (others() == 0) return chosen;
  for (int tries = 0; tries < kPickTries && chosen.size() < count; ++tries) {
    const MemberIndex index = table_.random_live(random_);
    if (index == kNobody) break;
    const Member* member = &table_.at(index);
    if (member->claim->id == config_.id || member->claim->id == except) continue;
    if (std::find(chosen.begin(), chosen.end(), member) == chosen.end()) chosen.push_back(member);
  }
  return chosen;
}

std::optional<MembershipAction> Membership::poll_action() {
  if (actions_.empty()) return std::nullopt;
  MembershipAction action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

}  // namespace p2p::gossip
