#include "net/announce_client.h"

#include <algorithm>
#include <utility>

#include "crypto/keys.h"
#include "net/log.h"

namespace p2p::net {

AnnounceClient::AnnounceClient(
    Loop& loop, Transport& transport, const std::vector<OwnerAddress>& ranked,
    tracker::AnnouncerConfig config, Random random,
    std::function<void(const std::vector<tracker::PeerRecord>&)> on_found)
    : loop_(loop),
      transport_(transport),
      swarm_(config.swarm),
      announcer_((config.owners.clear(), std::move(config)), random, Loop::now()),
      timer_(loop,
             [this] {
               announcer_.on_timeout(Loop::now());
               drain();
             }),
      on_found_(std::move(on_found)) {
  set_owners(ranked);
}

void AnnounceClient::set_owners(const std::vector<OwnerAddress>& ranked) {
  if (stopped_) return;  // its connections are closing, and still theirs
  std::vector<tracker::OwnerNumber> numbers;
  for (const OwnerAddress& owner : ranked) {
    const tracker::OwnerNumber number = number_of(owner);
    owners_[number].address = owner;
    if (std::find(numbers.begin(), numbers.end(), number) == numbers.end())
      numbers.push_back(number);
  }
  announcer_.set_owners(numbers, Loop::now());
  drain();  // those that go hear `stopped`
  std::erase_if(owners_, [&](const auto& entry) {
    return std::find(numbers.begin(), numbers.end(), entry.first) == numbers.end();
  });
}

// That of the owner at this address; a new one where none is.
tracker::OwnerNumber AnnounceClient::number_of(const OwnerAddress& owner) {
  for (const auto& [number, state] : owners_)
    if (state.address.where == owner.where) return number;
  return next_number_++;
}

void AnnounceClient::connect(tracker::OwnerNumber owner) {
  OwnerState& connecting = owners_.at(owner);
  connecting.resolving = true;
  const std::size_t attempt = ++connecting.attempts;
  loop_.resolve(connecting.address.where,
                [this, owner, attempt,
                 alive = std::weak_ptr<bool>(alive_)](Result<std::vector<Endpoint>> found) {
                  if (alive.expired()) return;
                  const auto at = owners_.find(owner);
                  if (at == owners_.end()) return;
                  OwnerState& state = at->second;
                  // It may have been left since, and connected to again.
                  if (state.attempts != attempt || !std::exchange(state.resolving, false)) return;
                  if (!found) {
                    lost(owner, found.error());
                    return drain();
                  }
                  const Endpoint& target = (*found)[(attempt - 1) % found->size()];
                  state.connection = transport_.dial(target, state.address.psk);
                  by_connection_[state.connection] = owner;
                });
}

// Our end of it: the announcer knows, so its Closed is nobody's.
void AnnounceClient::close(OwnerState& owner) {
  owner.resolving = owner.announced = false;
  if (owner.connection == 0) return;
  by_connection_.erase(owner.connection);
  transport_.close(std::exchange(owner.connection, 0));
}

void AnnounceClient::on_opened(ConnectionId id) {
  announcer_.on_owner_connected(by_connection_.at(id), Loop::now());
  drain();
}

void AnnounceClient::on_message(ConnectionId id, const tracker::Message& message) {
  const tracker::OwnerNumber owner = by_connection_.at(id);
  OwnerState& state = owners_.at(owner);
  state.answered = true;
  state.last_failure.clear();
  if (const auto* refusal = std::get_if<tracker::Refusal>(&message))
    state.last_failure = state.address.where.to_string() + ": " + refusal->text;
  if (const auto* handout = std::get_if<tracker::Handout>(&message)) {
    state.named_peers |= !handout->peers.empty();
    if (!std::exchange(state.announced, true))
      log_debug("owner " + state.address.where.to_string() + ": announced there");
  }
  announcer_.on_message(owner, message, Loop::now());
  drain();
}

void AnnounceClient::on_closed(ConnectionId id, const Error& why) {
  const auto found = by_connection_.find(id);
  if (found == by_connection_.end()) return;
  const tracker::OwnerNumber owner = found->second;
  by_connection_.erase(found);
  owners_.at(owner).connection = 0;
  lost(owner, why);
  drain();
}

void AnnounceClient::lost(tracker::OwnerNumber owner, const Error& why) {
  OwnerState& state = owners_.at(owner);
  state.failed = true;
  state.announced = false;
  state.refused |= why.code == ErrorCode::kRefused;
  if (state.last_failure != why.message)
    log_debug("owner " + state.address.where.to_string() + ": " + why.message);
  state.last_failure = why.message;
  announcer_.on_owner_disconnected(owner, Loop::now());
  if (on_lost_) on_lost_(state.address.where);
}

void AnnounceClient::set_progress(std::uint16_t have_permille, bool complete) {
  announcer_.set_progress(have_permille, complete, Loop::now());
  drain();
}

void AnnounceClient::set_wanted(std::size_t peers, bool starving) {
  announcer_.set_starving(starving, Loop::now());
  announcer_.set_wanted(peers, Loop::now());
  drain();
}

void AnnounceClient::stop() {
  if (std::exchange(stopped_, true)) return;
  announcer_.stop(Loop::now());
  drain();
  for (const auto& [connection, owner] : by_connection_) transport_.close(connection);
}

std::vector<std::string> AnnounceClient::failures() const {
  std::vector<std::string> texts;
  for (const auto& [number, owner] : owners_) {
    const bool knows_nobody = owner.answered && !owner.named_peers && owner.last_failure.empty();
    texts.push_back(knows_nobody ? owner.address.where.to_string() + " knows of no peer"
                                 : owner.last_failure);
  }
  return texts;
}

bool AnnounceClient::all_failed() const {
  return !owners_.empty() && std::all_of(owners_.begin(), owners_.end(), [](const auto& entry) {
    return entry.second.failed && !entry.second.answered;
  });
}

bool AnnounceClient::any_refused() const {
  return std::any_of(owners_.begin(), owners_.end(),
                     [](const auto& entry) { return entry.second.refused; });
}

void AnnounceClient::report(tracker::OwnerNumber owner) {
  if (!on_report_) return;
  const OwnerState& state = owners_.at(owner);
  tracker::Report report = on_report_(!(state.address.psk == open_tracker_key()));
  report.swarm = swarm_;
  transport_.send(state.connection, WireMessage(tracker::Message(std::move(report))));
}

void AnnounceClient::drain() {
  while (auto action = announcer_.poll_action()) {
    if (auto* connect_to = std::get_if<tracker::ConnectOwner>(&*action)) {
      connect(connect_to->owner);
    } else if (auto* disconnect = std::get_if<tracker::DisconnectOwner>(&*action)) {
      OwnerState& state = owners_.at(disconnect->owner);
      state.failed = true;
      state.last_failure = state.address.where.to_string() + ": " + disconnect->reason;
      close(state);
    } else if (auto* left = std::get_if<tracker::LeaveOwner>(&*action)) {
      // One that came up after stop() may be gone from here.
      if (const auto at = owners_.find(left->owner); at != owners_.end()) {
        log_debug("owner " + at->second.address.where.to_string() + ": left, not needed any more");
        close(at->second);
      }
    } else if (auto* send = std::get_if<tracker::SendToOwner>(&*action)) {
      transport_.send(owners_.at(send->owner).connection, WireMessage(std::move(send->message)));
    } else if (const auto* due = std::get_if<tracker::ReportTo>(&*action)) {
      report(due->owner);
    } else if (auto* found = std::get_if<tracker::FoundPeers>(&*action)) {
      for (const tracker::PeerRecord& peer : found->peers)
        log_debug("owner " + owners_.at(found->owner).address.where.to_string() + " names " +
                  peer.endpoint.to_string() + (peer.far ? ", of another zone" : ""));
      on_found_(found->peers);
    }
  }
  timer_.arm(announcer_.next_timeout());
}

}  // namespace p2p::net
