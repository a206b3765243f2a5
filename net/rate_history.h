// RateHistory: bytes over time in tenths of a second: the rate now, and the best that was
// sustained.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace p2p::net {

class RateHistory {
 public:
  static constexpr Duration kSlot = std::chrono::milliseconds(100);
  static constexpr std::size_t kBestSlots = 5;  // "sustained" is half a second
  static constexpr std::size_t kNowSlots = 20;  // "now" is the last two seconds

  explicit RateHistory(Time start) : slot_end_(start + kSlot) {}

  // The total so far; to be told at least once a slot or so.
  void on_total(std::uint64_t bytes, Time now) {
    while (now >= slot_end_) {
      slots_.push_back(total_);
      if (slots_.size() > kNowSlots + 1) slots_.erase(slots_.begin());
      slot_end_ += kSlot;
      if (slots_.size() > kBestSlots) best_ = std::max(best_, rate_over(kBestSlots));
      if (now - slot_end_ > kSlot * static_cast<int>(kNowSlots))
        slot_end_ = now + kSlot;  // after a long sleep
    }
    total_ = bytes;
  }

  // Bytes a second.
  double now() const {
    return slots_.size() < 2 ? 0 : rate_over(std::min(slots_.size() - 1, kNowSlots));
  }
  // 0 until half a second has passed.
  double best() const { return best_; }

 private:
  double rate_over(std::size_t slots) const {
    return static_cast<double>(slots_.back() - slots_[slots_.size() - 1 - slots]) /
           (to_seconds(kSlot) * static_cast<double>(slots));
  }

  std::vector<std::uint64_t> slots_;  // the total at the end of each slot
  std::uint64_t total_ = 0;
  Time slot_end_;
  double best_ = 0;
};

}  // namespace p2p::net
