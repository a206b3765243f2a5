// OwnerService: answers announces on a transport's connections. The shell around tracker::Owner.
#pragma once

#include <string>

#include "absl/container/flat_hash_set.h"
#include "net/loop.h"
#include "net/transport.h"
#include "tracker/owner.h"

namespace p2p::net {

class OwnerService {
 public:
  OwnerService(Loop& loop, Transport& transport, tracker::OwnerConfig config, Random random);

  // A message of the announce family on a connection that we did not dial for announcing.
  void on_message(ConnectionId id, const Opened& from, const tracker::Message& message);
  void on_closed(ConnectionId id);
  void set_self(const SwarmId& swarm, std::vector<Endpoint> endpoints, bool complete,
                std::string zone);

  const tracker::Owner& owner() const { return owner_; }

 private:
  void drain();

  Transport& transport_;
  tracker::Owner owner_;
  Timer timer_;
  absl::flat_hash_set<ConnectionId> known_;
};

}  // namespace p2p::net
