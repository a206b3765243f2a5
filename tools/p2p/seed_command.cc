// p2p seed: scans, prints the link, serves.
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/units.h"
#include "content/scan.h"
#include "crypto/digest.h"
#include "net/fetch.h"
#include "net/log.h"
#include "net/seed.h"
#include "tools/p2p/agent_client.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/gossip_options.h"
#include "tools/p2p/limit_options.h"
#include "tools/p2p/progress_line.h"
#include "tools/p2p/state_folder.h"

namespace p2p::cli {
namespace {

struct SeedOptions {
  std::string path, link, listen, chunk_size, cluster_key, zone;
  std::vector<std::string> trackers, advertised;
  unsigned lanes = default_lanes();
  bool rehash = false;
  GossipOptions gossip;
  AgentOptions agent;
  LimitOptions limits;
};

// Less than this is hashed sooner than looked up.
constexpr std::uint64_t kMinKeptBytes = 1024 * 1024;

// What is to be served, and under which secrets.
struct Source {
  std::shared_ptr<const Manifest> manifest;
  std::shared_ptr<FileSet> files;
};

// With the hashes of an earlier scan, which are kept for the next.
Result<Scan> scan_with_cache(const std::filesystem::path& path, ScanOptions how, bool rehash) {
  const auto cache = open_hash_cache();
  P2P_ASSIGN(const Digest key, HashCache::key_of(path, how.chunk_bytes.value_or(0)));
  if (cache && !rehash)
    if (auto known = cache->load(key)) how.known = std::make_shared<HashRecord>(*std::move(known));
  P2P_ASSIGN(Scan scanned, scan_path(path, how));
  const std::uint64_t total = scanned.manifest->layout().total_bytes;
  if (!cache || total < kMinKeptBytes) return scanned;
  if (how.known && scanned.hashed_bytes == 0) {
    cache->touch(key);
  } else if (Status kept = cache->save(key, scanned.record); !kept) {
    net::log_warn("all will be hashed again next time: " + kept.error().message);
  }
  if (how.known && scanned.hashed_bytes < total)
    net::log_info(absl::StrCat("hashed ", format_bytes(scanned.hashed_bytes), " of ",
                               format_bytes(total), ": the rest has not changed since last time"));
  return scanned;
}

Result<Source> scan(const SeedOptions& options) {
  ProgressLine line;
  P2P_ASSIGN(ScanOptions how, scan_options(line, options.chunk_size));
  P2P_ASSIGN(Scan scanned, scan_with_cache(options.path, std::move(how), options.rehash));
  return Source{scanned.manifest, std::move(scanned.files)};
}

// The content of a link that this host has already: the manifest comes from the path where that
// gives the same id, else from the link's peers; then every chunk is checked.
Result<Source> source_of_link(const SeedOptions& options, const Link& link,
                              const net::SeedConfig& seed) {
  if (auto scanned = scan(options);
      scanned && content_id_of(encode_manifest(*scanned->manifest)) == link.content)
    return scanned;
  P2P_ASSIGN(Manifest manifest, manifest_from_peers(link, seed.cluster_key,
                                                    net::FetchConfig().patience, seed.trackers));
  Source source;
  source.manifest = std::make_shared<const Manifest>(std::move(manifest));
  ProgressLine line;
  P2P_ASSIGN(const ScanOptions how, scan_options(line, ""));
  P2P_ASSIGN(source.files, open_checked_source(source.manifest, options.path, how.job));
  return source;
}

Result<net::SeedConfig> seed_config(const SeedOptions& options) {
  net::SeedConfig config;
  P2P_ASSIGN(config.cluster_key, read_cluster_key(options.cluster_key));
  P2P_ASSIGN(config.zone, parse_zone(options.zone));
  config.lanes = options.lanes;
  P2P_ASSIGN(config.limits, parse_limits(options.limits));
  if (!options.listen.empty()) {
    P2P_ASSIGN(config.listen, parse_listen(options.listen));
  }
  P2P_ASSIGN(config.trackers, parse_trackers(options.trackers));
  P2P_ASSIGN(config.advertised, parse_advertised(options.advertised));
  return config;
}

// A member of the cluster that the flags or the link name.
Status be_member(const SeedOptions& options, const std::vector<HostPort>& of_link,
                 net::SeedConfig& config) {
  std::optional<IpAddress> advertised;
  for (const HostPort& address : config.advertised)
    if (auto ip = IpAddress::parse(address.host); ip && !advertised) advertised = *ip;
  P2P_ASSIGN(auto membership,
             membership_of(options.gossip, of_link, options.cluster_key, advertised));
  if (!membership) return {};
  config.gossip = std::move(membership->config);
  config.identity = membership->identity;
  return {};
}

// Prints the link and serves until a signal. `started` gets the port once it is known.
Result<int> serve(const SeedOptions& options, net::SeedConfig config,
                  const std::function<void(std::uint16_t)>& started) {
  const std::shared_ptr<const Manifest> manifest = config.manifest;
  net::Loop loop;
  KeyFileWatch keys(loop, config.gossip ? options.cluster_key : "");
  net::Seed seeder(loop, std::move(config));
  P2P_ASSIGN(const Link link, seeder.start());
  keys.set_on_change([&](const Keyring& ring) { seeder.set_cluster_keys(ring); });
  const std::string text = link.to_string();
  if (text.size() > kMaxLinkBytes)
    return Error{ErrorCode::kUsage,
                 absl::StrCat("the link would have ", text.size(), " characters, more than the ",
                              kMaxLinkBytes, " allowed; name fewer trackers and addresses")};
  started(seeder.port());
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
  const Layout layout = manifest->layout();
  net::log_info(absl::StrCat("seeding ", manifest->name, ": ", format_bytes(layout.total_bytes),
                             " in ", layout.chunk_count(), " chunks; stop with Ctrl-C"));
  loop.on_termination([&](int) { seeder.stop(); });
  seeder.run();
  return kOk;
}

// One more seeder of a link: its secret and addresses are the link's, and nothing needs to be
// remembered.
Result<int> seed_link(const SeedOptions& options, net::SeedConfig config) {
  P2P_ASSIGN(const Link link, read_link(options.link));
  P2P_ASSIGN(Source source, source_of_link(options, link, config));
  config.manifest = source.manifest;
  config.files = std::move(source.files);
  config.link_secret = link.secret;
  config.more_trackers = std::exchange(config.trackers, link.trackers);
  config.seeders = link.seeders;
  P2P_TRY(be_member(options, link.members, config));
  return serve(options, std::move(config), [](std::uint16_t) {});
}

// A content of this host's own: the same secret and port as last time make the same link.
Result<int> seed_path(const SeedOptions& options, net::SeedConfig config) {
  P2P_ASSIGN(Source source, scan(options));
  config.manifest = source.manifest;
  config.files = std::move(source.files);
  const ContentId content = content_id_of(encode_manifest(*config.manifest));
  P2P_ASSIGN(SeedState state, load_seed_state(content));
  if (!config.cluster_key) config.link_secret = state.secret;
  const bool any_port = !config.listen || config.listen->port == 0;
  if (any_port) config.preferred_port = state.port;
  P2P_TRY(be_member(options, {}, config));
  return serve(options, std::move(config), [&](std::uint16_t port) {
    if (any_port && state.port == 0) state.port = port;
    if (Status saved = save_seed_state(content, state); !saved)
      net::log_warn("the link will be another next time: " + saved.error().message);
  });
}

// Flags that say how this process is to seed by itself.
std::string own_flag(const SeedOptions& options) {
  if (!options.advertised.empty()) return "--advertise";
  return own_network_flag(options.listen, options.gossip, options.cluster_key, options.limits);
}

// The agent goes on when the command has ended.
Result<int> seed_through(AgentClient agent, const SeedOptions& options) {
  nlohmann::json request = {{"op", "seed"},
                            {"path", std::filesystem::absolute(options.path).string()},
                            {"trackers", options.trackers},
                            {"rehash", options.rehash}};
  P2P_ASSIGN(const auto trackers, parse_trackers(options.trackers));
  if (!options.link.empty()) {
    P2P_ASSIGN(const Link link, read_link(options.link));
    request["link"] = link.to_string();
  }
  ProgressLine line;
  P2P_ASSIGN(const ScanOptions how, scan_options(line, options.chunk_size));
  if (how.chunk_bytes) request["chunk_bytes"] = *how.chunk_bytes;
  P2P_TRY(agent.send(request));
  for (;;) {
    P2P_ASSIGN(const nlohmann::json answer, agent.next());
    if (answer.at("event") == "progress") {
      if (how.job.progress)
        how.job.progress(answer.value("bytes_hashed", std::uint64_t{0}),
                         answer.value("bytes_total", std::uint64_t{0}));
      continue;
    }
    line.wipe();
    std::printf("%s\n", answer.at("link").get<std::string>().c_str());
    net::log_info("the agent seeds " + options.path + " from where it lies, until `p2p rm`");
    return kOk;
  }
}

Result<int> seed(const SeedOptions& options) {
  if (const std::string flag = own_flag(options); flag.empty()) {
    P2P_ASSIGN(auto agent, AgentClient::connect(options.agent));
    if (agent) return seed_through(*std::move(agent), options);
  } else if (!options.agent.never && !options.agent.socket.empty()) {
    return Error{ErrorCode::kUsage,
                 flag + " is for a seed without an agent; give --no-agent, or leave it out"};
  }
  P2P_ASSIGN(net::SeedConfig config, seed_config(options));
  return options.link.empty() ? seed_path(options, std::move(config))
                              : seed_link(options, std::move(config));
}

}  // namespace

void add_seed(CLI::App& app, Run& run) {
  auto options = std::make_shared<SeedOptions>();
  CLI::App* command =
      app.add_subcommand("seed", "Offer a file or folder, and print the link to it");
  command->add_option("PATH", options->path, "The file or folder")->required();
  add_flag_option(*command, "--link", options->link,
                  "Be one more seeder of this link's content, after checking that it is here");
  add_list_option(*command, "--tracker", options->trackers,
                  "A tracker (HOST:PORT) that the link is to name; may be repeated. The content is "
                  "announced at the two that its id chooses, at others where those fail");
  add_gossip_options(*command, options->gossip);
  add_flag_option(*command, "--listen", options->listen,
                  "ADDR:PORT to listen on; any free port by default");
  add_list_option(*command, "--advertise", options->advertised,
                  "HOST[:PORT] that others reach this host at; may be repeated");
  add_flag_option(*command, "--chunk-size", options->chunk_size,
                  "A power of two from 64KiB to 4MiB; chosen by size by default");
  add_file_option(*command, "--cluster-key", options->cluster_key,
                  "Key file of `p2p keygen`: the link then needs it too");
  add_flag_option(*command, "--zone", options->zone,
                  "Where this host is, like rack-17: little is fetched from other zones");
  command
      ->add_flag("--rehash", options->rehash,
                 "Hash all of it, also files that have not changed since they were last hashed")
      ->envname("P2P_REHASH");
  add_limit_options(*command, options->limits);
  add_flag_option(*command, "--lanes", options->lanes, "Worker threads, 1 to 64")
      ->check(CLI::Range(1u, 64u));
  add_agent_options(*command, options->agent, true);
  command->footer(
      "Example:\n  p2p seed big.iso\n  p2p seed ./release --tracker tracker.example:7000 "
      "--advertise 10.0.0.5");
  command->callback([options, &run] { run = body_of(options, seed); });
}

}  // namespace p2p::cli
