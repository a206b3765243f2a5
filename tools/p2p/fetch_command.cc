// p2p fetch: from a link to the content in its place.
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/control.h"
#include "agent/json_line.h"
#include "base/units.h"
#include "net/fetch.h"
#include "net/log.h"
#include "net/own_address.h"
#include "tools/p2p/agent_fetch.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/gossip_options.h"
#include "tools/p2p/limit_options.h"
#include "tools/p2p/progress_line.h"
#include "tools/p2p/stream_fetch.h"

namespace p2p::cli {
namespace {

struct FetchOptions {
  std::string link, output, listen, cluster_key, zone;
  std::vector<std::string> trackers, older;
  std::optional<double> linger_seconds;
  double patience_seconds = 30;
  bool json = false, overwrite = false;
  // Of a fetch by the agent.
  AgentOptions agent;
  bool store_only = false, detach = false, pin = false;
  CopyMode copy = CopyMode::kAuto;
  unsigned lanes = default_lanes();
  GossipOptions gossip;
  LimitOptions limits;
};

// A JSON line about twice a second is plenty for a machine.
constexpr Duration kJsonInterval = std::chrono::milliseconds(500);

void print_json(const nlohmann::json& json) {
  std::printf("%s\n", agent::json_line(json).c_str());
  std::fflush(stdout);
}

nlohmann::json to_json(const char* event, const net::FetchProgress& progress) {
  nlohmann::json json = agent::progress_json(progress);
  json["event"] = event;
  return json;
}

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 100 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string progress_text(const net::FetchProgress& progress) {
  const std::uint64_t left = progress.bytes_total - progress.bytes_verified;
  std::string text =
      absl::StrCat(progress.name, "  ",
                   absl::StrFormat("%.1f", percent(progress.bytes_verified, progress.bytes_total)),
                   " % of ", format_bytes(progress.bytes_total), "  ", format_rate(progress.rate));
  if (progress.rate > 0)
    absl::StrAppend(&text, "  ",
                    format_duration(from_seconds(static_cast<double>(left) / progress.rate)),
                    " left");
  absl::StrAppend(&text, "  ", progress.peers, progress.peers == 1 ? " peer" : " peers");
  if (progress.share_of_limit > 0)
    absl::StrAppend(&text, "  ", absl::StrFormat("%.0f", 100 * progress.share_of_limit),
                    " % of the limit");
  return text;
}

std::string done_text(const net::FetchProgress& progress) {
  const double seconds = std::max(to_seconds(progress.elapsed), 1e-3);
  std::string text =
      absl::StrCat("fetched ", progress.path.string(), ": ", format_bytes(progress.bytes_total),
                   " in ", format_duration(progress.elapsed), " (",
                   format_rate(static_cast<double>(progress.bytes_fetched) / seconds), ") from ",
                   progress.peers_met, progress.peers_met == 1 ? " peer" : " peers");
  if (const std::uint64_t resumed = progress.bytes_reused - progress.bytes_older; resumed > 0)
    absl::StrAppend(&text, ", ", format_bytes(resumed), " were here already");
  if (progress.bytes_older > 0)
    absl::StrAppend(&text, ", ", format_bytes(progress.bytes_older), " were in the older version");
  if (progress.share_of_limit > 0)
    absl::StrAppend(&text, "; that is ", absl::StrFormat("%.0f", 100 * progress.share_of_limit),
                    " % of what this link carried in its best half second");
  return text;
}

Result<net::FetchConfig> fetch_config(const FetchOptions& options) {
  net::FetchConfig config;
  P2P_ASSIGN(config.link, read_link(options.link));
  P2P_ASSIGN(const auto cluster_key, read_cluster_key(options.cluster_key));
  P2P_ASSIGN(config.psk, peer_secret(config.link, cluster_key));
  config.tracker_psk = cluster_key.value_or(open_tracker_key());
  P2P_ASSIGN(config.more_trackers, parse_trackers(options.trackers));
  P2P_ASSIGN(auto membership,
             membership_of(options.gossip, config.link.members, options.cluster_key, {}));
  if (membership) {
    config.gossip = std::move(membership->config);
    config.identity = membership->identity;
  }
  if (!options.output.empty()) config.output = options.output;
  if (!options.listen.empty()) {
    P2P_ASSIGN(config.listen, parse_listen(options.listen));
  }
  config.overwrite = options.overwrite;
  if (!options.older.empty())
    config.older =
        [paths = std::vector<std::filesystem::path>(options.older.begin(), options.older.end())] {
          return OldContents::open(paths);
        };
  if (options.linger_seconds) config.linger = from_seconds(*options.linger_seconds);
  config.patience = from_seconds(options.patience_seconds);
  P2P_ASSIGN(config.zone, parse_zone(options.zone));
  config.lanes = options.lanes;
  P2P_ASSIGN(config.limits, parse_limits(options.limits));
  return config;
}

// What the person sees. `options` and `line` must outlive them.
net::FetchHandlers shown_by(const FetchOptions& options, ProgressLine& line) {
  net::FetchHandlers handlers;
  handlers.on_progress = [&, next_json = Time()](const net::FetchProgress& progress) mutable {
    if (!options.json) return line.draw(progress_text(progress));
    if (net::Loop::now() < next_json) return;
    next_json = net::Loop::now() + kJsonInterval;
    print_json(to_json("progress", progress));
  };
  handlers.on_done = [&](const net::FetchProgress& progress) {
    line.wipe();
    if (!options.json && net::logs(net::LogLevel::kInfo))
      std::fprintf(stderr, "%s\n", done_text(progress).c_str());
    if (options.linger_seconds.value_or(0) > 0)
      net::log_info("seeding for those who are still fetching; stop with Ctrl-C");
    if (options.json) {
      nlohmann::json json = to_json("done", progress);
      json["peers"] = progress.peers_met;
      print_json(json);
    }
  };
  return handlers;
}

// Flags that say how this process is to fetch by itself.
std::string own_flag(const FetchOptions& options) {
  if (!options.older.empty()) return "--from";
  return own_network_flag(options.listen, options.gossip, options.cluster_key, options.limits);
}

// By the agent of this host where one runs; nothing where none does.
Result<std::optional<AgentClient>> agent_for(const FetchOptions& options) {
  const bool needed = options.store_only || options.detach || options.pin;
  const std::string flag = own_flag(options);
  if (!flag.empty() && (needed || (!options.agent.never && !options.agent.socket.empty())))
    return Error{ErrorCode::kUsage,
                 flag + " is for a fetch without an agent; give --no-agent, or leave it out"};
  if (!flag.empty()) return std::optional<AgentClient>();
  if (!needed) return AgentClient::connect(options.agent);
  P2P_ASSIGN(AgentClient agent, AgentClient::require(options.agent));
  return std::optional(std::move(agent));
}

Result<int> fetch_through(AgentClient agent, const FetchOptions& options) {
  AgentFetch wanted;
  P2P_ASSIGN(wanted.link, read_link(options.link));
  P2P_ASSIGN(const auto trackers, parse_trackers(options.trackers));
  net::add_addresses(wanted.link.trackers, trackers);
  if (!options.output.empty()) wanted.output = options.output;
  wanted.overwrite = options.overwrite;
  wanted.detach = options.detach;
  wanted.store_only = options.store_only || options.detach;
  wanted.pin = options.pin;
  wanted.copy = options.copy;
  wanted.patience = from_seconds(options.patience_seconds);
  ProgressLine line;
  P2P_TRY(fetch_by_agent(std::move(agent), wanted, shown_by(options, line)));
  return kOk;
}

// Always by this process: nobody else has its stdout.
Result<int> fetch_as_stream(const FetchOptions& options) {
  if (options.json) return Error{ErrorCode::kUsage, "--json and -o - would both write to stdout"};
  if (options.store_only || options.detach || options.pin)
    return Error{ErrorCode::kUsage, "-o - goes past the agent's store"};
  P2P_ASSIGN(net::FetchConfig config, fetch_config(options));
  ProgressLine line;
  P2P_TRY(fetch_to_stdout(std::move(config), shown_by(options, line)));
  return kOk;
}

Result<int> fetch(const FetchOptions& options) {
  if (options.output == "-") return fetch_as_stream(options);
  P2P_ASSIGN(auto agent, agent_for(options));
  if (agent) return fetch_through(*std::move(agent), options);
  P2P_ASSIGN(net::FetchConfig config, fetch_config(options));
  ProgressLine line;
  net::Loop loop;
  net::Fetch job(loop, std::move(config), shown_by(options, line));
  loop.on_termination([&, asked = false](int) mutable {
    // Asked twice: whatever still hangs (a disk, a name server) is not waited for. The store is
    // sound after any death.
    if (std::exchange(asked, true)) std::_Exit(kInterrupted);
    job.interrupt();
  });
  P2P_TRY(job.run());
  return kOk;
}

}  // namespace

void add_fetch(CLI::App& app, Run& run) {
  auto options = std::make_shared<FetchOptions>();
  CLI::App* command = app.add_subcommand("fetch", "Fetch what a link names");
  command->add_option("LINK", options->link, "The link, or - to read it from stdin")
      ->required()
      ->envname("P2P_LINK");
  add_file_option(*command, "-o,--output", options->output,
                  "Where to put it; a folder's name ends in '/', and - is stdout. The content's "
                  "name by default");
  add_list_option(*command, "--tracker", options->trackers,
                  "A tracker (HOST:PORT) to ask beside those of the link; may be repeated");
  add_flag_option(*command, "--from", options->older,
                  "An older version on this disk, file or folder: what the content shares with it "
                  "is not fetched. May be repeated; may be what --overwrite replaces")
      ->type_name("PATH")
      ->allow_extra_args(false);
  add_gossip_options(*command, options->gossip);
  add_flag_option(*command, "--listen", options->listen,
                  "ADDR:PORT to listen on; any free port by default");
  add_flag_option(
      *command, "--linger", options->linger_seconds,
      "Seconds to go on seeding afterwards; by default 2 where others are still fetching")
      ->check(kSeconds)
      ->type_name("SECONDS");
  add_flag_option(*command, "--patience", options->patience_seconds,
                  "Seconds to wait while no peer has what is missing; 0: for ever")
      ->check(kSeconds)
      ->type_name("SECONDS");
  add_file_option(*command, "--cluster-key", options->cluster_key, "Key file of `p2p keygen`");
  add_flag_option(*command, "--zone", options->zone,
                  "Where this host is, like rack-17: little is fetched from other zones");
  add_limit_options(*command, options->limits);
  add_flag_option(*command, "--lanes", options->lanes, "Worker threads, 1 to 64")
      ->check(CLI::Range(1u, 64u));
  command
      ->add_flag("--json", options->json,
                 "One JSON object a line on stdout, the last with the totals")
      ->envname("P2P_JSON");
  add_agent_options(*command, options->agent, true);
  command->add_flag("--store-only", options->store_only, "Into the agent's store, and nowhere else")
      ->envname("P2P_STORE_ONLY");
  command
      ->add_flag("--detach", options->detach,
                 "Do not wait for it: the agent goes on, also after a restart; with --store-only")
      ->envname("P2P_DETACH");
  command->add_flag("--pin", options->pin, "Keep it in the agent's store until `p2p unpin`")
      ->envname("P2P_PIN");
  add_flag_option(*command, "--copy", options->copy,
                  "How it comes out of the agent's store: clone (needs a file system that can), "
                  "link (hard links: read-only, shared with the store), copy, or auto: the first "
                  "of these that can be done")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, CopyMode>{{"auto", CopyMode::kAuto},
                                                                  {"clone", CopyMode::kClone},
                                                                  {"link", CopyMode::kLink},
                                                                  {"copy", CopyMode::kCopy}}));
  command->add_flag("--overwrite", options->overwrite, "Replace what is at the target")
      ->envname("P2P_OVERWRITE");
  command->footer("Example:\n  p2p fetch 'p2p://...#...' -o /srv/big.iso --linger 60");
  command->callback([options, &run] {
    run = [options] {
      auto result = fetch(*options);
      if (result) return *result;
      if (options->json)
        print_json({{"event", "error"},
                    {"exit_code", static_cast<int>(exit_code_of(result.error().code))},
                    {"message", result.error().message}});
      return fail(result.error());
    };
  });
}

}  // namespace p2p::cli
