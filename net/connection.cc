#include "net/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"
#include "net/lane.h"

namespace p2p::net {
namespace {

// The kernel keeps little that is not sent yet: a cancel then stops the send, and messages do not
// wait behind chunks.
constexpr int kNotSentLowWaterBytes = 256 * 1024;

Error socket_error(std::string_view what, const Endpoint& remote, int status) {
  const ErrorCode code = status == UV_ECONNREFUSED || status == UV_EHOSTUNREACH ||
                                 status == UV_ENETUNREACH || status == UV_ETIMEDOUT
                             ? ErrorCode::kUnreachable
                             : ErrorCode::kIo;
  return Error{code,
               absl::StrCat(std::string(what), " ", remote.to_string(), ": ", uv_text(status))};
}

}  // namespace

struct Connection::Write {
  uv_write_t request;
  std::shared_ptr<Connection> connection;
  Bytes bytes;
  std::optional<ChunkIndex> ends_chunk;
};

Connection::Connection(Lane& lane, ConnectionId id, Endpoint remote, bool outbound,
                       HandshakeConfig handshake)
    : lane_(lane), id_(id), remote_(remote), outbound_(outbound) {
  handshake_.emplace(outbound ? Handshake::Role::kInitiator : Handshake::Role::kResponder,
                     std::move(handshake));
  P2P_CHECK(uv_tcp_init(lane_.loop().raw(), &socket_) == 0);
  socket_.data = this;
}

Connection::~Connection() { P2P_CHECK(closed_); }

void Connection::adopt(int socket) {
  self_ = shared_from_this();
  if (const int status = uv_tcp_open(&socket_, socket); status != 0)
    return close(socket_error("cannot take the connection from", remote_, status));
  start_reading();
}

void Connection::dial() {
  self_ = shared_from_this();
  const sockaddr_storage address = sockaddr_of(remote_);
  connect_.data = this;
  const int status =
      uv_tcp_connect(&connect_, &socket_, reinterpret_cast<const sockaddr*>(&address),
                     [](uv_connect_t* request, int result) {
                       auto* self = static_cast<Connection*>(request->data);
                       if (self->closed_) return;
                       if (result != 0)
                         return self->close(socket_error("cannot reach", self->remote_, result));
                       self->start_reading();
                     });
  if (status != 0) close(socket_error("cannot reach", remote_, status));
}

void Connection::start_reading() {
  uv_tcp_nodelay(&socket_, 1);
  uv_tcp_keepalive(&socket_, 1, 60);
  uv_os_fd_t fd;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(&socket_), &fd) == 0)
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kNotSentLowWaterBytes,
               sizeof kNotSentLowWaterBytes);
  if (handshake_)
    if (Bytes first = handshake_->take_output(); !first.empty())
      write(std::move(first), std::nullopt);
  paused_ = false;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&socket_),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto* self = static_cast<Connection*>(handle->data);
        if (self->inbound_.empty()) self->inbound_ = self->lane_.take_buffer();
        const std::size_t room = self->inbound_.size() - self->filled_;
        *buffer = uv_buf_init(reinterpret_cast<char*>(self->inbound_.data() + self->filled_),
                              static_cast<unsigned>(std::min(room, kReadBytes)));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        static_cast<Connection*>(stream->data)->on_read(count);
      });
}

void Connection::on_read(ssize_t count) {
  if (count == UV_EOF)
    return close(Error{ErrorCode::kUnreachable,
                       absl::StrCat(remote_.to_string(), " closed the connection")});
  if (count < 0)
    return close(socket_error("lost the connection to", remote_, static_cast<int>(count)));
  filled_ += static_cast<std::size_t>(count);
  process();
  if (closed_) return;
  if (start_ == filled_) {
    // Nothing half-read: an idle connection holds no buffer.
    lane_.return_buffer(std::move(inbound_));
    inbound_ = {};
    start_ = filled_ = 0;
  } else if (inbound_.size() - filled_ < kReadBytes) {
    std::memmove(inbound_.data(), inbound_.data() + start_, filled_ - start_);
    filled_ -= start_;
    start_ = 0;
  }
}

void Connection::process() {
  if (handshake_ && !shake_hands()) return;
  while (session_ && !finishing_) {
    const MutableBytes rest = MutableBytes(inbound_).subspan(start_, filled_ - start_);
    if (rest.size() < kFrameHeaderBytes) return;
    const auto header = parse_frame_header(rest);
    if (!header) return close(header.error());
    const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
    if (rest.size() < whole) return;
    const auto body = session_->opener.open(rest.first(whole));
    if (!body)
      return close(
          Error{body.error().code, absl::StrCat(remote_.to_string(), ": ", body.error().message)});
    start_ += whole;
    if (!on_frame(header->kind, *body)) return;
  }
  if (finishing_) start_ = filled_;  // nobody wants it any more
}

