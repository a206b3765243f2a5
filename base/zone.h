// Zone: the name that an operator gives to hosts which are near each other, such as those of a
// rack. Between zones bandwidth is scarce, within one it is not. No name: nothing is said of where
// the host is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace p2p {

inline constexpr std::size_t kMaxZoneBytes = 64;

// Printable ASCII without spaces, since it stands in logs and on command lines; also empty.
inline bool is_zone(std::string_view text) {
  return text.size() <= kMaxZoneBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace p2p
