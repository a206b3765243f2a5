#include "net/chunk_buffer.h"

#include <algorithm>
#include <new>

namespace p2p::net {

ChunkBuffer::ChunkBuffer(std::size_t bytes)
    : bytes_(bytes),
      memory_(static_cast<std::uint8_t*>(
          ::operator new(kBefore + bytes + kBehind, std::align_val_t(kAlignment)))) {}

ChunkBuffer::~ChunkBuffer() { ::operator delete(memory_, std::align_val_t(kAlignment)); }

BufferRef BufferPool::take(std::size_t bytes) {
  std::unique_ptr<ChunkBuffer> buffer;
  {
    const std::lock_guard lock(mutex_);
    used_bytes_ += bytes;
    // The one that came back last is the likeliest to be in a cache.
    const auto fit = std::find_if(kept_.rbegin(), kept_.rend(),
                                  [&](const auto& kept) { return kept->size() == bytes; });
    if (fit != kept_.rend()) {
      buffer = std::move(*fit);
      kept_.erase(std::next(fit).base());
      kept_bytes_ -= bytes;
    }
  }
  if (!buffer) buffer = std::make_unique<ChunkBuffer>(bytes);
  return BufferRef(buffer.release(), [pool = shared_from_this()](ChunkBuffer* done) {
    pool->give_back(std::unique_ptr<ChunkBuffer>(done));
  });
}

void BufferPool::give_back(std::unique_ptr<ChunkBuffer> buffer) {
  const std::lock_guard lock(mutex_);
  const std::size_t bytes = buffer->size();
  used_bytes_ -= bytes;
  if (used_bytes_ + kept_bytes_ + bytes > kKeptBytes) return;
  kept_bytes_ += bytes;
  kept_.push_back(std::move(buffer));
}

std::size_t BufferPool::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

std::size_t BufferPool::kept_bytes() const {
  const std::lock_guard lock(mutex_);
  return kept_bytes_;
}

}  // namespace p2p::net
