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

bool Outbox::drop_chunk(ChunkIndex chunk) {
  const auto found = std::find_if(chunks_.begin(), chunks_.end(),
                                  [&](const Outgoing& sending) { return sending.chunk == chunk; });
  if (found == chunks_.end()) return false;
  chunks_.erase(found);
  return true;
}

Outbox::Filled Outbox::fill(Bytes& out, std::size_t& used, Sealer* sealer, const ContentIo* io,
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
  if (chunks_.empty() || !messages_.empty()) return {};
  return fill_data(out, used, *sealer, *io, payload_bytes);
}

Outbox::Filled Outbox::fill_data(Bytes& out, std::size_t& used, Sealer& sealer, const ContentIo& io,
                                 std::size_t payload_bytes) {
  Outgoing& sending = chunks_.front();
  const ChunkIndex chunk = sending.chunk;
  const std::uint32_t length = io.layout.length_of(chunk);
  const auto taken = static_cast<std::uint32_t>(std::min<std::size_t>(
      {length - sending.offset, payload_bytes, std::size_t{kMaxDataPayloadBytes}}));
  const std::size_t before = used;
  const MutableBytes frame = room_for_frame(out, used, kDataHeaderBytes + taken);
  std::uint8_t* body = frame.data() + kFrameHeaderBytes;
  put_u32(body, chunk);
  put_u32(body + 4, sending.offset);
  Status read =
      io.reader->read(chunk, sending.offset, MutableBytes(body + kDataHeaderBytes, taken));
  if (!read) {
    used = before;
    chunks_.pop_front();
    return {std::nullopt, ChunkUnreadable{chunk, std::move(read).error()}};
  }
  sealer.seal(FrameKind::kData, frame);
  sending.offset += taken;
  if (sending.offset < length) return {};
  chunks_.pop_front();
  return {chunk, std::nullopt};
}

}  // namespace p2p::net
