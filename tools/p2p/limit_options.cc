#include "tools/p2p/limit_options.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/units.h"

namespace p2p::cli {
namespace {

Result<std::uint64_t> parse_limit(const std::string& flag, const std::string& text) {
  if (text.empty()) return std::uint64_t{0};
  const auto rate = parse_rate(text);
  if (!rate) return Error{ErrorCode::kUsage, absl::StrCat(flag, ": ", rate.error().message)};
  const auto bytes = static_cast<std::uint64_t>(std::llround(*rate));
  if (bytes >= net::kLeastBytesPerSecond || *rate == 0) return bytes;
  return Error{ErrorCode::kUsage,
               absl::StrCat(flag, ": ", text, " is less than ",
                            format_rate(static_cast<double>(net::kLeastBytesPerSecond)),
                            ", the least that peers can work with; 0 is no limit")};
}

}  // namespace

std::string LimitOptions::first_given() const {
  if (!up.empty()) return "--up-limit";
  if (!down.empty()) return "--down-limit";
  if (!peer_up.empty()) return "--peer-up-limit";
  return peer_down.empty() ? "" : "--peer-down-limit";
}

void add_limit_options(CLI::App& command, LimitOptions& options) {
  add_flag_option(
      command, "--up-limit", options.up,
      "Send no faster than this, like 10MB/s or 80Mbit/s, to all together; 0: no limit");
  add_flag_option(command, "--down-limit", options.down, "Receive no faster than this from all");
  add_flag_option(command, "--peer-up-limit", options.peer_up,
                  "Send no faster than this to each peer");
  add_flag_option(command, "--peer-down-limit", options.peer_down,
                  "Receive no faster than this from each peer");
}

Result<net::BandwidthLimits> parse_limits(const LimitOptions& options) {
  net::BandwidthLimits limits;
  P2P_ASSIGN(limits.up, parse_limit("--up-limit", options.up));
  P2P_ASSIGN(limits.down, parse_limit("--down-limit", options.down));
  P2P_ASSIGN(limits.peer_up, parse_limit("--peer-up-limit", options.peer_up));
  P2P_ASSIGN(limits.peer_down, parse_limit("--peer-down-limit", options.peer_down));
  return limits;
}

}  // namespace p2p::cli
