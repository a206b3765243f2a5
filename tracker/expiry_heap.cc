#include "tracker/expiry_heap.h"

namespace p2p::tracker {

void ExpiryHeap::set(Slot slot, Time at) {
  if (slot >= positions_.size()) positions_.resize(slot + 1, kAbsent);
  const Node node{at, slot};
  std::size_t position = positions_[slot];
  if (position == kAbsent) {
    position = nodes_.size();
    nodes_.push_back(node);
    sift_up(position, node);
  } else if (at < nodes_[position].at) {
    sift_up(position, node);
  } else {
    sift_down(position, node);
  }
}

void ExpiryHeap::erase(Slot slot) {
  if (slot >= positions_.size() || positions_[slot] == kAbsent) return;
  const std::size_t hole = positions_[slot];
  positions_[slot] = kAbsent;
  const Node last = nodes_.back();
  nodes_.pop_back();
  if (last.slot == slot) return;
  // The last node may belong above the hole as well as below it: it came from another branch.
  if (hole > 0 && last.at < nodes_[(hole - 1) / 2].at)
    sift_up(hole, last);
  else
    sift_down(hole, last);
}

void ExpiryHeap::place(std::size_t position, const Node& node) {
  nodes_[position] = node;
  positions_[node.slot] = static_cast<std::uint32_t>(position);
}

void ExpiryHeap::sift_up(std::size_t position, const Node& node) {
  while (position > 0) {
    const std::size_t parent = (position - 1) / 2;
    if (nodes_[parent].at <= node.at) break;
    place(position, nodes_[parent]);
    position = parent;
  }
  place(position, node);
}

void ExpiryHeap::sift_down(std::size_t position, const Node& node) {
  for (;;) {
    std::size_t child = 2 * position + 1;
    if (child >= nodes_.size()) break;
    if (child + 1 < nodes_.size() && nodes_[child + 1].at < nodes_[child].at) ++child;
    if (node.at <= nodes_[child].at) break;
    place(position, nodes_[child]);
    position = child;
  }
  place(position, node);
}

}  // namespace p2p::tracker
