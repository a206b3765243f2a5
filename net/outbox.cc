#include "net/outbox.h"

#include <algorithm>

#include "base/check.h"
#include "net/chunk_inbox.h"

namespace p2p::net {
namespace {

// A usual message in its frame takes one block of memory.
constexpr std::size_t kFirstBytes = 640;

}  // namespace

void Outbox::push_plain(ByteView bytes) {
  P2P_CHECK(plain_bytes_ == messages_.size());
  messages_.insert(messages_.end(), bytes.begin(), bytes.end());
  plain_bytes_ = messages_.size();
}

void Outbox::push_message(const WireMessage& message) {
  const std::size_t start = messages_.size();
  if (start == 0) messages_.reserve(kFirstBytes);
  messages_.resize(start + kFrameHeaderBytes);
  messages_ = encode_wire(message, std::move(messages_));
  const std::size_t body_bytes = messages_.size() - start - kFrameHeaderBytes;
  P2P_CHECK(body_bytes <= kMaxMessageBytes);
  put_u32(messages_.data() + start, static_cast<std::uint32_t>(body_bytes));
  messages_.resize(messages_.size() + kFrameTagBytes);
}

std::vector<Outbox::Outgoing>::iterator Outbox::find(ChunkIndex chunk) {
  return std::find_if(chunks_.begin(), chunks_.end(),
                      [&](const Outgoing& sending) { return sending.chunk == chunk; });
}

bool Outbox::drop_chunk(ChunkIndex chunk) {
  const auto found = find(chunk);
  if (found == chunks_.end()) return false;
  chunks_.erase(found);
  return true;
}

std::uint32_t Outbox::length_of(const Outgoing& sending, const Layout& layout) {
  if (sending.ranges.empty()) return layout.length_of(sending.chunk);
  return static_cast<std::uint32_t>(bytes_of_ranges(sending.ranges));
}

// Where in the chunk what is sent of it at `offset` lies, as far as its range goes.
ByteRange Outbox::range_at(const Outgoing& sending, std::uint32_t offset, std::uint32_t most) {
  for (const ByteRange& range : sending.ranges) {
    if (offset < range.bytes) return {range.offset + offset, std::min(range.bytes - offset, most)};
    offset -= range.bytes;
  }
  return {offset, most};  // the whole chunk is sent
}

std::vector<ByteRange> Outbox::ranges_of(const Outgoing& sending, std::uint32_t offset,
                                         std::uint32_t bytes) {
  std::vector<ByteRange> found;
  for (const std::uint32_t end = offset + bytes; offset < end; offset += found.back().bytes)
    found.push_back(range_at(sending, offset, end - offset));
  return found;
}

std::optional<Outbox::Block> Outbox::next_read(const Layout& layout) {
  if (reads_ == kMaxReads) return std::nullopt;
  std::uint32_t ahead = 0;
  for (Outgoing& sending : chunks_) {
    ahead += sending.asked - sending.taken;
    if (ahead >= kAheadBytes) return std::nullopt;
    const std::uint32_t left = length_of(sending, layout) - sending.asked;
    if (left == 0) continue;
    const std::uint32_t bytes = std::min(left, kBlockBytes);
    Block block{sending.chunk, sending.asked, bytes, ranges_of(sending, sending.asked, bytes)};
    sending.asked += block.bytes;
    ++reads_;
    return block;
  }
  return std::nullopt;
}

void Outbox::on_read(const Block& block, BufferRef buffer) {
  --reads_;
  const auto found = find(block.chunk);
  // Taken back, and perhaps asked for anew, since then.
  if (found == chunks_.end() || found->loaded != block.offset) return;
  found->loaded += block.bytes;
  found->asked = std::max(found->asked, found->loaded);
  found->blocks.push_back({block.offset, block.bytes, std::move(buffer)});
}

bool Outbox::on_unreadable(const Block& block) {
  --reads_;
  return drop_chunk(block.chunk);
}

Outbox::Filled Outbox::fill(Bytes& out, Sealer* sealer, const Layout& layout,
                            std::size_t payload_bytes) {
  out = std::exchange(messages_, {});
  std::size_t at = std::exchange(plain_bytes_, 0);
  while (at < out.size()) {
    const std::size_t whole = get_u32(out.data() + at) + kFrameOverheadBytes;
    sealer->seal(FrameKind::kMessage, MutableBytes(out).subspan(at, whole));
    at += whole;
  }
  if (payload_bytes == 0 || !has_data()) return {};
  return fill_data(*sealer, layout, payload_bytes);
}

// The frame is made around the payload where that stands: its head over what was sent before, its
// tag over what comes next, which is put aside.
Outbox::Filled Outbox::fill_data(Sealer& sealer, const Layout& layout, std::size_t payload_bytes) {
  Outgoing& sending = chunks_.front();
  const ChunkIndex chunk = sending.chunk;
  Loaded& block = sending.blocks.front();
  const std::uint32_t from = sending.taken - block.offset;
  const auto most = static_cast<std::uint32_t>(std::min<std::size_t>(
      {block.bytes - from, payload_bytes, std::size_t{kMaxDataPayloadBytes}}));
  // A frame is of one range.
  const auto [offset, taken] = range_at(sending, sending.taken, most);
  std::uint8_t* const payload = block.buffer->payload() + from;
  if (from > 0) std::copy(under_tag_.begin(), under_tag_.end(), payload);
  std::copy_n(payload + taken, kFrameTagBytes, under_tag_.begin());
  std::uint8_t* const body = payload - kDataHeaderBytes;
  put_u32(body, chunk);
  put_u32(body + 4, offset);
  const MutableBytes frame(body - kFrameHeaderBytes,
                           kFrameOverheadBytes + kDataHeaderBytes + taken);
  sealer.seal(FrameKind::kData, frame);
  Filled filled{frame, block.buffer, std::nullopt};
  sending.taken += taken;
  if (from + taken == block.bytes) sending.blocks.pop_front();
  if (sending.taken == length_of(sending, layout)) {
    filled.ends = chunk;
    chunks_.erase(chunks_.begin());
  }
  return filled;
}

}  // namespace p2p::net
