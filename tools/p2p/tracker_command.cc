// p2p tracker and p2p keygen.
#include <cstdio>

#include "net/address.h"
#include "net/log.h"
#include "net/tracker_daemon.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/state_folder.h"

namespace p2p::cli {
namespace {

struct TrackerOptions {
  std::string listen, cluster_key;
};

Result<int> track(const TrackerOptions& options) {
  net::TrackerDaemonConfig config;
  config.listen = net::default_listen_endpoint();
  if (!options.listen.empty()) {
    P2P_ASSIGN(config.listen, parse_listen(options.listen));
  }
  P2P_ASSIGN(config.cluster_key, read_cluster_key(options.cluster_key));
  const bool open = !config.cluster_key;
  net::Loop loop;
  net::TrackerDaemon daemon(loop, config);
  P2P_ASSIGN(const Endpoint local, daemon.start());
  const Endpoint shown = net::reachable_endpoints(local).front();
  std::printf("%s\n", shown.to_string().c_str());
  std::fflush(stdout);
  net::log_info("tracking on " + local.to_string() +
                (open ? ", open to all" : ", closed by the cluster key") + "; stop with Ctrl-C");
  loop.on_termination([&](int) { daemon.stop(); });
  daemon.run();
  return kOk;
}

Result<int> make_key(const std::string& output) {
  const Secret key = Secret::random();
  if (output.empty()) {
    std::printf("%s\n", key.reveal().c_str());
    return kOk;
  }
  P2P_TRY(write_private_file(output, key.reveal() + "\n", /*replace=*/false));
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
  add_flag_option(*command, "--cluster-key", options->cluster_key,
                  "Key file of `p2p keygen`: only its holders may announce");
  command->footer("Example:\n  p2p tracker --listen 0.0.0.0:7000");
  command->callback([options, &run] {
    run = [options] {
      auto result = track(*options);
      return result ? *result : fail(result.error());
    };
  });
}

void add_keygen(CLI::App& app, Run& run) {
  auto output = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("keygen", "Make a cluster key");
  add_flag_option(*command, "-o,--output", *output,
                  "File to write, for the user alone; stdout by default");
  command->footer("Example:\n  p2p keygen -o cluster.key");
  command->callback([output, &run] {
    run = [output] {
      auto result = make_key(*output);
      return result ? *result : fail(result.error());
    };
  });
}

}  // namespace p2p::cli
