// ChunkBuffer: memory for the payload of a chunk, or of a part of one, on its way between socket
// and disk. BufferPool: where they come from, and where those that nobody uses wait for their next
// use. How many are in use is bounded by who takes them: see connection_limits.h.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "base/bytes.h"
#include "base/cache.h"

namespace p2p::net {

class ChunkBuffer {
 public:
  // The payload begins on a cache line. The kernel copies to and from such an address up to four
  // times as fast as to one a few bytes behind it (rep movsb on AMD's Zen 3).
  static constexpr std::size_t kAlignment = kCacheLineBytes;
  // So much may be touched before the payload, for the head of a frame that is opened or sealed in
  // place,
  static constexpr std::size_t kBefore = kAlignment;
  // and so much behind it: for the frame's tag, and what a read takes in of the next frame.
  static constexpr std::size_t kBehind = 2048;

  explicit ChunkBuffer(std::size_t bytes);
  ChunkBuffer(const ChunkBuffer&) = delete;
  ~ChunkBuffer();

  std::size_t size() const { return bytes_; }  // of payload
  std::uint8_t* payload() { return memory_ + kBefore; }

 private:
  std::size_t bytes_;
  std::uint8_t* memory_;  // kBefore, payload, kBehind
};

// Goes back to its pool with the last copy, on whatever thread that is.
using BufferRef = std::shared_ptr<ChunkBuffer>;

// Thread-safe.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  // The content of what it gives is left over from its last use.
  BufferRef take(std::size_t bytes);

  std::size_t used_bytes() const;
  std::size_t kept_bytes() const;

  // Buffers that nobody uses are kept for the next, as long as all together take no more than this.
  static constexpr std::size_t kKeptBytes = 32 * 1024 * 1024;

 private:
  void give_back(std::unique_ptr<ChunkBuffer> buffer);

  mutable std::mutex mutex_;
  // All guarded by mutex_.
  std::size_t used_bytes_ = 0, kept_bytes_ = 0;
  std::vector<std::unique_ptr<ChunkBuffer>> kept_;
};

}  // namespace p2p::net
