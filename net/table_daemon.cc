#include "net/table_daemon.h"

#include <utility>

namespace p2p::net {

TableDaemon::TableDaemon(Loop& loop, TableDaemonConfig config)
    : loop_(loop), config_(std::move(config)), leave_timer_(loop, [this] { loop_.stop(); }) {}

Result<Endpoint> TableDaemon::start() {
  TransportConfig transport;
  transport.keys = config_.identity;
  transport.accepted_psks = config_.gossip.keys.secrets();
  transport.max_connections = kMaxTrackerConnections;
  transport.connections_per_address = kMaxConnectionsOfAddress;
  transport.lanes = 0;
  transport.short_messages = true;
  node_ = std::make_unique<Node>(loop_, std::move(transport));
  P2P_TRY(node_->transport().listen(config_.listen));
  tracker::OwnerConfig owner;
  owner.trust_advertised = config_.gossip.is_closed;
  node_->answer_announces(owner);
  P2P_TRY(node_->join_cluster(config_.gossip, node_->transport().local().port, [this] {
    outcome_ = Error{ErrorCode::kExists,
                     "another process has the identity of this member; stop it, or remove members/ "
                     "in the state folder of one of them"};
    stop();
  }));
  return node_->gossip()->membership().self().endpoint;
}

void TableDaemon::set_cluster_keys(const Keyring& keys) {
  if (node_) node_->set_cluster_keys(keys);
}

Status TableDaemon::run() {
  loop_.run();
  node_.reset();
  return outcome_;
}

void TableDaemon::stop() {
  node_->stop();
  leave_timer_.arm(Loop::now() + (node_->gossip()->left() ? Duration{0} : 2 * gossip::kLeaving));
}

}  // namespace p2p::net
