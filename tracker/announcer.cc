#include "tracker/announcer.h"

#include <algorithm>

#include "base/check.h"

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
    : config_(std::move(config)),
      random_(random.fork("announcer")),
      now_(now),
      links_(config_.owner_count) {
  config_.advertised = sendable(config_.advertised);
  for (OwnerIndex owner = 0; owner < links_.size(); ++owner)
    actions_.push_back(ConnectOwner{owner});
}

Announcer::OwnerLink& Announcer::link_at(OwnerIndex index, Time now) {
  P2P_CHECK(index < links_.size());
  now_ = std::max(now_, now);
  return links_[index];
}

void Announcer::on_owner_connected(OwnerIndex owner, Time now) {
  OwnerLink& link = link_at(owner, now);
  if (stopped_) {
    actions_.push_back(DisconnectOwner{owner, "stopped"});
    return;
  }
  link.state = State::kConnected;
  link.accepted = false;
  link.told_complete = false;
  link.interval = kDefaultInterval;
  link.hungry_wait = kHungryInterval;
  announce(owner, Event::kStarted);
}

void Announcer::on_owner_disconnected(OwnerIndex owner, Time now) {
  OwnerLink& link = link_at(owner, now);
  if (stopped_ || link.state == State::kWaiting) return;
  wait_to_retry(link);
}

void Announcer::on_message(OwnerIndex owner, const Message& message, Time now) {
  OwnerLink& link = link_at(owner, now);
  if (stopped_ || link.state != State::kConnected) return;
  if (const auto* handout = std::get_if<Handout>(&message)) {
    if (handout->swarm == config_.swarm) on_handout(owner, *handout);
  } else if (const auto* refusal = std::get_if<Refusal>(&message)) {
    if (refusal->swarm == config_.swarm) on_refusal(owner, *refusal);
  } else {
    give_up(owner, "it sent a message that owners do not send");
  }
}

void Announcer::on_handout(OwnerIndex index, const Handout& handout) {
  OwnerLink& link = links_[index];
  if (link.awaiting && handout.interval > Duration::zero()) {
    link.awaiting = false;
    link.accepted = true;
    link.retry = kFirstRetry;
    link.interval = std::clamp(handout.interval, kMinInterval, kMaxInterval);
  }
  if (!handout.peers.empty()) actions_.push_back(FoundPeers{index, handout.peers});
}

void Announcer::on_refusal(OwnerIndex index, const Refusal& refusal) {
  OwnerLink& link = links_[index];
  // The next announce is a whole interval away and says `started` again.
  link.awaiting = false;
  link.accepted = false;
  last_refusal_ = refusal.text;
}

void Announcer::set_progress(std::uint16_t have_permille, bool complete, Time now) {
  now_ = std::max(now_, now);
  have_permille_ = std::min(have_permille, kFullPermille);
  complete_ = complete;
  if (stopped_) return;
  for (OwnerIndex owner = 0; owner < links_.size(); ++owner) {
    OwnerLink& link = links_[owner];
    if (!complete) link.told_complete = false;
    if (complete && link.state == State::kConnected && !link.told_complete)
      announce(owner, Event::kCompleted);
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
  for (OwnerIndex owner = 0; owner < links_.size(); ++owner)
    if (links_[owner].state == State::kConnected) announce(owner, Event::kStopped);
  stopped_ = true;
}

Time Announcer::due(const OwnerLink& link) const {
  switch (link.state) {
    case State::kWaiting:
      return link.retry_at;
    case State::kConnecting:
      return kNever;
    case State::kConnected:
      break;
  }
  if (link.awaiting) return link.announced_at + kAnswerTimeout;
  // Asking an owner that refused us sooner would not make it change its mind.
  const bool sooner = is_hungry() && link.accepted;
  return link.announced_at + (sooner ? std::min(link.hungry_wait, link.interval) : link.interval);
}

Time Announcer::next_timeout() const {
  Time next = kNever;
  if (stopped_) return next;
  for (const OwnerLink& link : links_) next = std::min(next, due(link));
  return next;
}

void Announcer::on_timeout(Time now) {
  now_ = std::max(now_, now);
  if (stopped_) return;
  for (OwnerIndex owner = 0; owner < links_.size(); ++owner) {
    OwnerLink& link = links_[owner];
    if (due(link) > now_) continue;
    if (link.state == State::kWaiting) {
      link.state = State::kConnecting;
      actions_.push_back(ConnectOwner{owner});
    } else if (link.awaiting) {
      give_up(owner, "it did not answer an announce");
    } else {
      if (is_hungry()) link.hungry_wait = std::min(2 * link.hungry_wait, kMaxInterval);
      announce(owner, link.accepted ? Event::kNone : Event::kStarted);
    }
  }
}

void Announcer::announce(OwnerIndex index, Event event) {
  OwnerLink& link = links_[index];
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
  actions_.push_back(SendToOwner{index, std::move(message)});
}

void Announcer::give_up(OwnerIndex index, std::string reason) {
  actions_.push_back(DisconnectOwner{index, std::move(reason)});
  wait_to_retry(links_[index]);
}

void Announcer::wait_to_retry(OwnerLink& link) {
  const double share = 0.5 + 0.5 * random_.unit();
  link.state = State::kWaiting;
  link.retry_at = now_ + from_seconds(to_seconds(link.retry) * share);
  link.retry = std::min(2 * link.retry, kLastRetry);
}

std::optional<AnnouncerAction> Announcer::poll_action() {
  if (actions_.empty()) return std::nullopt;
  AnnouncerAction action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

}  // namespace p2p::tracker
