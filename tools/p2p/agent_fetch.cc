#include "tools/p2p/agent_fetch.h"

#include "absl/strings/str_cat.h"
#include "base/limits.h"
#include "content/private_file.h"
#include "net/log.h"

namespace p2p::cli {
namespace {

// What agent::Control says of it.
net::FetchProgress fetch_progress_of(const nlohmann::json& json) {
  net::FetchProgress progress;
  progress.name = json.value("name", "");
  progress.bytes_total = json.value("bytes_total", std::uint64_t{0});
  progress.bytes_verified = json.value("bytes_verified", std::uint64_t{0});
  progress.bytes_fetched = json.value("bytes_fetched", std::uint64_t{0});
  progress.bytes_reused = json.value("bytes_reused", std::uint64_t{0});
  progress.bytes_older = json.value("bytes_older", std::uint64_t{0});
  progress.elapsed = from_seconds(json.value("seconds", 0.0));
  progress.rate = json.value("bytes_per_second", 0.0);
  progress.peers = json.value("peers", std::size_t{0});
  progress.peers_met = json.value("peers_met", std::size_t{0});
  progress.share_of_limit = json.value("share_of_limit", 0.0);
  return progress;
}

Result<std::shared_ptr<const Manifest>> read_manifest(const std::filesystem::path& path) {
  const auto encoded = read_whole_file(path, kMaxManifestBytes);
  if (!encoded)
    return Error{encoded.error().code,
                 encoded.error().message +
                     ". Who takes contents out of an agent's store must be in its group"};
  P2P_ASSIGN(Manifest manifest, decode_manifest(bytes_of(*encoded)));
  return std::make_shared<const Manifest>(std::move(manifest));
}

const char* how(CopyMode mode) {
  switch (mode) {
    case CopyMode::kClone:
      return "cloned";
    case CopyMode::kLink:
      return "hard-linked";
    default:
      return "copied";
  }
}

// Out of the store to `target`.
Status take_out(const nlohmann::json& ready, const AgentFetch& wanted,
                const std::filesystem::path& target) {
  P2P_ASSIGN(auto manifest, read_manifest(ready.at("manifest").get<std::string>()));
  StoreOptions options;
  options.overwrite = wanted.overwrite;
  options.checks_space = wanted.copy == CopyMode::kCopy;
  P2P_ASSIGN(auto store, Store::open(std::move(manifest), wanted.link.content, target, options));
  P2P_ASSIGN(const CopyMode mode,
             store->copy_from(ready.at("data").get<std::string>(), wanted.copy,
                              [](std::uint64_t) { return !is_interrupted(); }));
  P2P_TRY(store->commit());
  net::log_info(absl::StrCat(how(mode), " from the agent's store to ", target.string()));
  return {};
}

}  // namespace

Status fetch_by_agent(AgentClient agent, const AgentFetch& wanted,
                      const net::FetchHandlers& handlers) {
  // What would otherwise only fail when all is fetched.
  if (!wanted.store_only && wanted.output && wanted.output->has_filename())
    P2P_TRY(Store::check_place(*wanted.output, wanted.overwrite));
  P2P_TRY(agent.send({{"op", "fetch"},
                      {"link", wanted.link.to_string()},
                      {"patience", to_seconds(wanted.patience)},
                      {"pin", wanted.pin},
                      {"detach", wanted.detach}}));
  net::FetchProgress progress;
  const Time began = net::Loop::now();
  for (;;) {
    P2P_ASSIGN(const nlohmann::json answer, agent.next());
    const std::string event = answer.at("event");
    if (event == "done") return {};  // detached
    if (event == "progress") {
      progress = fetch_progress_of(answer);
      if (handlers.on_progress) handlers.on_progress(progress);
      continue;
    }
    const std::filesystem::path target =
        wanted.store_only ? std::filesystem::path(answer.at("data").get<std::string>())
                          : net::target_path(wanted.output, answer.at("name").get<std::string>());
    if (!wanted.store_only) P2P_TRY(take_out(answer, wanted, target));
    progress.name = answer.at("name");
    progress.bytes_total = progress.bytes_verified = answer.at("bytes").get<std::uint64_t>();
    progress.path = target;
    // Where nothing had to be fetched there was no progress: all of it was here.
    if (progress.peers_met == 0 && progress.bytes_fetched == 0)
      progress.bytes_reused = progress.bytes_total;
    progress.elapsed = net::Loop::now() - began;
    if (handlers.on_done) handlers.on_done(progress);
    return {};
  }
}

}  // namespace p2p::cli
