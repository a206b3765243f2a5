#include "net/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"
#include "net/lane.h"

namespace p2p::net {
namespace {

Error socket_error(std::string_view what, const Endpoint& remote, int status) {
  const ErrorCode code = status == UV_ECONNREFUSED || status == UV_EHOSTUNREACH ||
                                 status == UV_ENETUNREACH || status == UV_ETIMEDOUT
                             ? ErrorCode::kUnreachable
                             : ErrorCode::kIo;
  return Error{code,
               absl::StrCat(std::string(what), " ", remote.to_string(), ": ", uv_text(status))};
}

}  // namespace

Connection::Connection(Lane& lane, ConnectionId id, Endpoint remote, bool outbound,
                       HandshakeConfig handshake)
    : lane_(lane), id_(id), remote_(remote), outbound_(outbound) {
  handshake_.emplace(outbound ? Handshake::Role::kInitiator : Handshake::Role::kResponder,
                     std::move(handshake));
  P2P_CHECK(uv_tcp_init(lane_.loop().raw(), &socket_) == 0);
  socket_.data = this;
}

Connection::~Connection() { P2P_CHECK(closed_); }

bool Connection::take(int socket) {
  self_ = shared_from_this();
  const int status = uv_tcp_open(&socket_, socket);
  if (status == 0) return true;
  ::close(socket);
  close(socket_error("cannot take the connection from", remote_, status));
  return false;
}

void Connection::adopt(int socket) {
  if (take(socket)) start();
}

void Connection::turn_away(int socket) {
  if (!take(socket)) return;
  handshake_.reset();
  write(handshake_refusal(HandshakeRefusal::kBusy));
  finish();
  if (!closed_) start();
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
                       self->start();
                     });
  if (status != 0) close(socket_error("cannot reach", remote_, status));
}

void Connection::start() {
  uv_tcp_nodelay(&socket_, 1);
  uv_tcp_keepalive(&socket_, 1, 60);
  set_not_sent_limit();
  if (handshake_)
    if (const Bytes first = handshake_->take_output(); !first.empty()) write(first);
  if (!closed_) read_on();
}

// Every read goes to the lane's one buffer, behind what this connection had left: so a connection
// holds what it was sent of an unfinished frame, and no byte more.
void Connection::read_on() {
  paused_ = false;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&socket_),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto* self = static_cast<Connection*>(handle->data);
        const MutableBytes all = self->lane_.read_buffer();
        std::copy(self->unread_.begin(), self->unread_.end(), all.begin());
        *buffer = uv_buf_init(reinterpret_cast<char*>(all.data() + self->unread_.size()),
                              static_cast<unsigned>(kReadBytes));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        static_cast<Connection*>(stream->data)->on_read(count);
      });
}

void Connection::on_read(ssize_t count) {
  if (count == 0) return;  // nothing there after all
  if (count == UV_EOF)
    return close(Error{ErrorCode::kUnreachable,
                       absl::StrCat(remote_.to_string(), " closed the connection")});
  if (count < 0)
    return close(socket_error("lost the connection to", remote_, static_cast<int>(count)));
  const MutableBytes data =
      lane_.read_buffer().first(unread_.size() + static_cast<std::size_t>(count));
  const std::size_t used = process(data);
  if (!closed_) keep(data.subspan(used));
}

void Connection::keep(ByteView rest) {
  if (rest.empty()) {
    unread_ = {};  // an idle connection holds no memory
    return;
  }
  unread_.assign(rest.begin(), rest.end());
  if (!session_ || paused_ || frame_watched_) return;
  frame_watched_ = true;
  lane_.watch_frame(weak_from_this(), frames_);
}

void Connection::check_frame(std::uint64_t frames) {
  frame_watched_ = false;
  if (closed_ || unread_.empty()) return;
  if (frames_ == frames && !paused_)
    return close(Error{ErrorCode::kUnreachable,
                       absl::StrCat(remote_.to_string(), " stopped in the middle of a message")});
  frame_watched_ = true;
  lane_.watch_frame(weak_from_this(), frames_);
}

std::size_t Connection::process(MutableBytes data) {
  std::size_t used = 0;
  if (handshake_ && !finishing_) used = shake_hands(data);
  while (session_ && !closed_ && !finishing_ && !paused_) {
    const MutableBytes rest = data.subspan(used);
    if (rest.size() < kFrameHeaderBytes) break;
    const auto header = parse_frame_header(rest);
    if (!header) {
      break_off(header.error());
      break;
    }
    if (header->kind == FrameKind::kMessage && header->body_bytes > budget_->message_bytes) {
      break_off(Error{ErrorCode::kLimit, "a message that is too long"});
      break;
    }
    const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
    if (rest.size() < whole) break;
    const auto body = session_->opener.open(rest.first(whole));
    if (!body) {
      break_off(body.error());
      break;
    }
    used += whole;
    ++frames_;
    if (!on_frame(header->kind, *body)) break;
  }
  if (!closed_) tell_progress();
  return finishing_ ? data.size() : used;  // nobody wants the rest of what ends
}

