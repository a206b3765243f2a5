#include "tracker/announcer.h"

#include <algorithm>
#include <utility>

namespace p2p::tracker {
namespace {

std::vector<Endpoint> sendable(const std::vector<Endpoint>& advertised) {
  std::vector<Endpoint> kept;
  for (const Endpoint& endpoint : advertised)
    if (endpoint.is_dialable() && kept.size() < kMaxAdvertised) kept.push_back(endpoint);
  return kept;
}

}  // namespace

Announcer::Announcer(AnnouncerConfig config, Random random, Time now)
    : config_(std::move(config)), random_(random.fork("announcer")), now_(now) {
  config_.advertised = sendable(config_.advertised);
  set_owners(std::exchange(config_.owners, {}), now);
}

Announcer::OwnerLink* Announcer::find(OwnerNumber owner) {
  const auto found = std::find_if(links_.begin(), links_.end(),
                                  [&](const OwnerLink& link) { return link.number == owner; });
  return found == links_.end() ? nullptr : &*found;
}

void Announcer::set_owners(const std::vector<OwnerNumber>& ranked, Time now) {
  now_ = std::max(now_, now);
  if (stopped_) return;
  std::vector<OwnerLink> links;
  for (const OwnerNumber owner : ranked) {
    const OwnerLink* known = find(owner);
    links.push_back(known ? *known : OwnerLink{owner});
  }
  std::swap(links, links_);
  for (OwnerLink& link : links)
    if (!find(link.number)) leave(link);
  settle();
}

// Connects to those that are needed and leaves those that are not. A failed one counts for nothing,
// so that the next in rank stands in for it; it is needed itself until enough above it are well,
// and so is the one that stands in.
void Announcer::settle() {
  std::size_t hopeful = 0, well = 0;
  for (OwnerLink& link : links_) {
    const bool enough_hope = config_.spread != 0 && hopeful >= config_.spread;
    const bool enough_well = config_.spread != 0 && well >= config_.spread;
    if (enough_well) {
      leave(link);
    } else if (link.state == State::kIdle && !enough_hope) {
      connect(link);
    }
    hopeful += !link.failed;
    well += link.accepted;
  }
}

void Announcer::connect(OwnerLink& link) {
  link.state = State::kConnecting;
  actions_.push_back(ConnectOwner{link.number});
}

void Announcer::leave(OwnerLink& link) {
  if (link.state == State::kConnected) announce(link, Event::kStopped);
  if (link.state == State::kConnected || link.state == State::kConnecting)
    actions_.push_back(LeaveOwner{link.number});
  link = OwnerLink{link.number};
}

void Announcer::on_owner_connected(OwnerNumber owner, Time now) {
  now_ = std::max(now_, now);
  OwnerLink* link = find(owner);
  if (stopped_ || !link || link->state == State::kIdle) {
    actions_.push_back(LeaveOwner{owner});
    return;
  }
  link->state = State::kConnected;
  link->accepted = false;
  link->told_complete = false;
  link->report_at = kNever;
  link->interval = kDefaultInterval;
  link->hungry_wait = kHungryInterval;
  announce(*link, Event::kStarted);
}

void Announcer::on_owner_disconnected(OwnerNumber owner, Time now) {
  now_ = std::max(now_, now);
  OwnerLink* link = find(owner);
  if (stopped_ || !link || link->state == State::kIdle || link->state == State::kWaiting) return;
  fail(*link);
}

void Announcer::on_message(OwnerNumber owner, const Message& message, Time now) {
  now_ = std::max(now_, now);
  OwnerLink* link = find(owner);
  if (stopped_ || !link || link->state != State::kConnected) return;
  if (const auto* handout = std::get_if<Handout>(&message)) {
    if (handout->swarm == config_.swarm) on_handout(*link, *handout);
  } else if (const auto* refusal = std::get_if<Refusal>(&message)) {
    if (refusal->swarm == config_.swarm) on_refusal(*link, *refusal);
  } else if (const auto* watch = std::get_if<Watch>(&message)) {
    if (watch->swarm == config_.swarm) on_watch(*link, *watch);
  } else {
    give_up(*link, "it sent a message that owners do not send");
  }
}

void Announcer::on_handout(OwnerLink& link, const Handout& handout) {
  if (!handout.peers.empty()) actions_.push_back(FoundPeers{link.number, handout.peers});
  if (!link.awaiting || handout.interval == Duration::zero()) return;
  link.awaiting = false;
  if (!link.accepted) link.hungry_wait = kHungryInterval;
  link.accepted = true;
  link.failed = false;
  link.retry = kFirstRetry;
  link.interval = std::clamp(handout.interval, kMinInterval, kMaxInterval);
  settle();
}

void Announcer::on_watch(OwnerLink& link, const Watch& watch) {
  if (!link.accepted) return;
  link.watched_until = now_ + std::min(watch.lease, kMaxWatchLease);
  if (link.report_at == kNever) report(link);
}

// Now, and again after the interval while somebody looks.
void Announcer::report(OwnerLink& link) {
  link.report_at = now_ + kReportInterval;
  if (link.report_at > link.watched_until) link.report_at = kNever;
  actions_.push_back(ReportTo{link.number});
}

void Announcer::on_refusal(OwnerLink& link, const Refusal& refusal) {
  // The next announce says `started` again. Until one is taken another owner is needed. A refusal
  // that follows another unasked changes nothing.
  if (link.accepted) link.hungry_wait = kHungryInterval;
  if (link.awaiting || link.accepted) {
    link.retry_at = now_ + jittered(std::min(link.hungry_wait, link.interval));
    link.hungry_wait = std::min(2 * link.hungry_wait, kMaxInterval);
  }
  link.awaiting = false;
  link.accepted = false;
  link.failed = true;
  last_refusal_ = refusal.text;
  settle();
}

void Announcer::set_progress(std::uint16_t have_permille, bool complete, Time now) {
  now_ = std::max(now_, now);
  have_permille_ = std::min(have_permille, kFullPermille);
  complete_ = complete;
  if (stopped_) return;
  for (OwnerLink& link : links_) {
    if (!complete) link.told_complete = false;
    if (complete && link.state == State::kConnected && !link.told_complete)
      announce(link, Event::kCompleted);
  }
}

void Announcer::set_wanted(std::size_t peers, Time now) {
  now_ = std::max(now_, now);
  if (peers > wanted_)
    for (OwnerLink& link : links_) link.hungry_wait = kHungryInterval;
  wanted_ = peers;
}

void Announcer::set_starving(bool starving, Time now) {
  now_ = std::max(now_, now);
  if (starving && !starving_)
    for (OwnerLink& link : links_) link.hungry_wait = kHungryInterval;
  starving_ = starving;
}

void Announcer::stop(Time now) {
  now_ = std::max(now_, now);
  if (stopped_) return;
  for (OwnerLink& link : links_)
    if (link.state == State::kConnected) announce(link, Event::kStopped);
  stopped_ = true;
}

Time Announcer::due(const OwnerLink& link) const {
  switch (link.state) {
    case State::kWaiting:
      return link.retry_at;
    case State::kIdle:
    case State::kConnecting:
      return kNever;
    case State::kConnected:
      break;
  }
  if (link.awaiting) return link.announced_at + kAnswerTimeout;
  if (!link.accepted) return link.retry_at;
  return link.announced_at +
         (is_hungry() ? std::min(link.hungry_wait, link.interval) : link.interval);
}

Time Announcer::next_timeout() const {
  Time next = kNever;
  if (stopped_) return next;
  for (const OwnerLink& link : links_) next = std::min({next, due(link), link.report_at});
  return next;
}

void Announcer::on_timeout(Time now) {
  now_ = std::max(now_, now);
  if (stopped_) return;
  for (OwnerLink& link : links_) {
    if (link.report_at <= now_) report(link);
    if (due(link) > now_) continue;
    if (link.state == State::kWaiting) {
      connect(link);
    } else if (link.awaiting) {
      give_up(link, "it did not answer an announce");
    } else {
      if (is_hungry() && link.accepted)
        link.hungry_wait = std::min(2 * link.hungry_wait, kMaxInterval);
      announce(link, link.accepted ? Event::kNone : Event::kStarted);
    }
  }
}

void Announcer::announce(OwnerLink& link, Event event) {
  link.announced_at = now_;
  link.awaiting = true;
  link.told_complete = complete_;
  Announce message;
  message.swarm = config_.swarm;
  message.event = event;
  message.port = config_.listen_port;
  message.complete = complete_;
  message.have_permille = have_permille_;
  if (!complete_) message.want = static_cast<std::uint8_t>(std::min(wanted_, kMaxPeersInMessage));
  message.advertised = config_.advertised;
  message.zone = config_.zone;
  message.starving = starving_ && !complete_;
  actions_.push_back(SendToOwner{link.number, std::move(message)});
}

void Announcer::give_up(OwnerLink& link, std::string reason) {
  actions_.push_back(DisconnectOwner{link.number, std::move(reason)});
  fail(link);
}

Duration Announcer::jittered(Duration wait) {
  const double share = 0.5 + 0.5 * random_.unit();
  return from_seconds(to_seconds(wait) * share);
}

void Announcer::fail(OwnerLink& link) {
  link.state = State::kWaiting;
  link.failed = true;
  link.accepted = false;
  link.awaiting = false;
  link.report_at = kNever;
  link.retry_at = now_ + jittered(link.retry);
  link.retry = std::min(2 * link.retry, kLastRetry);
  settle();
}

std::optional<AnnouncerAction> Announcer::poll_action() {
  if (actions_.empty()) return std::nullopt;
  AnnouncerAction action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

}  // namespace p2p::tracker
