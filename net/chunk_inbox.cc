#include "net/chunk_inbox.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace p2p::net {
namespace {

Error violation(std::string_view what, ChunkIndex chunk) {
  return Error{ErrorCode::kMalformed, absl::StrCat(std::string(what), " (chunk ", chunk, ")")};
}

}  // namespace

Status ChunkInbox::on_give(ChunkIndex chunk, const Layout& layout) {
  if (any_credits_ == 0) return violation("gives a chunk that was not asked for", chunk);
  if (chunk >= layout.chunk_count()) return violation("gives a chunk that does not exist", chunk);
  if (dropped_.contains(chunk) || !expected_.insert(chunk).second)
    return violation("gives a chunk again before it has come", chunk);
  --any_credits_;
  return {};
}

void ChunkInbox::on_reject(ChunkIndex chunk) {
  dropped_.erase(chunk);
  forget(chunk);
}

void ChunkInbox::on_any_rejected() {
  if (any_credits_ > 0) --any_credits_;
}

void ChunkInbox::drop(ChunkIndex chunk) {
  if (expected_.erase(chunk) == 0) return;
  dropped_.insert(chunk);
  if (current_ == chunk) buffer_.reset();
}

void ChunkInbox::clear() { *this = ChunkInbox(std::move(pool_)); }

void ChunkInbox::forget(ChunkIndex chunk) {
  expected_.erase(chunk);
  if (current_ == chunk) {
    current_.reset();
    received_ = 0;
    buffer_.reset();
  }
  if (!expects_data()) buffer_.reset();
}

const BufferRef& ChunkInbox::buffer(const Layout& layout) {
  if (!buffer_) buffer_ = pool_->take(layout.chunk_bytes);
  return buffer_;
}

ChunkInbox::Place ChunkInbox::place_for(std::size_t payload_bytes, const Layout& layout) {
  if (received_ + payload_bytes > layout.chunk_bytes) return {};
  return {buffer(layout), buffer(layout)->payload() + received_};
}

Result<ChunkInbox::Progress> ChunkInbox::on_data(ChunkIndex chunk, std::uint32_t offset,
                                                 ByteView payload, const Layout& layout) {
  if (chunk >= layout.chunk_count()) return violation("sends a chunk that does not exist", chunk);
  const std::uint32_t length = layout.length_of(chunk);
  if (offset > length || payload.size() > length - offset)
    return violation("sends past the end of a chunk", chunk);
  Progress progress{chunk, static_cast<std::uint32_t>(payload.size()), nullptr};
  const bool last = offset + payload.size() == length;

  const bool dropped = dropped_.contains(chunk);
  if (!dropped && !expected_.contains(chunk))
    return violation("sends a chunk that was not asked for", chunk);
  if (current_ != chunk) {
    if (current_) on_reject(*current_);  // the matter ends as with one
    current_ = chunk;
  }
  if (offset != received_) return violation("sends data out of order", chunk);
  if (dropped) {
    received_ += progress.bytes;
    if (last) on_reject(chunk);
    return progress;
  }
  std::uint8_t* const place = buffer(layout)->payload() + offset;
  if (place != payload.data()) std::memmove(place, payload.data(), payload.size());
  received_ += progress.bytes;
  if (last) {
    progress.whole = std::move(buffer_);
    forget(chunk);
  }
  return progress;
}

}  // namespace p2p::net
