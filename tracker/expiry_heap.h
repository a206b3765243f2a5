// ExpiryHeap: which of many numbered slots is due first. A binary min-heap that knows where each
// slot stands, so that a slot is moved or taken out in O(log n) and nothing stale is ever left
// behind: however fast entries come and go, it holds one node for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace p2p::tracker {

class ExpiryHeap {
 public:
  using Slot = std::uint32_t;

  // Adds the slot, or moves it to another time.
  void set(Slot slot, Time at);
  // Nothing where it is not in the heap.
  void erase(Slot slot);

  bool empty() const { return nodes_.empty(); }
  std::size_t size() const { return nodes_.size(); }
  // kNever when empty.
  Time earliest() const { return nodes_.empty() ? kNever : nodes_.front().at; }
  // The heap must not be empty.
  Slot earliest_slot() const { return nodes_.front().slot; }
  // When the slot, which must be in the heap, is due.
  Time due(Slot slot) const { return nodes_[positions_[slot]].at; }

 private:
  struct Node {
    Time at;
    Slot slot;
  };
  static constexpr std::uint32_t kAbsent = UINT32_MAX;

  void place(std::size_t position, const Node& node);
  void sift_up(std::size_t position, const Node& node);
  void sift_down(std::size_t position, const Node& node);

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> positions_;  // of each slot in nodes_, or kAbsent
};

}  // namespace p2p::tracker
