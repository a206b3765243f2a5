#include "peer/availability.h"

#include "base/check.h"

namespace p2p::peer {

Availability::Availability(ChunkIndex chunks)
    : order_(chunks), place_(chunks, kClosed), count_(chunks, 0), level_end_(1, 0) {}

void Availability::swap_places(std::uint32_t a, std::uint32_t b) {
  if (a == b) return;
  const ChunkIndex first = order_[a];
  put(a, order_[b]);
  put(b, first);
}

void Availability::add(ChunkIndex chunk) {
  const std::uint32_t level = count_[chunk]++;
  P2P_CHECK(count_[chunk] != 0);  // more neighbours than the count can hold
  if (level + 1u >= level_end_.size()) level_end_.push_back(level_end_.back());
  if (!is_open(chunk)) return;
  // To the end of its level, and the border steps over it.
  swap_places(place_[chunk], level_end_[level] - 1);
  --level_end_[level];
}

void Availability::remove(ChunkIndex chunk) {
  P2P_CHECK(count_[chunk] > 0);
  const std::uint32_t level = --count_[chunk];
  if (!is_open(chunk)) return;
  swap_places(place_[chunk], level_end_[level]);
  ++level_end_[level];
}

void Availability::open(ChunkIndex chunk) {
  if (is_open(chunk)) return;
  std::uint32_t place = level_end_.back();
  put(place, chunk);
  // Each level above makes room at its front by moving its first chunk to its end.
  for (std::uint32_t level = levels() - 1; level > count_[chunk]; --level) {
    ++level_end_[level];
    swap_places(place, level_end_[level - 1]);
    place = level_end_[level - 1];
  }
  ++level_end_[count_[chunk]];
}

void Availability::close(ChunkIndex chunk) {
  if (!is_open(chunk)) return;
  std::uint32_t place = place_[chunk];
  for (std::uint32_t level = count_[chunk]; level < levels(); ++level) {
    swap_places(place, level_end_[level] - 1);
    place = --level_end_[level];
  }
  place_[chunk] = kClosed;
}

std::span<const ChunkIndex> Availability::level(std::uint32_t count) const {
  if (count >= levels()) return {};
  const std::uint32_t start = level_start(count);
  return std::span(order_).subspan(start, level_end_[count] - start);
}

}  // namespace p2p::peer
