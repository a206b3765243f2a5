#include "tools/p2p/member_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "crypto/datagram.h"
#include "net/gossip_service.h"
#include "net/log.h"
#include "tools/p2p/state_folder.h"

namespace p2p::cli {
namespace {

struct Kept {
  Secret key;
  std::uint64_t epoch = 0;
};

Result<std::optional<Kept>> read_identity(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    if (errno == ENOENT) return std::optional<Kept>();
    return system_error("read", path, errno);
  }
  const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const bool sound = json.is_object() && json.contains("private_key") && json.contains("epoch") &&
                     json["private_key"].is_string() && json["epoch"].is_number_unsigned();
  auto key = sound ? Secret::parse(json["private_key"].get<std::string>())
                   : Result<Secret>(Error{ErrorCode::kMalformed, ""});
  if (!key)
    return Error{ErrorCode::kIo, absl::StrCat(path.string(),
                                              " is damaged; remove it, and this "
                                              "host is a new member")};
  return std::optional(Kept{*key, json["epoch"].get<std::uint64_t>()});
}

// Those that can be read: it is only a hint.
std::vector<Endpoint> read_known(const std::filesystem::path& path) {
  std::vector<Endpoint> known;
  std::ifstream file(path);
  std::string line;
  while (known.size() < net::kMaxKnownMembers && std::getline(file, line))
    if (const auto endpoint = Endpoint::parse(line); endpoint && endpoint->is_dialable())
      known.push_back(*endpoint);
  return known;
}

}  // namespace

std::uint64_t clock_ms() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count());
}

MemberState passing_member() {
  MemberState state;
  state.identity = KeyPair::random();
  state.epoch = clock_ms();
  return state;
}

Result<MemberState> open_member_state(std::uint16_t port) {
  if (port == 0 || !state_folder()) return passing_member();
  P2P_ASSIGN(const std::filesystem::path folder, make_state_folder("members"));
  const std::filesystem::path file = folder / absl::StrCat(port, ".json");
  auto lock = lock_file(folder / absl::StrCat(port, ".lock"));
  if (!lock && lock.error().code == ErrorCode::kExists) {
    net::log_info(absl::StrCat("another process is this host's member at port ", port,
                               ": this one is a new member"));
    return passing_member();
  }
  if (!lock) return lock.error();
  lock->release();  // until the process ends
  P2P_ASSIGN(const std::optional<Kept> kept, read_identity(file));
  MemberState state;
  state.identity = kept ? KeyPair::from_private(kept->key) : KeyPair::random();
  P2P_ASSIGN(state.epoch, fresh_epoch(clock_ms(), kept ? kept->epoch : 0));
  const nlohmann::json json = {{"private_key", state.identity.private_key.reveal()},
                               {"epoch", state.epoch}};
  P2P_TRY(write_private_file(file, json.dump() + "\n", Replace::kYes));
  state.known_file = folder / absl::StrCat(port, ".members");
  state.known = read_known(state.known_file);
  return state;
}

std::vector<Endpoint> known_on_this_host() {
  const IpAddress here = IpAddress::parse("127.0.0.1").value();
  std::vector<Endpoint> found = {{here, kUsualGossipPort}}, kept;
  if (const auto folder = state_folder()) {
    std::error_code none;
    for (const auto& file : std::filesystem::directory_iterator(*folder / "members", none)) {
      const std::filesystem::path& path = file.path();
      std::uint32_t port = 0;
      if (path.extension() == ".members") {
        const std::vector<Endpoint> known = read_known(path);
        kept.insert(kept.end(), known.begin(), known.end());
      } else if (path.extension() == ".json" && absl::SimpleAtoi(path.stem().string(), &port) &&
                 port <= UINT16_MAX) {
        found.push_back({here, static_cast<std::uint16_t>(port)});
      }
    }
  }
  for (const Endpoint& member : kept)
    if (std::find(found.begin(), found.end(), member) == found.end()) found.push_back(member);
  if (found.size() > net::kMaxKnownMembers) found.resize(net::kMaxKnownMembers);
  return found;
}

void keep_known(const std::filesystem::path& file, const std::vector<Endpoint>& members) {
  std::string text;
  for (const Endpoint& member : members) absl::StrAppend(&text, member.to_string(), "\n");
  if (const Status written = write_private_file(file, text, Replace::kYes); !written)
    net::log_warn("the members of the cluster are not kept: " + written.error().message);
}

}  // namespace p2p::cli
