// ChunkReader: where the bytes of chunks are read from when they are sent or checked. ChunkWriter:
// where they go when they came in.
#pragma once

#include <functional>
#include <stop_token>

#include "base/bytes.h"
#include "base/result.h"
#include "content/bitfield.h"
#include "content/layout.h"
#include "content/manifest.h"

namespace p2p {

class ChunkReader {
 public:
  virtual ~ChunkReader() = default;
  // Fills `out` with the content's bytes from `offset` within `chunk`; offset + size must lie
  // within the chunk. Thread-safe. Errors: kCorrupt when the source changed or is shorter than it
  // was, kIo with the path.
  virtual Status read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const = 0;
};

class ChunkWriter {
 public:
  virtual ~ChunkWriter() = default;
  // A whole chunk, which must have been verified. Different chunks may be written at once from
  // several threads. Errors: kDiskFull, kIo, with the path.
  virtual Status write_chunk(ChunkIndex chunk, ByteView verified_bytes) = 0;
};

// Hashing over several threads, for scans, resume and verify. `progress` is called from one thread
// at a time.
struct HashJob {
  unsigned threads = 0;  // 0: one for each core
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress = nullptr;
  std::stop_token stop = {};  // then the result is kInterrupted
};

// Which of the chunks in `candidates` match the manifest. A chunk that cannot be read does not
// match.
Result<Bitfield> check_chunks(const Manifest& manifest, const ChunkReader& reader,
                              const Bitfield& candidates, const HashJob& job);

}  // namespace p2p