bool Connection::shake_hands() {
  const auto used = handshake_->on_bytes(ByteView(inbound_).subspan(start_, filled_ - start_));
  const Bytes answer = handshake_->take_output();
  const bool answered = !answer.empty();
  if (answered) write(answer, std::nullopt);
  if (closed_) return false;
  if (!used) {
    if (answered && !outbound_) {
      finish();  // a refusal: a plain close could destroy it before it is read
      return false;
    }
    close(Error{used.error().code, absl::StrCat(remote_.to_string(), ": ", used.error().message)});
    return false;
  }
  start_ += *used;
  if (!handshake_->complete()) return false;
  session_.emplace(handshake_->take_session());
  handshake_.reset();
  lane_.emit(id_,
             Opened{session_->remote, remote_, session_->psk_index, outbound_, session_->cipher});
  return true;
}

bool Connection::on_frame(FrameKind kind, ByteView body) {
  return kind == FrameKind::kData ? on_data_frame(body) : on_message_frame(body);
}

bool Connection::on_message_frame(ByteView body) {
  auto message = decode_wire(body);
  if (!message) {
    close(Error{message.error().code, absl::StrCat(remote_.to_string(), " sent a bad message: ",
                                                   message.error().message)});
    return false;
  }
  if (!note_incoming(*message)) return false;
  lane_.emit(id_, Received{std::move(*message)});
  if (++unconsumed_ > kMaxUnconsumedMessages && !paused_) {
    paused_ = true;
    uv_read_stop(reinterpret_cast<uv_stream_t*>(&socket_));
  }
  return true;
}

void Connection::consumed(std::size_t messages) {
  unconsumed_ -= std::min(messages, unconsumed_);
  if (paused_ && !closed_ && unconsumed_ <= kMaxUnconsumedMessages / 2) start_reading();
}

bool Connection::note_incoming(const WireMessage& message) {
  const auto* swarm = std::get_if<peer::Message>(&message);
  if (!swarm) return true;
  if (const auto* reject = std::get_if<peer::Reject>(swarm)) {
    reject->chunk == peer::kAnyChunk ? inbox_.on_any_rejected() : inbox_.on_reject(reject->chunk);
  } else if (const auto* give = std::get_if<peer::Give>(swarm)) {
    const Status given =
        io_ ? inbox_.on_give(give->chunk, io_->layout)
            : Status(Error{ErrorCode::kMalformed, "gives a chunk before it was asked"});
    if (!given) {
      close(
          Error{given.error().code, absl::StrCat(remote_.to_string(), " ", given.error().message)});
      return false;
    }
  }
  return true;
}

void Connection::note_outgoing(const WireMessage& message) {
  const auto* swarm = std::get_if<peer::Message>(&message);
  if (!swarm) return;
  if (const auto* request = std::get_if<peer::Request>(swarm))
    request->chunk == peer::kAnyChunk ? inbox_.on_requested_any()
                                      : inbox_.on_requested(request->chunk);
}

bool Connection::on_data_frame(ByteView body) {
  if (!io_ || !io_->store) {
    close(Error{ErrorCode::kMalformed,
                absl::StrCat(remote_.to_string(), " sends chunks that nobody asked for")});
    return false;
  }
  auto progress = inbox_.on_data(body, io_->layout);
  if (!progress) {
    close(Error{progress.error().code,
                absl::StrCat(remote_.to_string(), " ", progress.error().message)});
    return false;
  }
  const ChunkIndex chunk = progress->chunk;
  lane_.emit(id_, ChunkData{chunk, progress->bytes});
  if (progress->whole.empty()) return true;
  if (progress->digest != io_->manifest->chunk_hashes[chunk]) {
    lane_.emit(id_, ChunkCorrupt{chunk});
  } else if (Status written = io_->store->write_chunk(chunk, progress->whole); !written) {
    lane_.emit(id_, ChunkUnstored{chunk, std::move(written).error()});
  } else {
    lane_.emit(id_, ChunkVerified{chunk});
  }
  return true;
}

void Connection::send(const WireMessage& message) {
  if (closed_ || finishing_ || !session_) return;
  note_outgoing(message);
  const Bytes body = encode_wire(message);
  P2P_CHECK(body.size() <= kMaxMessageBytes);
  Bytes frame(body.size() + kFrameOverheadBytes);
  std::copy(body.begin(), body.end(), frame.begin() + kFrameHeaderBytes);
  session_->sealer.seal(FrameKind::kMessage, frame);
  write(std::move(frame), std::nullopt);
}

