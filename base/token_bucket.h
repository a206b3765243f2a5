// TokenBucket: a rate of bytes, kept to by whoever takes from it before he lets them flow, or
// after. Sans-IO.
//
// Bytes are taken at once, and are due at a time: when all that was taken before them, and they
// themselves, have been paid for at the rate. Who sends takes first and sends when it is due; who
// has received takes afterwards and reads on when it is due. So those who share a bucket form a
// line, and with takes of one size none of them gets more than another.
//
// What nobody took is kept for kBurst and no longer: enough to make up for timers and threads that
// come late. Within any time t no more than rate * (t + kBurst) is due.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/time.h"

namespace p2p {

class TokenBucket {
 public:
  static constexpr Duration kBurst = std::chrono::milliseconds(50);

  // 0: no limit, all is due at once.
  explicit TokenBucket(std::uint64_t bytes_per_second = 0) : rate_(bytes_per_second) {}

  std::uint64_t bytes_per_second() const { return rate_; }

  // From now on, with neither what was saved nor what was owed. What was taken before is due when
  // it was; better is to give it up, and to take anew.
  void set_rate(std::uint64_t bytes_per_second, Time now) {
    rate_ = bytes_per_second;
    paid_at_ = now;
  }

  // When they are due: at a time that may be past.
  Time take(std::uint64_t bytes, Time now) {
    if (rate_ == 0) return now;
    return paid_at_ = std::max(paid_at_, now - kBurst) + cost(bytes);
  }

  // Taken, and not going to flow. Those behind in the line are due as they were told.
  void give_back(std::uint64_t bytes) {
    if (rate_ != 0) paid_at_ -= cost(bytes);
  }

 private:
  Duration cost(std::uint64_t bytes) const {
    return Duration(std::llround(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate_)));
  }

  std::uint64_t rate_;
  Time paid_at_{};  // when all that was taken is paid for
};

}  // namespace p2p
