#include "base/units.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

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
constexpr std::array<Unit, 15> kUnits = {{{"", 1},
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
                                          {"KB", kThousand},
                                          {"MB", 1e6},
                                          {"GB", 1e9},
                                          {"TB", 1e12}}};

// In bytes; decimal, as links are sold.
constexpr std::array<Unit, 4> kBitUnits = {
    {{"bit", 0.125}, {"kbit", 125}, {"Mbit", 125e3}, {"Gbit", 125e6}}};
// Above it a rate is a slip of the keyboard.
constexpr double kMostBytesPerSecond = 1e15;

// Of "64 KiB"; no number where it does not begin with one.
struct Quantity {
  std::optional<double> number;
  std::string_view unit;
};

Quantity split_unit(std::string_view text) {
  const std::size_t digits = text.find_first_not_of("0123456789.");
  const std::string_view number = text.substr(0, digits);
  Quantity found;
  if (digits != std::string_view::npos) found.unit = text.substr(digits);
  while (!found.unit.empty() && found.unit.front() == ' ') found.unit.remove_prefix(1);
  double value = 0;
  if (!number.empty() && absl::SimpleAtod(absl::string_view(number.data(), number.size()), &value))
    found.number = value;
  return found;
}

template <std::size_t kCount>
const Unit* find_unit(const std::array<Unit, kCount>& units, std::string_view name) {
  const auto found =
      std::find_if(units.begin(), units.end(), [&](const Unit& unit) { return unit.name == name; });
  return found == units.end() ? nullptr : &*found;
}

// Three digits that matter: 1.25, 12.5, 125.
std::string three_digits(double value) {
  if (value < 9.995) return absl::StrFormat("%.2f", value);
  if (value < 99.95) return absl::StrFormat("%.1f", value);
  return absl::StrFormat("%.0f", value);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto [number, name] = split_unit(text);
  const Unit* const unit = find_unit(kUnits, name);
  if (number && unit) {
    const double bytes = *number * unit->factor;
    if (bytes < 9.2e18) return static_cast<std::uint64_t>(std::llround(bytes));
  }
  return Error{ErrorCode::kUsage, absl::StrCat("not a size: '", std::string(text),
                                               "'; write it like 65536, 64KiB, 4MiB or 1GB")};
}

Result<double> parse_rate(std::string_view text) {
  auto [number, name] = split_unit(text);
  if (name.ends_with("/s")) name.remove_suffix(2);
  const Unit* unit = find_unit(kBitUnits, name);
  if (!unit && (!name.empty() || number == 0)) unit = find_unit(kUnits, name);
  if (number && unit && *number * unit->factor <= kMostBytesPerSecond)
    return *number * unit->factor;
  return Error{ErrorCode::kUsage, absl::StrCat("not a rate: '", std::string(text),
                                               "'; write it like 300MB/s or 25Mbit/s")};
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
