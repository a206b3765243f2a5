#include "net/chunk_inbox.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace p2p::net {
namespace {

Error violation(std::string_view what, ChunkIndex chunk) {
  return Error{ErrorCode::kMalformed, absl::StrCat(std::string(what), " (chunk ", chunk, ")")};
}

}  // namespace

// We tell no lies about ourselves.
void ChunkInbox::on_partial(const peer::Partial& partial, const Layout& layout) {
  P2P_CHECK(told_.on_partial(partial, layout).has_value());
}

ChunkInbox::Next ChunkInbox::next_of(ChunkIndex chunk, std::uint32_t length) const {
  const std::vector<ByteRange>* const ranges = told_.of(chunk);
  if (!ranges) return {received_, length - received_};
  std::uint32_t before = received_;
  for (const ByteRange& range : *ranges) {
    if (before < range.bytes) return {range.offset + before, range.bytes - before};
    before -= range.bytes;
  }
  return {length, 0};
}

Status ChunkInbox::on_give(ChunkIndex chunk, const Layout& layout) {
  if (any_credits_ == 0) return violation("gives a chunk that was not asked for", chunk);
  if (chunk >= layout.chunk_count()) return violation("gives a chunk that does not exist", chunk);
  if (dropped_.contains(chunk) || !expected_.insert(chunk).second)
    return violation("gives a chunk again before it has come", chunk);
  --any_credits_;
  return {};
}

void ChunkInbox::on_reject(ChunkIndex chunk) { end(chunk); }

void ChunkInbox::on_any_rejected() {
  if (any_credits_ > 0) --any_credits_;
}

void ChunkInbox::drop(ChunkIndex chunk) {
  if (expected_.erase(chunk) == 0) return;
  dropped_.insert(chunk);
  if (current_ == chunk) buffer_.reset();
}

void ChunkInbox::clear() { *this = ChunkInbox(std::move(pool_)); }

void ChunkInbox::end(ChunkIndex chunk) {
  dropped_.erase(chunk);
  expected_.erase(chunk);
  if (current_ == chunk) {
    current_.reset();
    received_ = next_offset_ = 0;
    buffer_.reset();
  }
  if (!expects_data()) buffer_.reset();
}

std::uint8_t* ChunkInbox::payload(const Layout& layout) {
  if (!buffer_) buffer_ = pool_->take(layout.chunk_bytes);
  return buffer_->payload();
}

ChunkInbox::Place ChunkInbox::place_for(std::size_t payload_bytes, const Layout& layout) {
  if (next_offset_ + payload_bytes > layout.chunk_bytes) return {};
  if (current_ && dropped_.contains(*current_)) return {};  // it needs no memory
  std::uint8_t* const place = payload(layout) + next_offset_;
  return {buffer_, place};
}

Result<ChunkInbox::Progress> ChunkInbox::on_data(ChunkIndex chunk, std::uint32_t offset,
                                                 ByteView bytes, const Layout& layout) {
  if (chunk >= layout.chunk_count()) return violation("sends a chunk that does not exist", chunk);
  const std::uint32_t length = layout.length_of(chunk);
  if (offset > length || bytes.size() > length - offset)
    return violation("sends past the end of a chunk", chunk);
  const bool dropped = dropped_.contains(chunk);
  if (!dropped && !expected_.contains(chunk))
    return violation("sends a chunk that was not asked for", chunk);
  if (current_ != chunk) {
    if (current_) end(*current_);
    current_ = chunk;
  }
  const Next next = next_of(chunk, length);
  if (offset != next.offset) return violation("sends data out of order", chunk);
  if (bytes.size() > next.bytes) return violation("sends what is not missing of a chunk", chunk);
  Progress progress{chunk, static_cast<std::uint32_t>(bytes.size()), dropped, nullptr};
  received_ += progress.bytes;
  const Next then = next_of(chunk, length);
  next_offset_ = then.offset;
  const bool last = then.bytes == 0;
  progress.partial = told_.of(chunk) != nullptr;
  if (!dropped) {
    std::uint8_t* const place = payload(layout) + offset;
    if (place != bytes.data()) std::memmove(place, bytes.data(), bytes.size());
    if (last) progress.whole = std::move(buffer_);
  }
  if (last) end(chunk);
  return progress;
}

}  // namespace p2p::net
