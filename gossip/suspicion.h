// How long a suspect has to say that it lives: Lifeguard's rule (Dadgar, Phillips, Currey 2017).
// One accusation may be the accuser's own fault, so it waits long; each further accuser makes it
// shorter.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/time.h"

namespace p2p::gossip {

inline constexpr Duration kSuspicionMin = std::chrono::seconds(3);
inline constexpr Duration kSuspicionMax = std::chrono::seconds(18);
// So many accusers beyond the first make it the shortest.
inline constexpr std::size_t kConfirmations = 3;

// max - (max - min) * log(c + 1) / log(k + 1), at least min; c: further accusers, k: how many of
// them are asked for, at most as many as there are but for the suspect and the first.
inline Duration suspicion_time(std::size_t accusers, std::size_t live_members) {
  const std::size_t k = std::min(kConfirmations, live_members > 2 ? live_members - 2 : 0);
  if (k == 0 || accusers > k) return kSuspicionMin;
  if (accusers == 0) return kSuspicionMax;
  const double share = std::log(static_cast<double>(accusers)) / std::log(double(k) + 1);
  const double seconds =
      to_seconds(kSuspicionMax) - to_seconds(kSuspicionMax - kSuspicionMin) * share;
  return std::max(kSuspicionMin, from_seconds(seconds));
}

}  // namespace p2p::gossip
