#include "base/units.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace p2p {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double kThousand = 1000;
constexpr std::array<Unit, 14> kUnits = {{{"", 1},
                                          {"B", 1},
                                          {"K", 1024},
                                          {"KiB", 1024},
                                          {"M", 1048576},
                                          {"MiB", 1048576},
                                          {"G", 1073741824},
                                          {"GiB", 1073741824},
                                          {"T", 1099511627776.0},
                                          {"TiB", 1099511627776.0},
                                          {"kB", kThousand},
                                          {"MB", 1e6},
                                          {"GB", 1e9},
                                          {"TB", 1e12}}};

// Three digits that matter: 1.25, 12.5, 125.
std::string three_digits(double value) {
  if (value < 9.995) return absl::StrFormat("%.2f", value);
  if (value < 99.95) return absl::StrFormat("%.1f", value);
  return absl::StrFormat("%.0f", value);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const std::size_t digits = text.find_first_not_of("0123456789.");
  const std::string_view number = text.substr(0, digits);
  std::string_view unit = digits == std::string_view::npos ? "" : text.substr(digits);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  double value = 0;
  if (!number.empty() &&
      absl::SimpleAtod(absl::string_view(number.data(), number.size()), &value)) {
    for (const Unit& known : kUnits) {
      if (known.name != unit) continue;
      const double bytes = value * known.factor;
      if (bytes >= 9.2e18) break;
      return static_cast<std::uint64_t>(std::llround(bytes));
    }
  }
  return Error{ErrorCode::kUsage, absl::StrCat("not a size: '", std::string(text),
                                               "'; write it like 65536, 64KiB, 4MiB or 1GB")};
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < kKiB) return absl::StrCat(bytes, " B");
  constexpr std::array<const char*, 5> kNames = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kNames.size()) value /= 1024, ++unit;
  return absl::StrCat(three_digits(value), " ", kNames[unit]);
}

std::string format_rate(double bytes_per_second) {
  constexpr std::array<const char*, 5> kNames = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
  std::size_t unit = 0;
  while (bytes_per_second >= 999.5 && unit + 1 < kNames.size()) bytes_per_second /= 1000, ++unit;
  if (unit == 0) return absl::StrFormat("%.0f B/s", bytes_per_second);
  return absl::StrCat(three_digits(bytes_per_second), " ", kNames[unit]);
}

std::string format_duration(Duration duration) {
  const double seconds = to_seconds(duration);
  if (seconds < 9.95) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrCat(whole / 60, " min ", whole % 60, " s");
  return absl::StrCat(whole / 3600, " h ", whole % 3600 / 60, " min");
}

}  // namespace p2p
