#include "net/tracker_daemon.h"

#include "base/check.h"

namespace p2p::net {
namespace {

std::vector<Secret> psks_of(const Keyring& keys) {
  return keys.empty() ? std::vector<Secret>{open_tracker_key()} : keys.secrets();
}

}  // namespace

TrackerDaemon::TrackerDaemon(Loop& loop, TrackerDaemonConfig config)
    : loop_(loop), config_(std::move(config)) {}

Result<Endpoint> TrackerDaemon::start() {
  TransportConfig transport;
  transport.accepted_psks = psks_of(config_.cluster_keys);
  transport.max_connections = kMaxTrackerConnections;
  transport.connections_per_address = kMaxConnectionsOfAddress;
  transport.handshakes = handshake_limit(config_.handshakes_per_second);
  transport.lanes = 0;
  transport.short_messages = true;
  node_ = std::make_unique<Node>(loop_, std::move(transport));
  P2P_TRY(node_->transport().listen(config_.listen));
  tracker::OwnerConfig owner;
  owner.trust_advertised = !config_.cluster_keys.empty();
  owner.share = config_.store.has_value();
  owner.share_loopback = config_.store && config_.store->is_loopback();
  node_->answer_announces(owner, config_.store);
  return node_->transport().local();
}

void TrackerDaemon::set_cluster_keys(const Keyring& keys) {
  P2P_CHECK(keys.empty() == config_.cluster_keys.empty());
  config_.cluster_keys = keys;
  if (node_) node_->transport().set_accepted_psks(psks_of(keys));
}

void TrackerDaemon::run() {
  loop_.run();
  node_.reset();
}

// Its peers reconnect on their own; there is nothing to say to them.
void TrackerDaemon::stop() { loop_.stop(); }

}  // namespace p2p::net
