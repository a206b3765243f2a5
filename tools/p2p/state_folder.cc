#include "tools/p2p/state_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace p2p::cli {
namespace {

Status make_private_folder(const std::filesystem::path& folder) {
  return make_folder(folder, 0700);
}

Result<std::filesystem::path> make_root_folder() {
  P2P_ASSIGN(const std::filesystem::path folder, state_folder());
  std::error_code failure;
  std::filesystem::create_directories(folder.parent_path(), failure);
  P2P_TRY(make_private_folder(folder));
  return folder;
}

Result<std::filesystem::path> seed_file(const ContentId& content) {
  P2P_ASSIGN(const std::filesystem::path folder, make_state_folder("seeds"));
  return folder / (content.hex() + ".json");
}

}  // namespace

Result<std::filesystem::path> state_folder() {
  if (const char* xdg = std::getenv("XDG_STATE_HOME"); xdg && *xdg == '/')
    return std::filesystem::path(xdg) / "p2p";
  if (const char* home = std::getenv("HOME"); home && *home == '/')
    return std::filesystem::path(home) / ".local" / "state" / "p2p";
  return Error{ErrorCode::kIo, "no place to keep the secret of a link: set HOME or XDG_STATE_HOME"};
}

Result<SeedState> load_seed_state(const ContentId& content) {
  if (!state_folder()) return SeedState{Secret::random(), 0};  // saving will say so
  P2P_ASSIGN(const std::filesystem::path path, seed_file(content));
  std::ifstream file(path);
  if (!file) {
    if (errno == ENOENT) return SeedState{Secret::random(), 0};
    return system_error("read", path, errno);
  }
  const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const bool sound = json.is_object() && json.contains("secret") && json["secret"].is_string();
  auto secret = sound ? Secret::parse(json["secret"].get<std::string>())
                      : Result<Secret>(Error{ErrorCode::kMalformed, ""});
  if (!secret)
    return Error{
        ErrorCode::kIo,
        absl::StrCat(path.string(), " is damaged; remove it to give this content a new link")};
  const bool has_port = json.contains("port") && json["port"].is_number_unsigned();
  const auto port = has_port ? json["port"].get<std::uint64_t>() : 0;
  return SeedState{*secret, port <= 65535 ? static_cast<std::uint16_t>(port) : std::uint16_t{0}};
}

Status save_seed_state(const ContentId& content, const SeedState& state) {
  P2P_ASSIGN(const std::filesystem::path path, seed_file(content));
  const nlohmann::json json = {{"secret", state.secret.reveal()}, {"port", state.port}};
  return write_private_file(path, json.dump() + "\n", Replace::kYes);
}

Result<std::filesystem::path> make_state_folder(const std::string& name) {
  P2P_ASSIGN(const std::filesystem::path folder, make_root_folder());
  P2P_TRY(make_private_folder(folder / name));
  return folder / name;
}

Result<HashCache> open_hash_cache() {
  P2P_ASSIGN(const std::filesystem::path folder, make_root_folder());
  return HashCache(folder / "hashes");
}

}  // namespace p2p::cli
