// The flags of who is a member of a cluster: --gossip and --join.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/file_watch.h"
#include "net/gossip_service.h"
#include "tools/p2p/commands.h"

namespace p2p::cli {

struct GossipOptions {
  std::string gossip;
  std::vector<std::string> join;

  bool given() const { return !gossip.empty() || !join.empty(); }
};

void add_gossip_options(CLI::App& command, GossipOptions& options);

struct Membership {
  net::GossipConfig config;
  KeyPair identity;
};

// What they ask for; nothing where neither they nor the link name a cluster. `cluster_key` is the
// path of the key file, empty for an open cluster. `advertised`: the address that others reach this
// host at, where it is given.
Result<std::optional<Membership>> membership_of(const GossipOptions& options,
                                                const std::vector<HostPort>& of_link,
                                                const std::string& cluster_key,
                                                const std::optional<IpAddress>& advertised);

// The same for who only looks on; an empty ring for an open cluster. `known` as in GossipConfig.
// kUsage where nobody is named.
Result<net::GossipConfig> observer_of(const std::vector<std::string>& join,
                                      const std::vector<HostPort>& of_link, const Keyring& keys,
                                      std::vector<Endpoint> known = {});

// Takes over changes of the key file while the loop runs. Make it before the file is read; empty
// where there is no file. A file that cannot be read changes nothing.
class KeyFileWatch {
 public:
  KeyFileWatch(net::Loop& loop, const std::string& path);
  void set_on_change(std::function<void(const Keyring&)> on_change) {
    on_change_ = std::move(on_change);
  }
  // Reads the file now, without waiting until it is seen to have changed.
  void take_keys();

 private:
  std::string path_;
  std::function<void(const Keyring&)> on_change_;
  std::optional<net::FileWatch> watch_;
};

}  // namespace p2p::cli
