#include "net/owner_service.h"

#include "base/check.h"
#include "net/log.h"

namespace p2p::net {

OwnerService::OwnerService(Loop& loop, Transport& transport, tracker::OwnerConfig config,
                           Random random, std::optional<StoreAddress> store)
    : transport_(transport), owner_(config, random, Loop::now()), timer_(loop, [this] {
        owner_.on_timeout(Loop::now());
        drain();
      }) {
  P2P_CHECK(config.share == store.has_value());
  if (store) store_.emplace(loop, *std::move(store), owner_, random, [this] { drain(); });
}

void OwnerService::on_opened(ConnectionId id, const Opened& from) {
  owner_.on_connected(id, from.peer, from.remote.address, Loop::now());
}

void OwnerService::on_message(ConnectionId id, const tracker::Message& message) {
  owner_.on_message(id, message, Loop::now());
  drain();
}

void OwnerService::on_closed(ConnectionId id) {
  owner_.on_disconnected(id, Loop::now());
  drain();
}

void OwnerService::set_self(const SwarmId& swarm, std::vector<Endpoint> endpoints, bool complete,
                            std::string zone, std::uint16_t have_permille) {
  owner_.set_self(swarm, transport_.self(), std::move(endpoints), complete, std::move(zone),
                  have_permille);
  drain();
}

void OwnerService::drain() {
  while (auto action = owner_.poll_action()) {
    if (auto* send = std::get_if<tracker::SendMessage>(&*action)) {
      transport_.send(send->connection, WireMessage(std::move(send->message)));
    } else if (auto* close = std::get_if<tracker::CloseConnection>(&*action)) {
      log_debug("announce connection closed: " + close->reason);
      transport_.close(close->connection);
    } else if (auto* put = std::get_if<tracker::StorePut>(&*action)) {
      store_->put(*put);
    } else if (auto* removal = std::get_if<tracker::StoreRemove>(&*action)) {
      store_->remove(*removal);
    } else if (auto* follow = std::get_if<tracker::StoreFollow>(&*action)) {
      store_->follow(follow->swarm);
    } else if (auto* unfollow = std::get_if<tracker::StoreUnfollow>(&*action)) {
      store_->unfollow(unfollow->swarm);
    } else if (auto* full = std::get_if<tracker::StoreFull>(&*action)) {
      log_warn("a content is not shared through the store: " + full->reason);
    }
  }
  timer_.arm(owner_.next_timeout());
}

}  // namespace p2p::net
