#include "net/announce_client.h"

#include <algorithm>

#include "net/log.h"

namespace p2p::net {

AnnounceClient::AnnounceClient(
    Loop& loop, Transport& transport, std::vector<OwnerAddress> owners,
    tracker::AnnouncerConfig config, Random random,
    std::function<void(const std::vector<tracker::PeerRecord>&)> on_found)
    : loop_(loop),
      transport_(transport),
      announcer_((config.owner_count = owners.size(), config), random, Loop::now()),
      timer_(loop,
             [this] {
               announcer_.on_timeout(Loop::now());
               drain();
             }),
      on_found_(std::move(on_found)) {
  for (OwnerAddress& owner : owners) owners_.push_back(OwnerState{std::move(owner)});
  drain();
}

void AnnounceClient::connect(tracker::OwnerIndex owner) {
  loop_.resolve(owners_[owner].address.where, [this, owner, alive = std::weak_ptr<bool>(alive_)](
                                                  Result<std::vector<Endpoint>> found) {
    if (alive.expired()) return;
    if (!found) {
      lost(owner, found.error());
      return drain();
    }
    OwnerState& state = owners_[owner];
    const Endpoint& target = (*found)[state.attempts++ % found->size()];
    state.connection = transport_.dial(target, state.address.psk);
    by_connection_[state.connection] = owner;
  });
}

void AnnounceClient::on_opened(ConnectionId id) {
  announcer_.on_owner_connected(by_connection_.at(id), Loop::now());
  drain();
}

void AnnounceClient::on_message(ConnectionId id, const tracker::Message& message) {
  const tracker::OwnerIndex owner = by_connection_.at(id);
  OwnerState& state = owners_[owner];
  state.answered = true;
  state.last_failure.clear();
  if (const auto* refusal = std::get_if<tracker::Refusal>(&message))
    state.last_failure = state.address.where.to_string() + ": " + refusal->text;
  if (const auto* handout = std::get_if<tracker::Handout>(&message))
    state.named_peers |= !handout->peers.empty();
  announcer_.on_message(owner, message, Loop::now());
  drain();
}

void AnnounceClient::on_closed(ConnectionId id, const Error& why) {
  const auto found = by_connection_.find(id);
  if (found == by_connection_.end()) return;
  const tracker::OwnerIndex owner = found->second;
  by_connection_.erase(found);
  owners_[owner].connection = 0;
  lost(owner, why);
  drain();
}

void AnnounceClient::lost(tracker::OwnerIndex owner, const Error& why) {
  OwnerState& state = owners_[owner];
  state.failed = true;
  state.refused |= why.code == ErrorCode::kRefused;
  if (state.last_failure != why.message)
    log_debug("owner " + state.address.where.to_string() + ": " + why.message);
  state.last_failure = why.message;
  announcer_.on_owner_disconnected(owner, Loop::now());
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
  announcer_.stop(Loop::now());
  drain();
  for (const auto& [connection, owner] : by_connection_) transport_.close(connection);
}

std::vector<std::string> AnnounceClient::failures() const {
  std::vector<std::string> texts;
  for (const OwnerState& owner : owners_) {
    const bool knows_nobody = owner.answered && !owner.named_peers && owner.last_failure.empty();
    texts.push_back(knows_nobody ? owner.address.where.to_string() + " knows of no peer"
                                 : owner.last_failure);
  }
  return texts;
}

bool AnnounceClient::all_failed() const {
  return std::all_of(owners_.begin(), owners_.end(),
                     [](const OwnerState& owner) { return owner.failed && !owner.answered; });
}

bool AnnounceClient::any_refused() const {
  return std::any_of(owners_.begin(), owners_.end(),
                     [](const OwnerState& owner) { return owner.refused; });
}

void AnnounceClient::drain() {
  while (auto action = announcer_.poll_action()) {
    if (auto* connect_to = std::get_if<tracker::ConnectOwner>(&*action)) {
      connect(connect_to->owner);
    } else if (auto* disconnect = std::get_if<tracker::DisconnectOwner>(&*action)) {
      // The announcer has given it up already: its end is not reported any more.
      OwnerState& state = owners_[disconnect->owner];
      state.failed = true;
      state.last_failure = state.address.where.to_string() + ": " + disconnect->reason;
      by_connection_.erase(state.connection);
      transport_.close(std::exchange(state.connection, 0));
    } else if (auto* send = std::get_if<tracker::SendToOwner>(&*action)) {
      transport_.send(owners_[send->owner].connection, WireMessage(std::move(send->message)));
    } else if (auto* found = std::get_if<tracker::FoundPeers>(&*action)) {
      for (const tracker::PeerRecord& peer : found->peers)
        log_debug("owner " + owners_[found->owner].address.where.to_string() + " names " +
                  peer.endpoint.to_string() + (peer.far ? ", of another zone" : ""));
      on_found_(found->peers);
    }
  }
  timer_.arm(announcer_.next_timeout());
}

}  // namespace p2p::net
