// The flags of how fast a process may send and receive (net/bandwidth.h): --up-limit, --down-limit,
// --peer-up-limit and --peer-down-limit.
#pragma once

#include <string>

#include "net/bandwidth.h"
#include "tools/p2p/commands.h"

namespace p2p::cli {

// Rates as base/units.h reads them; empty: no limit.
struct LimitOptions {
  std::string up, down, peer_up, peer_down;

  // The first flag that is given; empty: none.
  std::string first_given() const;
};

void add_limit_options(CLI::App& command, LimitOptions& options);

// kUsage where one is no rate, or less than kLeastBytesPerSecond and not 0.
Result<net::BandwidthLimits> parse_limits(const LimitOptions& options);

}  // namespace p2p::cli
