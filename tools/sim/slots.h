// Where things stand that are known by a small number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace p2p::sim {

// Things on their way, each known by its number until it is taken out; events carry the number.
template <typename T>
class Slots {
 public:
  const T& operator[](std::uint32_t slot) const { return things_[slot]; }
  std::uint32_t put(T&& thing) {
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

// Things that stay, and do not move when there come more.
template <typename T>
class Blocks {
 public:
  std::size_t size() const { return size_; }
  T& operator[](std::size_t number) { return blocks_[number / kBlock][number % kBlock]; }
  const T& operator[](std::size_t number) const {
    return blocks_[number / kBlock][number % kBlock];
  }
  // One more, as it is by default.
  T& add() {
    if (size_ % kBlock == 0) blocks_.push_back(std::make_unique<T[]>(kBlock));
    return (*this)[size_++];
  }

 private:
  static constexpr std::size_t kBlock = 1024;

  std::vector<std::unique_ptr<T[]>> blocks_;
  std::size_t size_ = 0;
};

}  // namespace p2p::sim
