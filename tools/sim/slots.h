// Slots: things on their way, each known by a small number until it is taken out; events carry the
// number.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace p2p::sim {

template <typename T>
class Slots {
 public:
  std::uint32_t put(T thing) {
    if (free_.empty()) {
      things_.push_back(std::move(thing));
      return static_cast<std::uint32_t>(things_.size() - 1);
    }
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    things_[slot] = std::move(thing);
    return slot;
  }
  T take(std::uint32_t slot) {
    free_.push_back(slot);
    return std::move(things_[slot]);
  }

 private:
  std::vector<T> things_;
  std::vector<std::uint32_t> free_;
};

}  // namespace p2p::sim
