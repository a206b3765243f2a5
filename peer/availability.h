// Availability: how many of the incomplete neighbours have each chunk, with the chunks that are
// still to be asked for ("open") in order of it. Complete neighbours have everything, so they
// change no order and are not counted here: one that joins or leaves costs nothing.
//
// The open chunks stand in one array, a run ("level") for each count. Counting a chunk up or down
// moves it over one border: O(1). Opening and closing moves it over the borders above its level, at
// most one for each neighbour.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cache.h"
#include "content/layout.h"

namespace p2p::peer {

class Availability {
 public:
  // All chunks closed, nobody has any.
  explicit Availability(ChunkIndex chunks);

  void add(ChunkIndex chunk);     // one more neighbour has it
  void remove(ChunkIndex chunk);  // one less
  std::uint32_t count(ChunkIndex chunk) const { return count_[chunk]; }

  // Both are harmless where nothing changes.
  void open(ChunkIndex chunk);
  void close(ChunkIndex chunk);
  bool is_open(ChunkIndex chunk) const { return place_[chunk] != kClosed; }
  ChunkIndex open_count() const { return level_end_.back(); }

  // The open chunks that exactly `count` neighbours have, in no order; valid until the next change.
  std::span<const ChunkIndex> level(std::uint32_t count) const;
  // Hints: it is going to be used; so is what it knows of a chunk (or of none of that number).
  void fetch() const {
    fetch_into_cache(level_end_.data(), level_end_.size() * sizeof(level_end_[0]));
  }
  void fetch(ChunkIndex chunk) const {
    if (chunk >= count_.size()) return;
    fetch_into_cache(&count_[chunk], sizeof(count_[chunk]));
    fetch_into_cache(&place_[chunk], sizeof(place_[chunk]));
  }
  std::uint32_t levels() const { return static_cast<std::uint32_t>(level_end_.size()); }

 private:
  static constexpr std::uint32_t kClosed = 0xffffffff;

  void put(std::uint32_t place, ChunkIndex chunk) {
    order_[place] = chunk;
    place_[chunk] = place;
  }
  void swap_places(std::uint32_t a, std::uint32_t b);
  std::uint32_t level_start(std::uint32_t count) const {
    return count == 0 ? 0 : level_end_[count - 1];
  }

  std::vector<ChunkIndex> order_;         // open chunks by count; the rest is unused room
  std::vector<std::uint32_t> place_;      // of each chunk in order_, or kClosed
  std::vector<std::uint16_t> count_;      // of each chunk
  std::vector<std::uint32_t> level_end_;  // of each count; never empty
};

}  // namespace p2p::peer
