// Contents without files, for tests of what moves their chunks.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "crypto/digest.h"
#include "net/events.h"

namespace p2p::test {

// Reads nothing, and forgets what it is given.
struct NoDisk : ChunkReader, ChunkWriter {
  Status read(ChunkIndex, std::uint32_t, MutableBytes) const override { return {}; }
  Status write_chunk(ChunkIndex, ByteView) override { return {}; }
};

template <typename Disk>
std::shared_ptr<const net::ContentIo> content_io(Layout layout, std::vector<Digest> hashes,
                                                 std::shared_ptr<Disk> disk, bool writes = true) {
  auto manifest = std::make_shared<Manifest>();
  manifest->chunk_bytes = layout.chunk_bytes;
  manifest->chunk_hashes = std::move(hashes);
  auto io = std::make_shared<net::ContentIo>();
  io->layout = layout;
  io->manifest = std::move(manifest);
  io->reader = disk;
  if (writes) io->writer = std::move(disk);
  return io;
}

// All of a content's chunks are zeros.
template <typename Disk>
std::shared_ptr<const net::ContentIo> chunks_of_zeros(std::size_t count, std::uint32_t chunk_bytes,
                                                      std::shared_ptr<Disk> disk,
                                                      bool writes = true) {
  return content_io(Layout{count * std::uint64_t{chunk_bytes}, chunk_bytes},
                    std::vector<Digest>(count, chunk_digest(Bytes(chunk_bytes))), std::move(disk),
                    writes);
}

}  // namespace p2p::test
