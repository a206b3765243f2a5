// TrackerDaemon: a tracker behind a listener. It holds who is in which swarm, in memory, and no
// content. Several may share what they know through a store.
#pragma once

#include <memory>
#include <optional>

#include "crypto/keyring.h"
#include "net/node.h"
#include "net/tracker_http.h"

namespace p2p::net {

struct TrackerDaemonConfig {
  Endpoint listen;
  Keyring cluster_keys;  // holders of any may announce; without one, anyone who speaks p2p
  std::optional<StoreAddress> store;
  // Of one address other than loopback; its other limits are in proportion. 0: no limits but those
  // of one connection and of the whole tracker.
  unsigned handshakes_per_second = kHandshakesPerSecond;
  std::optional<TrackerHttpConfig> http;
};

inline constexpr unsigned kMaxHandshakesPerSecond = 1'000'000;

// Sets what one address may do and have: the defaults are for kHandshakesPerSecond, and go with it
// up and down, so that a tracker for ten times the hosts behind one address lets them announce too.
void set_address_limits(unsigned handshakes_per_second, TransportConfig& transport,
                        tracker::OwnerConfig& owner);

class TrackerDaemon {
 public:
  TrackerDaemon(Loop& loop, TrackerDaemonConfig config);
  // The endpoint it listens on.
  Result<Endpoint> start();
  // Where it answers HTTP; nothing where that was not asked for.
  std::optional<Endpoint> http() const {
    return http_ ? std::optional(http_->local()) : std::nullopt;
  }
  // From now on holders of these may connect. Who is connected stays. A closed tracker stays
  // closed and an open one open: neither ring is empty, or both.
  void set_cluster_keys(const Keyring& keys);
  // Runs the loop until stop().
  void run();
  void stop();

 private:
  Loop& loop_;
  TrackerDaemonConfig config_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<TrackerHttp> http_;
};

}  // namespace p2p::net
