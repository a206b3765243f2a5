#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "net/connection.h"
#include "net/lane.h"
#include "net/socket_error.h"

namespace p2p::net {
namespace {

// So much that is sent in one turn need not wait for its end.
constexpr std::size_t kGatheredBytes = 16 * 1024;
// Messages up to this size together wait for no bandwidth. More are a part of a manifest, or a map
// of many chunks.
constexpr std::size_t kUrgentBytes = 4 * 1024;
constexpr std::size_t kDataOverheadBytes = kFrameOverheadBytes + kDataHeaderBytes;

// What stands from `offset` on, up to `most` bytes; an empty part past the end.
template <typename Part>
Part part_of(const Bytes& encoded, std::uint32_t offset, std::size_t most) {
  Part part;
  if (offset >= encoded.size()) return part;
  part.total_bytes = static_cast<std::uint32_t>(encoded.size());
  part.offset = offset;
  const ByteView data = ByteView(encoded).subspan(offset, std::min(most, encoded.size() - offset));
  part.data.assign(data.begin(), data.end());
  return part;
}

}  // namespace

void Connection::send(const WireMessage& message) {
  if (closed_ || finishing_ || !session_) return;
  note_outgoing(message);
  outbox_.push_message(message);
  // Only what the socket does not take is held against the budget.
  if (outbox_.message_bytes() >= kGatheredBytes) pump();
  if (closed_ || !within_budget() || std::exchange(pumps_soon_, true)) return;
  lane_.loop().post([weak = weak_from_this()] {
    const auto connection = weak.lock();
    if (!connection) return;
    connection->pumps_soon_ = false;
    connection->pump();
  });
}

void Connection::send_manifest_part(std::uint32_t offset) {
  send(peer::Message(
      part_of<peer::ManifestPart>(io_->encoded_manifest, offset, peer::kMaxManifestPartBytes)));
}

void Connection::send_outline_part(std::uint32_t offset, const Bytes& encoded) {
  send(peer::Message(part_of<peer::OutlinePart>(encoded, offset, peer::kMaxOutlinePartBytes)));
}

void Connection::send_chunk(ChunkIndex chunk) {
  if (closed_ || finishing_) return;
  const std::vector<ByteRange>* const lacked = lacks_.of(chunk);
  outbox_.push_chunk(chunk, lacked ? *lacked : std::vector<ByteRange>());
  read_ahead();
}

void Connection::stop_sending(ChunkIndex chunk) {
  if (outbox_.drop_chunk(chunk)) tell(SendStopped{chunk});
}

void Connection::write(ByteView plain) {
  outbox_.push_plain(plain);
  if (within_budget()) pump();
}

bool Connection::within_budget() {
  if (outbox_.message_bytes() + (writing_ ? out_.size() : 0) <= budget_->send_queue_bytes)
    return true;
  close(Error{ErrorCode::kLimit,
              absl::StrCat(remote_.to_string(), " does not read what it is sent")});
  return false;
}

void Connection::read_ahead() {
  while (const auto block = io_ ? outbox_.next_read(io_->layout) : std::nullopt) {
    const BufferRef buffer =
        lane_.buffers()->take(std::min<std::size_t>(Outbox::kBlockBytes, io_->layout.chunk_bytes));
    lane_.reader().post([&lane = lane_, weak = weak_from_this(), io = io_, block = *block, buffer] {
      if (weak.expired()) return;
      Status read;
      std::uint8_t* to = buffer->payload();
      for (const ByteRange& range : block.ranges) {
        read = io->reader->read(block.chunk, range.offset, MutableBytes(to, range.bytes));
        if (!read) break;
        to += range.bytes;
      }
      lane.loop().post([weak, block, buffer, read = std::move(read)] {
        const auto connection = weak.lock();
        if (connection && !connection->closed_) connection->on_block(block, buffer, read);
      });
    });
  }
}

void Connection::on_block(const Outbox::Block& block, BufferRef buffer, Status read) {
  if (read)
    outbox_.on_read(block, std::move(buffer));
  else if (outbox_.on_unreadable(block))
    tell(ChunkUnreadable{block.chunk, std::move(read).error()});
  pump();
}

void Connection::pump() {
  while (!closed_ && !writing_ && outbox_.ready()) {
    const auto payload_bytes = payload_to_write();
    if (!payload_bytes) break;
    write_next(*payload_bytes);
  }
  if (closed_) return;
  read_ahead();
  // To wait for bandwidth is no pause: the pace is to be that of the limit.
  if (writing_ || held_up_) return;
  pace_.on_idle();
  if (!outbox_.empty()) return;
  out_ = {};  // an idle connection holds no memory
  filled_ = {};
  if (finishing_) finish();
}

std::optional<std::size_t> Connection::payload_to_write() {
  std::size_t payload_bytes = pace_.ahead_bytes();
  if (!up_.limits()) return payload_bytes;
  payload_bytes = std::min(payload_bytes, up_.slice() - kDataOverheadBytes);
  const std::size_t message_bytes = outbox_.message_bytes();
  const bool urgent = message_bytes > 0 && message_bytes <= kUrgentBytes;
  if (urgent && !outbox_.has_data()) return 0;
  const bool paid = message_bytes > kUrgentBytes
                        ? up_.pay(message_bytes, Loop::now())
                        : up_.pay(payload_bytes + kDataOverheadBytes, Loop::now());
  if (!paid && !std::exchange(held_up_, true))
    lane_.wait_for_bandwidth(weak_from_this(), Flow::kUp, up_.due());
  if (!paid) return urgent ? std::optional<std::size_t>(0) : std::nullopt;
  return message_bytes > kUrgentBytes ? 0 : payload_bytes;
}

void Connection::write_next(std::size_t payload_bytes) {
  static const Layout kNoLayout{};
  filled_ = outbox_.fill(out_, session_ ? &session_->sealer : nullptr,
                         io_ ? io_->layout : kNoLayout, payload_bytes);
  const Time now = Loop::now();
  if (up_.limits()) up_.spend(out_.size() + filled_.frame.size(), now);
  pace_.on_write(now);
  std::array<uv_buf_t, 2> parts;
  unsigned count = 0;
  const auto add = [&](std::uint8_t* bytes, std::size_t size) {
    if (size > 0)
      parts[count++] = uv_buf_init(reinterpret_cast<char*>(bytes), static_cast<unsigned>(size));
  };
  add(out_.data(), out_.size());
  add(filled_.frame.data(), filled_.frame.size());
  auto* const stream = reinterpret_cast<uv_stream_t*>(&socket_);
  const int taken = uv_try_write(stream, parts.data(), count);
  if (taken < 0 && taken != UV_EAGAIN) return close(socket_error("cannot send to", remote_, taken));
  auto left = static_cast<std::size_t>(std::max(taken, 0));
  uv_buf_t* next = parts.data();
  for (; count > 0 && left >= next->len; --count) left -= (next++)->len;
  if (count == 0) return on_written(0);
  next->base += left;
  next->len -= left;
  write_.data = this;
  writing_ = true;
  const int status = uv_write(&write_, stream, next, count, [](uv_write_t* done, int result) {
    auto* self = static_cast<Connection*>(done->data);
    self->writing_ = false;
    if (self->closed_) return;
    self->on_written(result);
    self->pump();
  });
  if (status == 0) return;
  writing_ = false;
  close(socket_error("cannot send to", remote_, status));
}

void Connection::on_written(int status) {
  if (status != 0) return close(socket_error("cannot send to", remote_, status));
  if (pace_.on_written(out_.size() + filled_.frame.size(), Loop::now())) set_not_sent_limit();
  if (filled_.ends) tell(ChunkSent{*filled_.ends});
}

// What the kernel has taken and not sent can neither be cancelled nor overtaken by a message.
void Connection::set_not_sent_limit() {
  uv_os_fd_t fd;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(&socket_), &fd) != 0) return;
  const int bytes = static_cast<int>(pace_.ahead_bytes());
  setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

}  // namespace p2p::net
