#include "content/partial_chunk.h"

namespace p2p {

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
