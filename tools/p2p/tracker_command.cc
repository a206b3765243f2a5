// p2p tracker and p2p keygen.
#include <csignal>
#include <cstdio>
#include <optional>

#include "net/address.h"
#include "net/log.h"
#include "net/store_address.h"
#include "net/tracker_daemon.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/gossip_options.h"
#include "tools/p2p/key_file.h"
#include "tools/p2p/service_notify.h"
#include "tools/p2p/state_folder.h"

namespace p2p::cli {
namespace {

struct TrackerOptions {
  std::string listen, cluster_key, store, store_password_file, http;
  std::vector<std::string> http_hosts;
  unsigned handshakes_per_second = net::kHandshakesPerSecond;
};

Result<std::optional<net::StoreAddress>> store_of(const TrackerOptions& options) {
  const std::string& file = options.store_password_file;
  if (options.store.empty()) {
    if (!file.empty())
      return Error{ErrorCode::kUsage, "--store-password-file: there is no --store"};
    return std::optional<net::StoreAddress>();
  }
  P2P_ASSIGN(net::StoreAddress store, net::StoreAddress::parse(options.store));
  if (!file.empty()) {
    if (!store.password.empty())
      return Error{ErrorCode::kUsage, "--store-password-file: there is a password in --store too"};
    P2P_ASSIGN(store.password, read_short_file("--store-password-file", file));
    if (store.password.empty() || store.password.size() > net::kMaxStorePasswordBytes)
      return Error{ErrorCode::kUsage, "--store-password-file: " + file + " holds no password"};
  }
  if (!store.user.empty() && store.password.empty())
    return Error{ErrorCode::kUsage,
                 "--store: there is a user without a password; name a --store-password-file"};
  return std::optional(std::move(store));
}

Result<std::optional<net::TrackerHttpConfig>> http_of(const TrackerOptions& options) {
  if (options.http.empty()) {
    if (!options.http_hosts.empty())
      return Error{ErrorCode::kUsage, "--http-host: there is no --http"};
    return std::optional<net::TrackerHttpConfig>();
  }
  const auto listen = Endpoint::parse(options.http);
  if (!listen)
    return Error{ErrorCode::kUsage, "--http: " + listen.error().message +
                                        "; write it like 127.0.0.1:9090 or 0.0.0.0:9090"};
  net::TrackerHttpConfig config{*listen, {}};
  config.limits.host_names = options.http_hosts;
  return std::optional(std::move(config));
}

Result<int> track(const TrackerOptions& options) {
  net::TrackerDaemonConfig config;
  config.listen = net::default_listen_endpoint();
  if (!options.listen.empty()) {
    P2P_ASSIGN(config.listen, parse_listen(options.listen));
  }
  P2P_ASSIGN(config.store, store_of(options));
  config.handshakes_per_second = options.handshakes_per_second;
  P2P_ASSIGN(config.http, http_of(options));
  net::Loop loop;
  KeyFileWatch keys(loop, options.cluster_key);
  P2P_ASSIGN(config.cluster_keys, read_cluster_keys(options.cluster_key));
  const bool open = config.cluster_keys.empty();
  net::TrackerDaemon daemon(loop, config);
  keys.set_on_change([&](const Keyring& ring) { daemon.set_cluster_keys(ring); });
  P2P_ASSIGN(const Endpoint local, daemon.start());
  // Nothing else is changed without a restart; and it must not end the tracker.
  loop.on_signal(SIGHUP, [&](int) {
    notify_service(ServiceState::kReloading);
    keys.take_keys();
    notify_service(ServiceState::kReady);
  });
  loop.on_termination([&](int) {
    notify_service(ServiceState::kStopping);
    daemon.stop();
  });
  const Endpoint shown = net::reachable_endpoints(local).front();
  std::printf("%s\n", shown.to_string().c_str());
  std::fflush(stdout);
  net::log_info("tracking on " + local.to_string() +
                (open ? ", open to all" : ", closed by the cluster key") + "; stop with Ctrl-C");
  if (const auto http = daemon.http())
    net::log_info("its page at http://" + http->to_string() + "/, metrics at /metrics");
  notify_service(ServiceState::kReady);
  daemon.run();
  return kOk;
}

Result<int> make_key(const std::string& output) {
  const Secret key = Secret::random();
  if (output.empty()) {
    std::printf("%s\n", key.reveal().c_str());
    return kOk;
  }
  P2P_TRY(write_private_file(output, key.reveal() + "\n", Replace::kNo));
  std::fprintf(stderr,
               "wrote a cluster key to %s; copy it to every host, readable by its user alone\n",
               output.c_str());
  return kOk;
}

}  // namespace

void add_tracker(CLI::App& app, Run& run) {
  auto options = std::make_shared<TrackerOptions>();
  CLI::App* command = app.add_subcommand("tracker", "Run a tracker, and print its address");
  add_flag_option(*command, "--listen", options->listen,
                  "ADDR:PORT to listen on; any free port by default");
  add_file_option(*command, "--cluster-key", options->cluster_key,
                  "Key file of `p2p keygen`: only holders of its keys may announce; "
                  "changes of the file are taken over");
  add_flag_option(*command, "--store", options->store,
                  "redis://HOST:PORT: trackers that share it know each other's peers, and a "
                  "restart loses none");
  add_file_option(*command, "--store-password-file", options->store_password_file,
                  "The store's password, in a file and not in the process list");
  add_flag_option(*command, "--handshakes-per-second", options->handshakes_per_second,
                  "Connections that one address may open, and fifty times as many at once. More "
                  "than 20 are for a site behind one address: its announces, entries and contents "
                  "are limited in proportion. 0: no limits of an address")
      ->capture_default_str()
      ->check(CLI::Range(0u, net::kMaxHandshakesPerSecond));
  add_flag_option(*command, "--http", options->http,
                  "ADDR:PORT to answer HTTP on: a page at /, /metrics, /healthz, /readyz. Off by "
                  "default: whoever reaches it may read it");
  add_list_option(
      *command, "--http-host", options->http_hosts,
      "A name by which browsers may ask, beside this host's own; may be repeated, *: any");
  command->footer(
      "Example:\n  p2p tracker --listen 0.0.0.0:7000\n"
      "  p2p tracker --listen 0.0.0.0:7000 --store redis://store.example:6379");
  command->callback([options, &run] { run = body_of(options, track); });
}

void add_keygen(CLI::App& app, Run& run) {
  auto output = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("keygen", "Make a cluster key");
  add_file_option(*command, "-o,--output", *output,
                  "File to write, for the user alone; stdout by default");
  command->footer("Example:\n  p2p keygen -o cluster.key");
  command->callback([output, &run] { run = body_of(output, make_key); });
}

}  // namespace p2p::cli
