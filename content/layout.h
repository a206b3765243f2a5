// Chunk arithmetic: a content is one run of bytes, cut into chunks of equal size; the last may be
// shorter.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/limits.h"

namespace p2p {

using ChunkIndex = std::uint32_t;

struct Layout {
  std::uint64_t total_bytes = 0;
  std::uint32_t chunk_bytes = kMinChunkBytes;

  // 0 for an empty content.
  ChunkIndex chunk_count() const {
    return static_cast<ChunkIndex>(total_bytes / chunk_bytes + (total_bytes % chunk_bytes != 0));
  }
  std::uint64_t offset_of(ChunkIndex chunk) const { return std::uint64_t{chunk} * chunk_bytes; }
  std::uint32_t length_of(ChunkIndex chunk) const {
    P2P_CHECK(chunk < chunk_count());
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(chunk_bytes, total_bytes - offset_of(chunk)));
  }
  bool operator==(const Layout&) const = default;
};

// A power of two between the limits.
inline bool is_valid_chunk_size(std::uint64_t bytes) {
  return bytes >= kMinChunkBytes && bytes <= kMaxChunkBytes && (bytes & (bytes - 1)) == 0;
}

// The chunk size rule: the smallest size that cuts the content into at most 2,048 chunks, within
// the limits. Many chunks shorten the start of a swarm (a relay passes whole chunks on); few keep
// the bookkeeping small.
std::uint32_t pick_chunk_bytes(std::uint64_t total_bytes);

}  // namespace p2p
