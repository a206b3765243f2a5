#include "net/connection.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"
#include "net/lane.h"
#include "net/socket_error.h"

namespace p2p::net {

Connection::Connection(Lane& lane, ConnectionId id, Endpoint remote, bool outbound,
                       HandshakeConfig handshake)
    : lane_(lane), id_(id), remote_(remote), outbound_(outbound), inbox_(lane.buffers()) {
  handshake_.emplace(outbound ? Handshake::Role::kInitiator : Handshake::Role::kResponder,
                     std::move(handshake));
  P2P_CHECK(uv_tcp_init(lane_.loop().raw(), &socket_) == 0);
  socket_.data = this;
  set_limits();
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
  tell(Opened{session_->remote, remote_, session_->psk, outbound_, session_->cipher});
  return *used;
}

void Connection::tell(decltype(Event::what) what, std::size_t body_bytes) {
  tell_progress();
  const std::size_t weight = kEventBytes + body_bytes;
  unconsumed_ += weight;
  lane_.emit(Event{id_, std::move(what), weight});
  if (unconsumed_ <= budget_->unconsumed_bytes || finishing_) return;
  lagging_ = true;
  pause();
}

void Connection::tell_progress() {
  if (progress_) tell(*std::exchange(progress_, std::nullopt));
}

void Connection::finish() {
  if (closed_) return;
  if (!finishing_) {
    finishing_ = true;
    outbox_.drop_chunks();
    unread_ = {};
    placed_.reset();
    inbox_.clear();
    if (lagging_ || std::exchange(held_down_, false))
      read_on();  // to read, and throw away, what keeps the other side from closing
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

void Connection::set_limits() {
  const BandwidthLimits& limits = lane_.limits();
  const Time now = Loop::now();
  up_.set(lane_.bandwidth().up, limits.up, limits.peer_up, now);
  down_.set(lane_.bandwidth().down, limits.down, limits.peer_down, now);
}

void Connection::on_limits() {
  set_limits();
  on_bandwidth(Flow::kUp);
  if (!closed_) on_bandwidth(Flow::kDown);
}

void Connection::on_bandwidth(Flow flow) {
  if (flow == Flow::kUp) {
    held_up_ = false;
    pump();
  } else if (std::exchange(held_down_, false)) {
    held_for_ += Loop::now() - held_since_;
    if (!lagging_) read_on();
  }
}

void Connection::close(Error why) {
  if (closed_) return;
  tell_progress();
  closed_ = true;
  const Time now = Loop::now();
  if (up_.limits()) up_.leave(now);
  if (down_.limits()) down_.leave(now);
  unread_ = {};
  Event closed{id_, Closed{std::move(why)}, 0};
  // The last event of a connection: what the writer has of it is told before.
  if (verdicts_.use_count() > 1)
    lane_.writer().post([&lane = lane_, closed = std::move(closed)] { lane.emit(closed); });
  else
    lane_.emit(std::move(closed));
  lane_.forget(id_);
  uv_close(reinterpret_cast<uv_handle_t*>(&socket_), [](uv_handle_t* handle) {
    const auto last = std::move(static_cast<Connection*>(handle->data)->self_);
  });
}

}  // namespace p2p::net
