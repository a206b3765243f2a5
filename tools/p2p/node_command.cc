// p2p node: a member of the cluster that holds its part of the hash table, and no content.
#include <cstdio>
#include <memory>
#include <optional>

#include "net/log.h"
#include "net/table_daemon.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/gossip_options.h"

namespace p2p::cli {
namespace {

// It has joined by then.
constexpr Duration kSettled = std::chrono::seconds(10);

struct NodeOptions {
  GossipOptions gossip;
  std::string listen, advertised, cluster_key;
};

Result<int> run_node(const NodeOptions& options) {
  net::Loop loop;
  KeyFileWatch keys(loop, options.cluster_key);
  std::optional<IpAddress> advertised;
  if (!options.advertised.empty()) {
    const auto address = IpAddress::parse(options.advertised);
    if (!address) return Error{ErrorCode::kUsage, "--advertise: " + address.error().message};
    advertised = *address;
  }
  GossipOptions gossip = options.gossip;
  if (gossip.gossip.empty()) gossip.gossip = net::default_listen_endpoint().to_string();
  P2P_ASSIGN(auto membership, membership_of(gossip, {}, options.cluster_key, advertised));
  net::TableDaemonConfig config;
  config.gossip = std::move(membership.value().config);
  config.identity = membership.value().identity;
  config.listen = config.gossip.listen;
  config.listen.port = 0;
  if (!options.listen.empty()) {
    P2P_ASSIGN(config.listen, parse_listen(options.listen));
  }
  const bool open = !config.gossip.is_closed;
  net::TableDaemon daemon(loop, std::move(config));
  keys.set_on_change([&](const Keyring& ring) { daemon.set_cluster_keys(ring); });
  P2P_ASSIGN(const Endpoint local, daemon.start());
  std::printf("%s\n", local.to_string().c_str());
  std::fflush(stdout);
  net::log_info("a member of the cluster at " + local.to_string() +
                (open ? ", open to all" : ", closed by the cluster key") + "; stop with Ctrl-C");
  loop.on_termination([&](int) { daemon.stop(); });
  net::Timer settled(loop, forget_startup_pages);
  settled.arm(net::Loop::now() + kSettled);
  P2P_TRY(daemon.run());
  return kOk;
}

}  // namespace

void add_node(CLI::App& app, Run& run) {
  auto options = std::make_shared<NodeOptions>();
  CLI::App* command = app.add_subcommand(
      "node", "Be a member of a cluster that needs no tracker, and print where others join");
  add_gossip_options(*command, options->gossip);
  add_flag_option(*command, "--listen", options->listen,
                  "ADDR:PORT (TCP) to answer announces at; any free port by default");
  add_flag_option(*command, "--advertise", options->advertised,
                  "The address that others reach this host at");
  add_file_option(*command, "--cluster-key", options->cluster_key,
                  "Key file of `p2p keygen`: only holders of its keys are members; changes of the "
                  "file are taken over");
  command->footer(
      "Example:\n  p2p node --gossip 0.0.0.0:7946\n"
      "  p2p node --gossip 0.0.0.0:7946 --join first.example:7946");
  command->callback([options, &run] { run = body_of(options, run_node); });
}

}  // namespace p2p::cli
