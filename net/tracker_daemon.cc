#include "net/tracker_daemon.h"

#include <algorithm>

#include "base/check.h"

namespace p2p::net {
namespace {

std::vector<Secret> psks_of(const Keyring& keys) {
  return keys.empty() ? std::vector<Secret>{open_tracker_key()} : keys.secrets();
}

}  // namespace

void set_address_limits(unsigned handshakes_per_second, TransportConfig& transport,
                        tracker::OwnerConfig& owner) {
  const bool unlimited = handshakes_per_second == 0;
  const double times =
      double(unlimited ? kMaxHandshakesPerSecond : handshakes_per_second) / kHandshakesPerSecond;
  const auto scaled = [times](std::size_t of_default, std::size_t most) {
    return static_cast<std::size_t>(
        std::clamp(static_cast<double>(of_default) * times, 1.0, static_cast<double>(most)));
  };
  transport.handshakes = handshake_limit(handshakes_per_second);
  transport.connections_per_address =
      unlimited ? 0 : scaled(kMaxConnectionsOfAddress, transport.max_connections);
  tracker::TableLimits& limits = owner.limits;
  limits.entries_per_address = scaled(limits.entries_per_address, limits.entries);
  limits.swarms_per_address = scaled(limits.swarms_per_address, limits.swarms);
  owner.announces.per_second *= times;
  owner.announces.burst = std::max(owner.announces.burst * times, 1.0);
}

TrackerDaemon::TrackerDaemon(Loop& loop, TrackerDaemonConfig config)
    : loop_(loop), config_(std::move(config)) {}

Result<Endpoint> TrackerDaemon::start() {
  TransportConfig transport;
  transport.accepted_psks = psks_of(config_.cluster_keys);
  transport.max_connections = kMaxTrackerConnections;
  transport.limits_flag = "--handshakes-per-second";
  transport.lanes = 0;
  transport.short_messages = true;
  tracker::OwnerConfig owner;
  set_address_limits(config_.handshakes_per_second, transport, owner);
  node_ = std::make_unique<Node>(loop_, std::move(transport));
  P2P_TRY(node_->transport().listen(config_.listen));
  owner.trust_advertised = !config_.cluster_keys.empty();
  owner.share = config_.store.has_value();
  owner.share_loopback = config_.store && config_.store->is_loopback();
  node_->answer_announces(owner, config_.store);
  if (config_.http) {
    P2P_ASSIGN(http_, TrackerHttp::start(loop_, *node_, *config_.http));
  }
  return node_->transport().local();
}

void TrackerDaemon::set_cluster_keys(const Keyring& keys) {
  P2P_CHECK(keys.empty() == config_.cluster_keys.empty());
  config_.cluster_keys = keys;
  if (node_) node_->transport().set_accepted_psks(psks_of(keys));
}

void TrackerDaemon::run() {
  loop_.run();
  http_.reset();
  node_.reset();
}

// Its peers reconnect on their own; there is nothing to say to them.
void TrackerDaemon::stop() { loop_.stop(); }

}  // namespace p2p::net
