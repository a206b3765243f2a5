// SendPace: how far ahead of the network a connection's data may be committed. What is committed
// cannot be taken back by a Cancel or overtaken by a message, and its sender counts it as sent; so
// it should last for a few milliseconds and no longer. Too little would idle a fast link.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <utility>

#include "base/time.h"

namespace p2p::net {

class SendPace {
 public:
  static constexpr std::size_t kLeastBytes = 8 * 1024;
  static constexpr std::size_t kMostBytes = 256 * 1024;
  // Before anything is measured.
  static constexpr std::size_t kFirstBytes = 32 * 1024;
  // What is ahead lasts about this long.
  static constexpr Duration kAhead = std::chrono::milliseconds(8);
  // A rate is taken over at least this long.
  static constexpr Duration kMeasured = std::chrono::milliseconds(10);

  // The kernel is given more while it holds less than this unsent; a data frame is no longer
  // either. A power of two, so that it moves seldom.
  std::size_t ahead_bytes() const { return ahead_bytes_; }

  // A write begins, after another or after a pause.
  void on_write(Time now) {
    if (busy_) return;
    busy_ = true;
    since_ = now;
    bytes_ = 0;
  }
  // The kernel took this much. Returns whether ahead_bytes() changed.
  bool on_written(std::size_t bytes, Time now) {
    bytes_ += bytes;
    const Duration took = now - since_;
    if (took < kMeasured) return false;
    const double wanted = static_cast<double>(bytes_) / to_seconds(took) * to_seconds(kAhead);
    const auto capped = static_cast<std::size_t>(std::min<double>(wanted, kMostBytes));
    since_ = now;
    bytes_ = 0;
    return std::exchange(ahead_bytes_, std::bit_ceil(std::max(capped, kLeastBytes))) !=
           ahead_bytes_;
  }
  // Nothing is left to write: the time until the next is not the network's.
  void on_idle() { busy_ = false; }

 private:
  std::size_t ahead_bytes_ = kFirstBytes;
  bool busy_ = false;
  Time since_;
  std::size_t bytes_ = 0;
};

}  // namespace p2p::net
