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
  expected_.erase(chunk);
  dropped_.erase(chunk);
}

void ChunkInbox::on_any_rejected() {
  if (any_credits_ > 0) --any_credits_;
}

void ChunkInbox::drop(ChunkIndex chunk) {
  if (expected_.erase(chunk) > 0) dropped_.insert(chunk);
}

Result<ChunkInbox::Progress> ChunkInbox::on_data(ByteView body, const Layout& layout) {
  if (body.size() <= kDataHeaderBytes)
    return Error{ErrorCode::kMalformed, "a data frame without data"};
  const ChunkIndex chunk = get_u32(body.data());
  const std::uint32_t offset = get_u32(body.data() + 4);
  const ByteView payload = body.subspan(kDataHeaderBytes);
  if (chunk >= layout.chunk_count()) return violation("sends a chunk that does not exist", chunk);
  const std::uint32_t length = layout.length_of(chunk);
  if (offset > length || payload.size() > length - offset)
    return violation("sends past the end of a chunk", chunk);
  Progress progress{chunk, static_cast<std::uint32_t>(payload.size()), {}, {}};
  const bool last = offset + payload.size() == length;

  const auto found = expected_.find(chunk);
  if (found == expected_.end()) {
    if (!dropped_.contains(chunk)) return violation("sends a chunk that was not asked for", chunk);
    if (last) dropped_.erase(chunk);
    return progress;
  }
  Assembly& assembly = found->second;
  if (offset != assembly.received) return violation("sends data out of order", chunk);
  // Memory is taken when data comes, not when it is promised.
  if (assembly.bytes.empty()) assembly.bytes.resize(length);
  std::memcpy(assembly.bytes.data() + offset, payload.data(), payload.size());
  assembly.hasher.update(payload);
  assembly.received += progress.bytes;
  if (last) {
    progress.digest = assembly.hasher.finish();
    progress.whole = std::move(assembly.bytes);
    expected_.erase(found);
  }
  return progress;
}

}  // namespace p2p::net
