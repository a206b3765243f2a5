// Seed: serves a content that this host has, until told to stop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "content/file_set.h"
#include "content/link.h"
#include "content/manifest.h"
#include "net/offer.h"

namespace p2p::net {

struct SeedConfig : PeerConfig {
  std::shared_ptr<const Manifest> manifest;
  std::shared_ptr<FileSet> files;
  std::optional<Secret>
      link_secret;  // goes into the link; without it the content is closed by the cluster key
  std::optional<Secret> cluster_key;
  // Both go into the link, at most kMaxLinkAddresses of them (each counts once). `more_trackers`
  // are those that an earlier link of the content, which others have, does not name.
  std::vector<HostPort> trackers, more_trackers;
  std::vector<HostPort> seeders;     // others named by the link; they are announced to as well
  std::vector<HostPort> advertised;  // how others reach this host; port 0: the one listened on
  std::optional<Endpoint> listen;
  std::uint16_t preferred_port = 0;  // taken when it is free and `listen` names none
  std::string zone;                  // where this host is (base/zone.h)
};

class Seed {
 public:
  Seed(Loop& loop, SeedConfig config);
  ~Seed();

  // Listens and joins; the link is known then. kUsage where that would have too many trackers.
  Result<Link> start();
  std::uint16_t port() const;
  // Runs the loop until stop().
  void run();
  void stop();
  // Of a member: those of the cluster, which its key file holds now.
  void set_cluster_keys(const Keyring& keys);

 private:
  Status listen();
  Status check_trackers() const;
  Offer content() const;
  void warn_of_silence();
  void tick();

  Loop& loop_;
  SeedConfig config_;
  Secret psk_;
  std::unique_ptr<Node> node_;
  HostedSwarm* swarm_ = nullptr;  // of the node
  Timer tick_timer_, leave_timer_;
  bool warned_ = false;
};

}  // namespace p2p::net
