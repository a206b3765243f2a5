#include "net/chunk_inbox.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace p2p::net {
namespace {

Error violation(std::string_view what, ChunkIndex chunk) {
  return Error{ErrorCode::kMalformed, absl::StrCat(std::string(what), " (chunk ", chunk, ")")};
}

}  // namespace

void ChunkInbox::on_requested(ChunkIndex chunk) { expected_.try_emplace(chunk); }

Status ChunkInbox::on_give(ChunkIndex chunk, const Layout& layout) {
  if (any_credits_ == 0) return violation("gives a chunk that was not asked for", chunk);
  if (chunk >= layout.chunk_count()) return violation("gives a chunk that does not exist", chunk);
  --any_credits_;
  expected_.try_emplace(chunk);
  return {};
}

void ChunkInbox::on_reject(ChunkIndex chunk) {
  forget(chunk);
  dropped_.erase(chunk);
}

void ChunkInbox::on_any_rejected() {
  if (any_credits_ > 0) --any_credits_;
}

void ChunkInbox::drop(ChunkIndex chunk) {
  if (!expected_.contains(chunk)) return;
  forget(chunk);
  dropped_.insert(chunk);
}

void ChunkInbox::forget(ChunkIndex chunk) {
  expected_.erase(chunk);
  if (current_ == chunk) current_.reset();
  if (!expects_data()) next_.reset();
}

ChunkInbox::Assembly* ChunkInbox::current() {
  return current_ ? &expected_.at(*current_) : nullptr;
}

bool ChunkInbox::make_room(BufferPool& pool, const Layout& layout, std::function<void()> retry) {
  if (!current_ && !next_) next_ = pool.take(layout.chunk_bytes, std::move(retry));
  return current_ || next_;
}

ChunkInbox::Place ChunkInbox::place_for(std::size_t payload_bytes, const Layout& layout) {
  const Assembly* const going_on = current();
  const std::size_t from = going_on ? going_on->received : 0;
  if (from + payload_bytes > layout.chunk_bytes) return {};
  const BufferRef& buffer = going_on ? going_on->buffer : next_;
  return {buffer, buffer->payload() + from};
}

Result<ChunkInbox::Progress> ChunkInbox::on_data(ByteView body, const Layout& layout,
                                                 BufferPool& pool) {
  if (body.size() <= kDataHeaderBytes)
    return Error{ErrorCode::kMalformed, "a data frame without data"};
  const ChunkIndex chunk = get_u32(body.data());
  const std::uint32_t offset = get_u32(body.data() + 4);
  const ByteView payload = body.subspan(kDataHeaderBytes);
  if (chunk >= layout.chunk_count()) return violation("sends a chunk that does not exist", chunk);
  const std::uint32_t length = layout.length_of(chunk);
  if (offset > length || payload.size() > length - offset)
    return violation("sends past the end of a chunk", chunk);
  Progress progress{chunk, static_cast<std::uint32_t>(payload.size()), nullptr};
  const bool last = offset + payload.size() == length;

  const auto found = expected_.find(chunk);
  if (found == expected_.end()) {
    if (!dropped_.contains(chunk)) return violation("sends a chunk that was not asked for", chunk);
    if (last) dropped_.erase(chunk);
    if (!expects_data()) next_.reset();
    return progress;
  }
  Assembly& assembly = found->second;
  if (offset != assembly.received) return violation("sends data out of order", chunk);
  // Memory is taken when data comes, not when it is promised.
  if (!assembly.buffer)
    assembly.buffer = next_ ? std::move(next_) : pool.take_anyway(layout.chunk_bytes);
  std::uint8_t* const place = assembly.buffer->payload() + offset;
  if (place != payload.data()) std::memmove(place, payload.data(), payload.size());
  assembly.received += progress.bytes;
  current_ = chunk;
  if (last) {
    progress.whole = std::move(assembly.buffer);
    forget(chunk);
  }
  return progress;
}

}  // namespace p2p::net
