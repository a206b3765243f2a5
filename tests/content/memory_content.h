// A content in memory, which can be read like any other.
#pragma once

#include <atomic>
#include <cstring>
#include <string>

#include "content/chunk_reader.h"

namespace p2p::test {

class MemoryContent : public ChunkReader {
 public:
  explicit MemoryContent(std::string text, std::uint32_t chunk_bytes = kMinChunkBytes)
      : text_(std::move(text)), layout_{text_.size(), chunk_bytes} {}

  Layout layout() const { return layout_; }
  ByteView bytes() const { return bytes_of(text_); }
  std::string& text() { return text_; }
  // From now on it cannot be read.
  void fail() { fails_ = true; }

  Status read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const override {
    if (fails_) return Error{ErrorCode::kIo, "cannot read what was asked for"};
    std::memcpy(out.data(), text_.data() + layout_.offset_of(chunk) + offset, out.size());
    return {};
  }

 private:
  std::string text_;
  Layout layout_;
  std::atomic<bool> fails_ = false;
};

}  // namespace p2p::test
