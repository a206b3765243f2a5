#include "agent/readable.h"

#include <algorithm>
#include <utility>

#include "content/layout.h"
#include "net/log.h"

namespace p2p::agent {

class Readable::Body : public net::HttpBody {
 public:
  Body(std::shared_ptr<Readable> readable, std::uint64_t first, std::uint64_t length)
      : readable_(std::move(readable)), at_(first), end_(first + length) {}
  ~Body() override { readable_->forget(this); }

  net::HttpPull read(MutableBytes out, const std::function<void()>& wake) override {
    if (at_ == end_) return {net::HttpPull::What::kEnd};
    const Layout layout = readable_->manifest_->layout();
    const auto chunk = static_cast<ChunkIndex>(at_ / layout.chunk_bytes);
    switch (readable_->look(this, chunk, wake)) {
      case Chunk::kComing:
        return {net::HttpPull::What::kLater};
      case Chunk::kGone:
        return {net::HttpPull::What::kFailed};
      case Chunk::kHere:
        break;
    }
    const std::uint64_t offset = at_ - layout.offset_of(chunk);
    const std::uint64_t left = std::min(layout.length_of(chunk) - offset, end_ - at_);
    const MutableBytes part = out.first(std::min<std::uint64_t>(out.size(), left));
    if (const Status read =
            readable_->reader_->read(chunk, static_cast<std::uint32_t>(offset), part);
        !read) {
      net::log_warn(read.error().message);
      return {net::HttpPull::What::kFailed};
    }
    at_ += part.size();
    return net::HttpPull::of(part.size());
  }

 private:
  const std::shared_ptr<Readable> readable_;
  std::uint64_t at_;
  const std::uint64_t end_;
};

Readable::Readable(std::shared_ptr<const Manifest> manifest,
                   std::shared_ptr<const ChunkReader> reader, Bitfield have)
    : manifest_(std::move(manifest)), reader_(std::move(reader)), have_(std::move(have)) {}

std::shared_ptr<net::HttpBody> Readable::body(std::shared_ptr<Readable> readable,
                                              std::uint64_t first, std::uint64_t length) {
  return std::make_shared<Body>(std::move(readable), first, length);
}

void Readable::add(ChunkIndex chunk) {
  std::vector<std::function<void()>> woken;
  {
    const std::lock_guard lock(mutex_);
    have_.set(chunk);
    for (auto& [reader, waiting] : waiting_)
      if (waiting.chunk == chunk) woken.push_back(waiting.wake);
  }
  for (const auto& wake : woken) wake();
}

void Readable::close() {
  std::vector<std::function<void()>> woken;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (auto& [reader, waiting] : waiting_) woken.push_back(waiting.wake);
  }
  for (const auto& wake : woken) wake();
}

std::vector<ChunkIndex> Readable::waited_for() const {
  std::vector<ChunkIndex> chunks;
  const std::lock_guard lock(mutex_);
  for (const auto& [reader, waiting] : waiting_) chunks.push_back(waiting.chunk);
  std::sort(chunks.begin(), chunks.end());
  chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
  return chunks;
}

Readable::Chunk Readable::look(const Body* reader, ChunkIndex chunk,
                               const std::function<void()>& wake) {
  const std::lock_guard lock(mutex_);
  if (have_.test(chunk)) {
    waiting_.erase(reader);
    return Chunk::kHere;
  }
  if (closed_) return Chunk::kGone;
  waiting_[reader] = {chunk, wake};
  return Chunk::kComing;
}

void Readable::forget(const Body* reader) {
  const std::lock_guard lock(mutex_);
  waiting_.erase(reader);
}

}  // namespace p2p::agent
