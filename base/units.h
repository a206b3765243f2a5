// Sizes, rates and times as a person reads and writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace p2p {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

// "512", "64KiB", "64K", "4M", "1GB": K, M, G, T and KiB... are powers of 1024; kB (or KB), MB, GB,
// TB of 1000.
Result<std::uint64_t> parse_size(std::string_view text);
// Bytes a second: "50KB/s", "10MB/s", "800kbit/s", "1Gbit/s"; the "/s" may be left out, the unit
// may not: a bare number could be bits or bytes. "0" needs none.
Result<double> parse_rate(std::string_view text);
// 1536 -> "1.5 KiB".
std::string format_bytes(std::uint64_t bytes);
// 1.2e8 -> "120 MB/s": rates are decimal, as links are sold.
std::string format_rate(double bytes_per_second);
// "0.8 s", "42 s", "3 min 10 s", "2 h 5 min".
std::string format_duration(Duration duration);

}  // namespace p2p
