// PartialChunk: the ranges of a chunk that are missing where the others are known.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "content/layout.h"

namespace p2p {

// Ranges of a chunk that are asked for by themselves. Where there would be more, the shortest known
// runs between them are fetched as well.
inline constexpr std::size_t kMaxRangesOfChunk = 256;
// Of all chunks together; where there would be more, longer known runs are fetched as well. A
// neighbour is told all of them.
inline constexpr std::size_t kMaxRanges = 200'000;

struct ByteRange {
  std::uint32_t offset = 0;  // within the chunk
  std::uint32_t bytes = 0;
  bool operator==(const ByteRange&) const = default;
};

// What must be fetched of a chunk: ascending, not empty, not touching, and less than the chunk.
struct PartialChunk {
  ChunkIndex chunk = 0;
  std::vector<ByteRange> missing;
  bool operator==(const PartialChunk&) const = default;
};

// Of those that are in ascending order; null where the chunk is not among them.
const PartialChunk* find_partial(std::span<const PartialChunk> by_chunk, ChunkIndex chunk);

std::uint64_t bytes_of_ranges(std::span<const ByteRange> ranges);
// Are these ranges what a PartialChunk may have, of a chunk of this length?
bool are_partial_ranges(std::span<const ByteRange> ranges, std::uint32_t chunk_bytes);

}  // namespace p2p
