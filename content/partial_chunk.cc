#include "content/partial_chunk.h"

#include <algorithm>

namespace p2p {

const PartialChunk* find_partial(std::span<const PartialChunk> by_chunk, ChunkIndex chunk) {
  const auto found = std::lower_bound(
      by_chunk.begin(), by_chunk.end(), chunk,
      [](const PartialChunk& partial, ChunkIndex index) { return partial.chunk < index; });
  return found != by_chunk.end() && found->chunk == chunk ? &*found : nullptr;
}

std::uint64_t bytes_of_ranges(std::span<const ByteRange> ranges) {
  std::uint64_t bytes = 0;
  for (const ByteRange& range : ranges) bytes += range.bytes;
  return bytes;
}

bool are_partial_ranges(std::span<const ByteRange> ranges, std::uint32_t chunk_bytes) {
  if (ranges.empty() || ranges.size() > kMaxRangesOfChunk) return false;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].bytes == 0 || (i > 0 && ranges[i].offset <= end)) return false;
    end = std::uint64_t{ranges[i].offset} + ranges[i].bytes;
    if (end > chunk_bytes) return false;
  }
  return bytes_of_ranges(ranges) < chunk_bytes;
}

}  // namespace p2p
