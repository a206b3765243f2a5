// p2p agent: the daemon that keeps a host's contents.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "agent/agent.h"
#include "agent/control.h"
#include "agent/http.h"
#include "base/units.h"
#include "net/log.h"
#include "net/node.h"
#include "tools/p2p/agent_client.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/gossip_options.h"
#include "tools/p2p/key_file.h"
#include "tools/p2p/limit_options.h"
#include "tools/p2p/service_notify.h"
#include "tools/p2p/state_folder.h"

namespace p2p::cli {
namespace {

// Links name it, and are to be good for longer than one run of the agent.
constexpr std::uint16_t kUsualAgentPort = 7947;

struct AgentDaemonOptions {
  std::string store, socket, listen, cluster_key, zone, max_size;
  std::string http;
  std::vector<std::string> trackers, advertised, http_hosts;
  double max_idle_seconds = 0;
  unsigned lanes = default_lanes();
  GossipOptions gossip;
  LimitOptions limits;
};

Result<agent::AgentPolicy> policy_of(const AgentDaemonOptions& options) {
  agent::AgentPolicy policy;
  P2P_ASSIGN(policy.limits, parse_limits(options.limits));
  policy.max_idle_seconds = static_cast<std::int64_t>(options.max_idle_seconds);
  if (options.max_size.empty()) return policy;
  auto bytes = parse_size(options.max_size);
  if (!bytes) return Error{ErrorCode::kUsage, "--max-size: " + bytes.error().message};
  policy.max_bytes = *bytes;
  return policy;
}

Result<std::filesystem::path> store_of(const AgentDaemonOptions& options) {
  if (!options.store.empty()) return std::filesystem::path(options.store);
  if (const char* folder = std::getenv("STATE_DIRECTORY"); folder && *folder == '/')
    return std::filesystem::path(folder) / "store";
  P2P_ASSIGN(const std::filesystem::path state, make_state_folder("agent"));
  return state / "store";
}

Result<agent::AgentConfig> agent_config(const AgentDaemonOptions& options) {
  agent::AgentConfig config;
  P2P_ASSIGN(config.store, store_of(options));
  P2P_ASSIGN(config.policy, policy_of(options));
  config.listen = net::default_listen_endpoint();
  config.listen.port = kUsualAgentPort;
  if (!options.listen.empty()) {
    P2P_ASSIGN(config.listen, parse_listen(options.listen));
  }
  P2P_ASSIGN(config.trackers, parse_trackers(options.trackers));
  P2P_ASSIGN(config.advertised, parse_advertised(options.advertised));
  P2P_ASSIGN(config.cluster_keys, read_cluster_keys(options.cluster_key));
  P2P_ASSIGN(config.zone, parse_zone(options.zone));
  config.lanes = options.lanes;
  std::optional<IpAddress> address;
  for (const HostPort& each : config.advertised)
    if (auto ip = IpAddress::parse(each.host); ip && !address) address = *ip;
  P2P_ASSIGN(auto membership, membership_of(options.gossip, {}, options.cluster_key, address));
  if (!membership) return config;
  config.gossip = std::move(membership->config);
  config.identity = membership->identity;
  return config;
}

// Of the command line and its file, as they were read last.
std::shared_ptr<AgentDaemonOptions> last_parsed;

// What SIGHUP changes; the rest needs a restart.
Status reload(agent::Agent& agent, const AgentDaemonOptions& running) {
  P2P_TRY(parse_command_line_again());
  P2P_ASSIGN(const agent::AgentPolicy policy, policy_of(*last_parsed));
  agent.set_policy(policy);
  const AgentDaemonOptions& now = *last_parsed;
  if (now.store != running.store || now.socket != running.socket || now.listen != running.listen ||
      now.cluster_key != running.cluster_key || now.zone != running.zone ||
      now.trackers != running.trackers || now.advertised != running.advertised ||
      now.http != running.http || now.http_hosts != running.http_hosts ||
      now.lanes != running.lanes || now.gossip.gossip != running.gossip.gossip ||
      now.gossip.join != running.gossip.join)
    net::log_warn("some of what changed in the configuration needs a restart of the agent");
  net::log_info("the configuration is read again");
  return {};
}

Result<int> run_agent(const AgentDaemonOptions& options) {
  umask(022);  // who may enter the store may read what it holds
  net::Loop loop;
  KeyFileWatch keys(loop, options.cluster_key);
  P2P_ASSIGN(agent::AgentConfig config, agent_config(options));
  agent::Agent agent(loop, std::move(config));
  P2P_TRY(agent.start());
  agent::Control control(loop, agent, [](ErrorCode code) -> int { return exit_code_of(code); });
  const std::filesystem::path socket =
      options.socket.empty() ? default_agent_socket() : std::filesystem::path(options.socket);
  P2P_TRY(control.listen(socket));
  std::unique_ptr<agent::Http> http;
  if (!options.http.empty()) {
    auto where = Endpoint::parse(options.http);
    if (!where) return Error{ErrorCode::kUsage, "--http: " + where.error().message};
    P2P_ASSIGN(http, agent::Http::start(loop, agent, *where, options.http_hosts));
    net::log_info("contents and metrics at http://" + http->local().to_string() + "/");
  }
  keys.set_on_change([&](const Keyring& ring) { agent.set_cluster_keys(ring); });
  loop.on_signal(SIGHUP, [&](int) {
    notify_service(ServiceState::kReloading);
    if (const Status done = reload(agent, options); !done)
      net::log_error("nothing is changed: " + done.error().message);
    notify_service(ServiceState::kReady);
  });
  loop.on_termination([&, asked = false](int) mutable {
    // Asked twice: what still hangs is not waited for. The store is sound after any death.
    if (std::exchange(asked, true)) std::_Exit(kInterrupted);
    notify_service(ServiceState::kStopping);
    net::log_info("stopping, once those who fetch from here have what they need");
    agent.stop([&] { loop.stop(); });
  });
  net::log_info(absl::StrCat("an agent with ", agent.report().size(), " contents in ",
                             agent.config().store.string(), ", at ", agent.local().to_string(),
                             " for peers and ", socket.string(), " for this host"));
  notify_service(ServiceState::kReady);
  loop.run();
  return kOk;
}

}  // namespace

void add_agent(CLI::App& app, Run& run) {
  auto options = std::make_shared<AgentDaemonOptions>();
  CLI::App* command = app.add_subcommand(
      "agent", "Keep a store of contents on this host, and fetch and serve for all its commands");
  add_flag_option(*command, "--store", options->store,
                  "The folder of the store; in the state folder by default")
      ->type_name("FOLDER");
  add_file_option(*command, "--socket", options->socket,
                  "Where the commands of this host find it, for its user and group: by default "
                  "agent.sock in RUNTIME_DIRECTORY, in p2p/ of XDG_RUNTIME_DIR, or in /run/p2p");
  add_flag_option(*command, "--listen", options->listen,
                  "ADDR:PORT for peers; port 7947 by default");
  add_flag_option(*command, "--http", options->http,
                  "ADDR:PORT for contents (/content/ID), /metrics, /healthz and /readyz, like "
                  "127.0.0.1:7948: whoever reaches it may read. None by default");
  add_list_option(
      *command, "--http-host", options->http_hosts,
      "A name by which browsers may ask there, beside this host's own; may be repeated");
  add_list_option(*command, "--advertise", options->advertised,
                  "HOST[:PORT] that others reach this host at; may be repeated");
  add_flag_option(*command, "--max-size", options->max_size,
                  "Of the store, like 200GiB: the contents that were used longest ago go first, "
                  "never one that is pinned or in use. No limit by default");
  add_flag_option(*command, "--max-idle", options->max_idle_seconds,
                  "A content that nobody used for so long goes, like 30d; never by default")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, double>{{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}},
          CLI::AsNumberWithUnit::UNIT_REQUIRED, "TIME"))
      ->type_name("TIME");
  add_list_option(*command, "--tracker", options->trackers,
                  "A tracker (HOST:PORT) to announce at and to ask; may be repeated");
  add_gossip_options(*command, options->gossip);
  add_limit_options(*command, options->limits);
  add_file_option(*command, "--cluster-key", options->cluster_key,
                  "Key file of `p2p keygen`; changes of the file are taken over");
  add_flag_option(*command, "--zone", options->zone,
                  "Where this host is, like rack-17: little is fetched from other zones");
  add_flag_option(*command, "--lanes", options->lanes, "Worker threads, 1 to 64")
      ->check(CLI::Range(1u, 64u));
  command->footer(
      "Example:\n  p2p agent --store /var/lib/p2p/store --max-size 200GiB --tracker "
      "tracker.example:7000");
  command->callback([options, &run] {
    last_parsed = options;
    run = body_of(options, run_agent);
  });
}

}  // namespace p2p::cli