std::size_t Connection::shake_hands(ByteView data) {
  const auto used = handshake_->on_bytes(data);
  const Bytes answer = handshake_->take_output();
  const bool answered = !answer.empty();
  if (answered) write(answer);
  if (closed_) return 0;
  if (!used) {
    // A refusal of ours: a plain close could destroy it before it is read.
    if (answered && !outbound_) {
      finish();
      return 0;
    }
    // Who is busy has nothing against our secret.
    const bool busy = handshake_->refusal() == HandshakeRefusal::kBusy;
    close(Error{busy ? ErrorCode::kUnreachable : used.error().code,
                absl::StrCat(remote_.to_string(), ": ", used.error().message)});
    return 0;
  }
  if (!handshake_->complete()) return *used;
  session_.emplace(handshake_->take_session());
  handshake_.reset();
  tell(Opened{session_->remote, remote_, session_->psk_index, outbound_, session_->cipher});
  return *used;
}

bool Connection::break_off(const Error& why) {
  close(Error{why.code, absl::StrCat(remote_.to_string(), ": ", why.message)});
  return false;
}

void Connection::tell(decltype(Event::what) what, std::size_t body_bytes) {
  tell_progress();
  const std::size_t weight = kEventBytes + body_bytes;
  unconsumed_ += weight;
  lane_.emit(Event{id_, std::move(what), weight});
  if (unconsumed_ <= budget_->unconsumed_bytes || paused_ || finishing_) return;
  paused_ = true;
  uv_read_stop(reinterpret_cast<uv_stream_t*>(&socket_));
}

void Connection::tell_progress() {
  if (progress_) tell(*std::exchange(progress_, std::nullopt));
}

void Connection::consumed(std::size_t weight) {
  unconsumed_ -= std::min(weight, unconsumed_);
  if (!paused_ || closed_ || unconsumed_ > budget_->unconsumed_bytes / 2) return;
  paused_ = false;
  Bytes waiting = std::exchange(unread_, {});
  const std::size_t used = process(waiting);
  if (closed_) return;
  keep(ByteView(waiting).subspan(used));
  if (!paused_) read_on();
}

bool Connection::on_frame(FrameKind kind, ByteView body) {
  return kind == FrameKind::kData ? on_data_frame(body) : on_message_frame(body);
}

bool Connection::on_message_frame(ByteView body) {
  auto message = decode_wire(body);
  if (!message)
    return break_off(
        Error{message.error().code, absl::StrCat("a bad message: ", message.error().message)});
  if (!note_incoming(*message)) return false;
  tell(Received{std::move(*message)}, body.size());
  return true;
}

