// OwnerService: answers announces on a transport's connections. The shell around tracker::Owner.
#pragma once

#include <optional>
#include <string>

#include "net/loop.h"
#include "net/redis_store.h"
#include "net/transport.h"
#include "tracker/owner.h"

namespace p2p::net {

class OwnerService {
 public:
  // With `share` in the config, what is announced is shared through `store`.
  OwnerService(Loop& loop, Transport& transport, tracker::OwnerConfig config, Random random,
               std::optional<StoreAddress> store = {});

  // Of a connection that we did not dial for announcing: before the first of its messages, which
  // are of the announce family.
  void on_opened(ConnectionId id, const Opened& from);
  void on_message(ConnectionId id, const tracker::Message& message);
  // Of any connection.
  void on_closed(ConnectionId id);
  void set_self(const SwarmId& swarm, std::vector<Endpoint> endpoints, bool complete,
                std::string zone, std::uint16_t have_permille = 0);

  void forget_self(const SwarmId& swarm) { owner_.forget_self(swarm); }

  // Somebody looks at the swarm (tracker/owner.h).
  void watch(const SwarmId& swarm) {
    owner_.watch(swarm, Loop::now());
    drain();
  }

  const tracker::Owner& owner() const { return owner_; }
  const RedisStore* store() const { return store_ ? &*store_ : nullptr; }

 private:
  void drain();

  Transport& transport_;
  tracker::Owner owner_;
  std::optional<RedisStore> store_;
  Timer timer_;
};

}  // namespace p2p::net
