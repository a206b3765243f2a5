// TableDaemon: a member of the cluster with its part of the hash table, and no content.
#pragma once

#include <memory>

#include "net/node.h"

namespace p2p::net {

struct TableDaemonConfig {
  GossipConfig gossip;
  KeyPair identity;
  Endpoint listen;  // TCP: where it answers announces
};

class TableDaemon {
 public:
  TableDaemon(Loop& loop, TableDaemonConfig config);
  // Where its datagrams come in, as others reach it.
  Result<Endpoint> start();
  void set_cluster_keys(const Keyring& keys);
  // Runs the loop until stop(). kExists where another process has this identity.
  Status run();
  // Says good-bye to the other members first.
  void stop();

 private:
  Loop& loop_;
  TableDaemonConfig config_;
  std::unique_ptr<Node> node_;
  Timer leave_timer_;
  Status outcome_;
};

}  // namespace p2p::net
