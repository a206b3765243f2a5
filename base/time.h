// Time as the cores see it: a point on a clock that only the shell (or a test, or the simulator)
// moves.
#pragma once

#include <chrono>

namespace p2p {

using Duration = std::chrono::nanoseconds;

// Not a real clock: it has no now(). Time comes into a core as an argument and never goes back.
struct CoreClock {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<CoreClock>;
  static constexpr bool is_steady = true;
};

using Time = CoreClock::time_point;

inline constexpr Time kNever = Time::max();

inline double to_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

inline Duration from_seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace p2p
