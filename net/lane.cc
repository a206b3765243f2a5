#include "net/lane.h"

#include <unistd.h>

#include "net/connection.h"

namespace p2p::net {

inline constexpr Duration kSweepInterval = std::chrono::milliseconds(200);

Lane::Lane(HandshakeConfig listen_config, EventQueue& events)
    : listen_config_(std::move(listen_config)), events_(events) {
  sweep_timer_ = std::make_unique<Timer>(loop_, [this] { sweep(); });
  thread_ = std::thread([this] { loop_.run(); });
}

Lane::~Lane() {
  loop_.post([this] {
    for (auto& [id, connection] : connections_)
      connection->close(Error{ErrorCode::kInterrupted, "stopping"});
    sweep_timer_.reset();
    loop_.stop();
  });
  thread_.join();
  // ~Loop runs the close callbacks that are still due; they forget the connections.
}

template <typename Command>
void Lane::with(ConnectionId id, Command command) {
  loop_.post([this, id, command = std::move(command)]() mutable {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    const std::shared_ptr<Connection> connection = found->second;
    if (!connection->closed()) command(*connection);
  });
}

void Lane::add(std::shared_ptr<Connection> connection) {
  if (half_open_.size() >= kMaxHalfOpen)
    if (const auto oldest = half_open_.front().second.lock(); oldest && oldest->handshaking())
      oldest->close(Error{ErrorCode::kLimit, "too many connections in their handshake"});
  while (!half_open_.empty()) {
    const auto oldest = half_open_.front().second.lock();
    if (oldest && oldest->handshaking()) break;
    half_open_.pop_front();
  }
  half_open_.emplace_back(Loop::now() + kHandshakeTimeout, connection);
  arm_sweep();
  connections_.emplace(connection->id(), std::move(connection));
}

void Lane::close_soon(std::weak_ptr<Connection> connection) {
  closing_.emplace_back(Loop::now() + kCloseTimeout, std::move(connection));
  arm_sweep();
}

void Lane::arm_sweep() {
  if (sweep_armed_ || (half_open_.empty() && closing_.empty())) return;
  sweep_armed_ = true;
  sweep_timer_->arm(Loop::now() + kSweepInterval);
}

void Lane::sweep() {
  sweep_armed_ = false;
  const Time now = Loop::now();
  while (!half_open_.empty() && half_open_.front().first <= now) {
    if (const auto late = half_open_.front().second.lock(); late && late->handshaking())
      late->close(Error{ErrorCode::kUnreachable, "no handshake in time"});
    half_open_.pop_front();
  }
  while (!closing_.empty() && closing_.front().first <= now) {
    if (const auto late = closing_.front().second.lock())
      late->close(Error{ErrorCode::kIo, "closed"});
    closing_.pop_front();
  }
  arm_sweep();
}

void Lane::adopt(ConnectionId id, int socket, Endpoint remote) {
  loop_.post([this, id, socket, remote] {
    auto connection = std::make_shared<Connection>(*this, id, remote, false, listen_config_);
    add(connection);
    connection->adopt(socket);
  });
}

void Lane::dial(ConnectionId id, Endpoint remote, Secret psk) {
  loop_.post([this, id, remote, psk] {
    HandshakeConfig config = listen_config_;
    config.psks = {psk};
    auto connection = std::make_shared<Connection>(*this, id, remote, true, std::move(config));
    add(connection);
    connection->dial();
  });
}

void Lane::attach(ConnectionId id, std::shared_ptr<const ContentIo> io) {
  with(id,
       [io = std::move(io)](Connection& connection) mutable { connection.attach(std::move(io)); });
}
void Lane::send(ConnectionId id, WireMessage message) {
  with(id, [message = std::move(message)](Connection& connection) { connection.send(message); });
}
void Lane::drop_chunk(ConnectionId id, ChunkIndex chunk) {
  with(id, [chunk](Connection& connection) { connection.drop_chunk(chunk); });
}
void Lane::send_chunk(ConnectionId id, ChunkIndex chunk) {
  with(id, [chunk](Connection& connection) { connection.send_chunk(chunk); });
}
void Lane::stop_sending(ConnectionId id, ChunkIndex chunk) {
  with(id, [chunk](Connection& connection) { connection.stop_sending(chunk); });
}
void Lane::close(ConnectionId id) {
  with(id, [](Connection& connection) { connection.finish(); });
}
void Lane::consumed(ConnectionId id, std::size_t messages) {
  with(id, [messages](Connection& connection) { connection.consumed(messages); });
}

Bytes Lane::take_buffer() {
  if (pool_.empty()) return Bytes(kReadBufferBytes);
  Bytes buffer = std::move(pool_.back());
  pool_.pop_back();
  return buffer;
}

void Lane::return_buffer(Bytes buffer) {
  if (pool_.size() < kPooledBuffers) pool_.push_back(std::move(buffer));
}

void Lane::forget(ConnectionId id) { connections_.erase(id); }

}  // namespace p2p::net
