#include "net/outbox.h"

#include <algorithm>

#include "base/check.h"
#include "net/chunk_inbox.h"

namespace p2p::net {
namespace {

// Messages are gathered into one write up to about this size.
constexpr std::size_t kGatheredBytes = 64 * 1024;

// Room for a frame with such a body behind what is used already.
MutableBytes room_for_frame(Bytes& out, std::size_t& used, std::size_t body_bytes) {
  const std::size_t whole = body_bytes + kFrameOverheadBytes;
  if (out.size() < used + whole) out.resize(used + whole);
  const MutableBytes frame = MutableBytes(out).subspan(used, whole);
  used += whole;
  return frame;
}

}  // namespace

void Outbox::push_message(Bytes body) {
  P2P_CHECK(body.size() <= kMaxMessageBytes);
  message_bytes_ += body.size() + kFrameOverheadBytes;
  messages_.push_back(std::move(body));
}

std::deque<Outbox::Outgoing>::iterator Outbox::find(ChunkIndex chunk) {
  return std::find_if(chunks_.begin(), chunks_.end(),
                      [&](const Outgoing& sending) { return sending.chunk == chunk; });
}

bool Outbox::drop_chunk(ChunkIndex chunk) {
  const auto found = find(chunk);
  if (found == chunks_.end()) return false;
  chunks_.erase(found);
  return true;
}

std::optional<Outbox::Block> Outbox::next_read(const Layout& layout) {
  if (reads_ == kMaxReads) return std::nullopt;
  std::uint32_t ahead = 0;
  for (Outgoing& sending : chunks_) {
    ahead += sending.asked - sending.taken;
    if (ahead >= kAheadBytes) return std::nullopt;
    const std::uint32_t left = layout.length_of(sending.chunk) - sending.asked;
    if (left == 0) continue;
    const Block block{sending.chunk, sending.asked, std::min(left, kBlockBytes)};
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

Outbox::Filled Outbox::fill(Bytes& out, std::size_t& used, Sealer* sealer, const Layout& layout,
                            std::size_t payload_bytes) {
  used = plain_.size();
  if (out.size() < used) out.resize(used);
  std::copy(plain_.begin(), plain_.end(), out.begin());
  plain_ = {};
  while (!messages_.empty() && used < kGatheredBytes) {
    const Bytes body = std::move(messages_.front());
    messages_.pop_front();
    message_bytes_ -= body.size() + kFrameOverheadBytes;
    const MutableBytes frame = room_for_frame(out, used, body.size());
    std::copy(body.begin(), body.end(), frame.begin() + kFrameHeaderBytes);
    sealer->seal(FrameKind::kMessage, frame);
  }
  if (!messages_.empty() || chunks_.empty() || chunks_.front().blocks.empty()) return {};
  return fill_data(*sealer, layout, payload_bytes);
}

// The frame is made around the payload where that stands: its head over what was sent before, its
// tag over what comes next, which is put aside.
Outbox::Filled Outbox::fill_data(Sealer& sealer, const Layout& layout, std::size_t payload_bytes) {
  Outgoing& sending = chunks_.front();
  const ChunkIndex chunk = sending.chunk;
  Loaded& block = sending.blocks.front();
  const std::uint32_t from = sending.taken - block.offset;
  const auto taken = static_cast<std::uint32_t>(std::min<std::size_t>(
      {block.bytes - from, payload_bytes, std::size_t{kMaxDataPayloadBytes}}));
  std::uint8_t* const payload = block.buffer->payload() + from;
  if (from > 0) std::copy(under_tag_.begin(), under_tag_.end(), payload);
  std::copy_n(payload + taken, kFrameTagBytes, under_tag_.begin());
  std::uint8_t* const body = payload - kDataHeaderBytes;
  put_u32(body, chunk);
  put_u32(body + 4, sending.taken);
  const MutableBytes frame(body - kFrameHeaderBytes,
                           kFrameOverheadBytes + kDataHeaderBytes + taken);
  sealer.seal(FrameKind::kData, frame);
  Filled filled{frame, block.buffer, std::nullopt};
  sending.taken += taken;
  if (from + taken == block.bytes) sending.blocks.pop_front();
  if (sending.taken == layout.length_of(chunk)) {
    filled.ends = chunk;
    chunks_.pop_front();
  }
  return filled;
}

}  // namespace p2p::net