bool Connection::note_incoming(const WireMessage& message) {
  const auto* swarm = std::get_if<peer::Message>(&message);
  if (!swarm) return true;
  if (std::holds_alternative<peer::Join>(*swarm)) budget_ = &kSwarmBudget;
  if (const auto* reject = std::get_if<peer::Reject>(swarm)) {
    reject->chunk == peer::kAnyChunk ? inbox_.on_any_rejected() : inbox_.on_reject(reject->chunk);
  } else if (const auto* give = std::get_if<peer::Give>(swarm)) {
    if (!io_) return break_off(Error{ErrorCode::kMalformed, "gives a chunk before it was asked"});
    if (const Status given = inbox_.on_give(give->chunk, io_->layout); !given)
      return break_off(given.error());
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
  if (!io_ || !io_->store)
    return break_off(Error{ErrorCode::kMalformed, "sends chunks that nobody asked for"});
  auto received = inbox_.on_data(body, io_->layout);
  if (!received) return break_off(received.error());
  const ChunkIndex chunk = received->chunk;
  // Told once for as many frames as came together: a frame may be a single byte.
  if (progress_ && progress_->chunk != chunk) tell_progress();
  if (!progress_) progress_ = ChunkData{chunk, 0};
  progress_->bytes += received->bytes;
  if (received->whole.empty()) return true;
  if (received->digest != io_->manifest->chunk_hashes[chunk]) {
    tell(ChunkCorrupt{chunk});
  } else if (Status written = io_->store->write_chunk(chunk, received->whole); !written) {
    tell(ChunkUnstored{chunk, std::move(written).error()});
  } else {
    tell(ChunkVerified{chunk});
  }
  return true;
}

void Connection::send(const WireMessage& message) {
  if (closed_ || finishing_ || !session_) return;
  note_outgoing(message);
  outbox_.push_message(encode_wire(message));
  if (within_budget()) pump();
}

void Connection::send_manifest_part(std::uint32_t offset) {
  peer::ManifestPart part;
  const Bytes& encoded = io_->encoded_manifest;
  if (offset < encoded.size()) {
    part.total_bytes = static_cast<std::uint32_t>(encoded.size());
    part.offset = offset;
    const auto from = encoded.begin() + static_cast<std::ptrdiff_t>(offset);
    part.data.assign(from, from + static_cast<std::ptrdiff_t>(std::min(peer::kMaxManifestPartBytes,
                                                                       encoded.size() - offset)));
  }
  send(peer::Message(std::move(part)));
}

void Connection::send_chunk(ChunkIndex chunk) {
  if (closed_ || finishing_) return;
  outbox_.push_chunk(chunk);
  pump();
}

void Connection::stop_sending(ChunkIndex chunk) {
  if (outbox_.drop_chunk(chunk)) tell(SendStopped{chunk});
}

void Connection::write(ByteView plain) {
  outbox_.push_plain(plain);
  if (within_budget()) pump();
}

bool Connection::within_budget() {
  if (outbox_.message_bytes() + (writing_ ? out_used_ : 0) <= budget_->send_queue_bytes)
    return true;
  close(Error{ErrorCode::kLimit,
              absl::StrCat(remote_.to_string(), " does not read what it is sent")});
  return false;
}

void Connection::pump() {
  if (writing_) return;
  while (!closed_ && !writing_ && !outbox_.empty()) write_next();
  if (closed_ || writing_) return;
  pace_.on_idle();
  out_ = {};  // an idle connection holds no memory
  if (finishing_) finish();
}

void Connection::write_next() {
  Outbox::Filled filled = outbox_.fill(out_, out_used_, session_ ? &session_->sealer : nullptr,
                                       io_.get(), pace_.ahead_bytes());
  out_ends_ = filled.ends;
  if (filled.unreadable) tell(std::move(*filled.unreadable));
  if (out_used_ == 0) return;
  pace_.on_write(Loop::now());
  write_.data = this;
  writing_ = true;
  const uv_buf_t buffer =
      uv_buf_init(reinterpret_cast<char*>(out_.data()), static_cast<unsigned>(out_used_));
  const int status = uv_write(&write_, reinterpret_cast<uv_stream_t*>(&socket_), &buffer, 1,
                              [](uv_write_t* done, int result) {
                                static_cast<Connection*>(done->data)->on_written(result);
                              });
  if (status == 0) return;
  writing_ = false;
  close(socket_error("cannot send to", remote_, status));
}

void Connection::on_written(int status) {
  writing_ = false;
  if (closed_) return;
  if (status != 0) return close(socket_error("cannot send to", remote_, status));
  if (pace_.on_written(out_used_, Loop::now())) set_not_sent_limit();
  if (out_ends_) tell(ChunkSent{*out_ends_});
  pump();
}

// What the kernel has taken and not sent can neither be cancelled nor overtaken by a message.
void Connection::set_not_sent_limit() {
  uv_os_fd_t fd;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(&socket_), &fd) != 0) return;
  const int bytes = static_cast<int>(pace_.ahead_bytes());
  setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

void Connection::finish() {
  if (closed_) return;
  if (!finishing_) {
    finishing_ = true;
    outbox_.drop_chunks();
    unread_ = {};
    if (paused_) read_on();  // to read, and throw away, what keeps the other side from closing
    lane_.close_soon(weak_from_this());
  }
  if (writing_ || !outbox_.empty() || shut_) return;
  shut_ = true;
  shutdown_.data = this;
  // The close comes with the other side's, or at the timeout: closing at once could destroy what it
  // has not read yet.
  if (uv_shutdown(&shutdown_, reinterpret_cast<uv_stream_t*>(&socket_),
                  [](uv_shutdown_t*, int) {}) != 0)
    close(Error{ErrorCode::kIo, "closed"});
}

void Connection::close(Error why) {
  if (closed_) return;
  tell_progress();
  closed_ = true;
  unread_ = {};
  lane_.emit(Event{id_, Closed{std::move(why)}, 0});
  uv_close(reinterpret_cast<uv_handle_t*>(&socket_), [](uv_handle_t* handle) {
    auto* self = static_cast<Connection*>(handle->data);
    const std::shared_ptr<Connection> last = std::move(self->self_);
    self->lane_.forget(self->id_);
  });
}

}  // namespace p2p::net
