#include "net/lane.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "net/connection.h"

namespace p2p::net {
namespace {

constexpr Duration kSweepInterval = std::chrono::milliseconds(200);

}  // namespace

Lane::Lane(LaneConfig config, EventQueue& events, Loop* shared)
    : config_(std::move(config)),
      events_(events),
      read_buffer_(kReadBufferBytes),
      loop_(shared ? *shared : own_loop_.emplace()) {
  sweep_timer_ = std::make_unique<Timer>(loop_, [this] { sweep(); });
  bandwidth_timer_ = std::make_unique<Timer>(loop_, [this] { wake_waiting(); });
  if (own_loop_) thread_ = std::thread([this] { loop_.run(); });
}

Lane::~Lane() {
  if (!own_loop_) {
    close_all();
    return;
  }
  loop_.post([this] {
    close_all();
    loop_.stop();
  });
  thread_.join();
}

// Their close callbacks, which free them, may run after the lane is gone.
void Lane::close_all() {
  for (const auto& [id, connection] : std::exchange(connections_, {}))
    connection->close(Error{ErrorCode::kInterrupted, "stopping"});
  sweep_timer_.reset();
  bandwidth_timer_.reset();
}

template <typename Task>
void Lane::run(Task task) {
  if (own_loop_)
    loop_.post(std::move(task));
  else
    task();
}

template <typename Command>
void Lane::with(ConnectionId id, Command command) {
  run([this, id, command = std::move(command)]() mutable {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    const std::shared_ptr<Connection> connection = found->second;
    if (!connection->closed()) command(*connection);
  });
}

void Lane::add(std::shared_ptr<Connection> connection, Deadlines& handshakes) {
  handshakes.emplace_back(Loop::now() + config_.timeouts.handshake, connection);
  arm_sweep();
  connections_.emplace(connection->id(), std::move(connection));
}

void Lane::make_room_for_handshake() {
  if (half_open_.size() >= config_.max_half_open)
    if (const auto oldest = half_open_.front().second.lock(); oldest && oldest->handshaking())
      oldest->close(Error{ErrorCode::kLimit, "too many connections in their handshake"});
  while (!half_open_.empty()) {
    const auto oldest = half_open_.front().second.lock();
    if (oldest && oldest->handshaking()) break;
    half_open_.pop_front();
  }
}

void Lane::close_soon(std::weak_ptr<Connection> connection) {
  closing_.emplace_back(Loop::now() + kCloseTimeout, std::move(connection));
  arm_sweep();
}

void Lane::watch_frame(std::weak_ptr<Connection> connection, std::uint64_t frames, Duration time) {
  const Time due = Loop::now() + time;
  const auto place =
      std::find_if(frames_.rbegin(), frames_.rend(), [&](const auto& w) { return w.due <= due; });
  frames_.insert(place.base(), {due, std::move(connection), frames});
  arm_sweep();
}

void Lane::wait_for_bandwidth(std::weak_ptr<Connection> connection, Flow flow, Time due) {
  if (!bandwidth_timer_) return;  // all are closing
  const auto place = for_bandwidth_.emplace(due, Waiting{std::move(connection), flow});
  if (place == for_bandwidth_.begin()) bandwidth_timer_->arm(due);
}

void Lane::wake_waiting() {
  const Time now = Loop::now();
  while (!for_bandwidth_.empty() && for_bandwidth_.begin()->first <= now + Throttle::kAtOnce) {
    const Waiting waiting = std::move(for_bandwidth_.begin()->second);
    for_bandwidth_.erase(for_bandwidth_.begin());
    const auto connection = waiting.connection.lock();
    if (connection && !connection->closed()) connection->on_bandwidth(waiting.flow);
  }
  if (!for_bandwidth_.empty()) bandwidth_timer_->arm(for_bandwidth_.begin()->first);
}

void Lane::arm_sweep() {
  if (sweep_armed_ || !sweep_timer_) return;
  if (half_open_.empty() && dialling_.empty() && closing_.empty() && frames_.empty()) return;
  sweep_armed_ = true;
  sweep_timer_->arm(Loop::now() + kSweepInterval);
}

void Lane::sweep_handshakes(Deadlines& handshakes, Time now) {
  while (!handshakes.empty() && handshakes.front().first <= now) {
    if (const auto late = handshakes.front().second.lock(); late && late->handshaking())
      late->close(Error{ErrorCode::kUnreachable,
                        absl::StrCat(late->remote().to_string(), " did not answer in time")});
    handshakes.pop_front();
  }
}

void Lane::sweep() {
  sweep_armed_ = false;
  const Time now = Loop::now();
  sweep_handshakes(half_open_, now);
  sweep_handshakes(dialling_, now);
  while (!closing_.empty() && closing_.front().first <= now) {
    if (const auto late = closing_.front().second.lock())
      late->close(Error{ErrorCode::kIo, "closed"});
    closing_.pop_front();
  }
  while (!frames_.empty() && frames_.front().due <= now) {
    const FrameWatch watch = std::move(frames_.front());
    frames_.pop_front();
    if (const auto connection = watch.connection.lock()) connection->check_frame(watch.frames);
  }
  arm_sweep();
}

void Lane::adopt(ConnectionId id, int socket, Endpoint remote) {
  run([this, id, socket, remote] {
    auto connection = std::make_shared<Connection>(*this, id, remote, false, config_.listen);
    make_room_for_handshake();
    add(connection, half_open_);
    connection->adopt(socket);
  });
}

void Lane::turn_away(ConnectionId id, int socket, Endpoint remote) {
  run([this, id, socket, remote] {
    auto connection = std::make_shared<Connection>(*this, id, remote, false, config_.listen);
    connections_.emplace(id, connection);
    connection->turn_away(socket);
  });
}

void Lane::accept(PskList psks) {
  run([this, psks = std::move(psks)] { config_.listen.psks = psks; });
}

void Lane::limit(BandwidthLimits limits) {
  run([this, limits] {
    limits_ = limits;
    for_bandwidth_.clear();
    std::vector<std::shared_ptr<Connection>> all;  // one that goes on may end, and be forgotten
    for (const auto& [id, connection] : connections_) all.push_back(connection);
    for (const auto& connection : all)
      if (!connection->closed()) connection->on_limits();
  });
}

void Lane::dial(ConnectionId id, Endpoint remote, Secret psk) {
  run([this, id, remote, psk] {
    HandshakeConfig handshake = config_.listen;
    handshake.psks = {psk};
    auto connection = std::make_shared<Connection>(*this, id, remote, true, std::move(handshake));
    add(connection, dialling_);
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
void Lane::send_manifest_part(ConnectionId id, std::uint32_t offset) {
  with(id, [offset](Connection& connection) { connection.send_manifest_part(offset); });
}
void Lane::send_outline_part(ConnectionId id, std::uint32_t offset,
                             std::shared_ptr<const Bytes> encoded) {
  with(id, [offset, encoded = std::move(encoded)](Connection& connection) {
    connection.send_outline_part(offset, *encoded);
  });
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
void Lane::consumed(ConnectionId id, std::size_t weight) {
  with(id, [weight](Connection& connection) { connection.consumed(weight); });
}

void Lane::forget(ConnectionId id) { connections_.erase(id); }

}  // namespace p2p::net