void Connection::send_chunk(ChunkIndex chunk) {
  if (closed_ || finishing_) return;
  outgoing_.push_back({chunk});
  pump();
}

void Connection::stop_sending(ChunkIndex chunk) {
  const auto found = std::find_if(outgoing_.begin(), outgoing_.end(),
                                  [&](const Outgoing& sending) { return sending.chunk == chunk; });
  if (found == outgoing_.end()) return;
  outgoing_.erase(found);
  lane_.emit(id_, SendStopped{chunk});
}

void Connection::pump() {
  while (!closed_ && !finishing_ && !outgoing_.empty() && queued_bytes_ < kSendHighWaterBytes)
    if (!send_next_frame()) return;
}

bool Connection::send_next_frame() {
  Outgoing& sending = outgoing_.front();
  const std::uint32_t length = io_->layout.length_of(sending.chunk);
  const auto payload_bytes = static_cast<std::uint32_t>(
      std::min<std::size_t>(length - sending.offset, kMaxDataPayloadBytes));
  Bytes frame(kFrameOverheadBytes + kDataHeaderBytes + payload_bytes);
  std::uint8_t* body = frame.data() + kFrameHeaderBytes;
  put_u32(body, sending.chunk);
  put_u32(body + 4, sending.offset);
  const Status read = io_->reader->read(sending.chunk, sending.offset,
                                        MutableBytes(body + kDataHeaderBytes, payload_bytes));
  if (!read) {
    lane_.emit(id_, ChunkUnreadable{sending.chunk, read.error()});
    outgoing_.pop_front();
    return true;
  }
  session_->sealer.seal(FrameKind::kData, frame);
  sending.offset += payload_bytes;
  std::optional<ChunkIndex> ends;
  if (sending.offset == length) {
    ends = sending.chunk;
    outgoing_.pop_front();
  }
  write(std::move(frame), ends);
  return !closed_;
}

void Connection::write(Bytes bytes, std::optional<ChunkIndex> ends_chunk) {
  queued_bytes_ += bytes.size();
  if (queued_bytes_ > kMaxSendQueueBytes)
    return close(Error{ErrorCode::kLimit,
                       absl::StrCat(remote_.to_string(), " does not read what it is sent")});
  auto* request = new Write{{}, shared_from_this(), std::move(bytes), ends_chunk};
  request->request.data = request;
  const uv_buf_t buffer = uv_buf_init(reinterpret_cast<char*>(request->bytes.data()),
                                      static_cast<unsigned>(request->bytes.size()));
  const int status = uv_write(&request->request, reinterpret_cast<uv_stream_t*>(&socket_), &buffer,
                              1, [](uv_write_t* done, int result) {
                                auto* finished = static_cast<Write*>(done->data);
                                const auto connection = finished->connection;
                                connection->on_written(finished, result);
                              });
  if (status != 0) {
    delete request;
    close(socket_error("cannot send to", remote_, status));
  }
}

void Connection::on_written(Write* done, int status) {
  const std::unique_ptr<Write> owned(done);
  queued_bytes_ -= owned->bytes.size();
  if (closed_) return;
  if (status != 0) return close(socket_error("cannot send to", remote_, status));
  if (owned->ends_chunk) lane_.emit(id_, ChunkSent{*owned->ends_chunk});
  if (!finishing_) return pump();
  if (queued_bytes_ == 0) finish();
}

void Connection::finish() {
  if (closed_) return;
  if (!finishing_) {
    finishing_ = true;
    outgoing_.clear();
    lane_.close_soon(weak_from_this());
  }
  if (queued_bytes_ > 0) return;
  shutdown_.data = this;
  // The close comes with the other side's, or at the timeout: closing at once could destroy what it
  // has not read yet.
  if (uv_shutdown(&shutdown_, reinterpret_cast<uv_stream_t*>(&socket_),
                  [](uv_shutdown_t*, int) {}) != 0)
    close(Error{ErrorCode::kIo, "closed"});
}

void Connection::close(Error why) {
  if (closed_) return;
  closed_ = true;
  lane_.emit(id_, Closed{std::move(why)});
  if (!inbound_.empty()) lane_.return_buffer(std::move(inbound_));
  uv_close(reinterpret_cast<uv_handle_t*>(&socket_), [](uv_handle_t* handle) {
    auto* self = static_cast<Connection*>(handle->data);
    const std::shared_ptr<Connection> last = std::move(self->self_);
    self->lane_.forget(self->id_);
  });
}

}  // namespace p2p::net
