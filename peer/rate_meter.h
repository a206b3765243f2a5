// RateMeter: bytes a second, smoothed over about half a second. Cheap enough to be told of every
// frame.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace p2p::peer {

class RateMeter {
 public:
  explicit RateMeter(Time now) : since_(now) {}

  void add(std::uint64_t bytes, Time now) {
    bytes_ += bytes;
    const Duration elapsed = now - since_;
    if (elapsed < kSlot) return;
    // The longer the slot was, the less of the past is kept; the first one starts the average.
    const double seconds = to_seconds(elapsed);
    const double weight = started_ ? std::min(1.0, seconds / kMemorySeconds) : 1.0;
    rate_ += weight * (static_cast<double>(bytes_) / seconds - rate_);
    started_ = true;
    bytes_ = 0;
    since_ = now;
  }

  // As of the last add(): an idle meter keeps what it measured.
  double bytes_per_second() const { return rate_; }

 private:
  static constexpr Duration kSlot = std::chrono::milliseconds(100);
  static constexpr double kMemorySeconds = 0.5;

  Time since_;
  std::uint64_t bytes_ = 0;
  double rate_ = 0;
  bool started_ = false;
};

}  // namespace p2p::peer
