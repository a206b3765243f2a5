// Lane: a worker thread with a loop of its own. It owns its connections: their sockets, handshakes,
// frames, hashing and the reading and writing of chunks. The control thread posts commands to it
// and hears events.
#pragma once

#include <deque>
#include <memory>
#include <thread>
#include <unordered_map>

#include "base/endpoint.h"
#include "crypto/handshake.h"
#include "net/events.h"
#include "net/loop.h"

namespace p2p::net {

// From the first byte (or the start of the dial) to the end of the handshake.
inline constexpr Duration kHandshakeTimeout = std::chrono::seconds(5);
// Connections of a lane in their handshake; one more pushes out the oldest, so that a flood cannot
// lock others out.
inline constexpr std::size_t kMaxHalfOpen = 1024;
// A graceful close waits this long for what is still to be sent.
inline constexpr Duration kCloseTimeout = std::chrono::seconds(2);
// Read buffers that a lane keeps for reuse.
inline constexpr std::size_t kPooledBuffers = 16;

class Connection;

class Lane {
 public:
  Lane(HandshakeConfig listen_config, EventQueue& events);
  // Closes all connections and joins the thread.
  ~Lane();

  // Commands, from the control thread. Those for a connection that is gone do nothing.
  void adopt(ConnectionId id, int socket, Endpoint remote);
  void dial(ConnectionId id, Endpoint remote, Secret psk);
  void attach(ConnectionId id, std::shared_ptr<const ContentIo> io);
  void send(ConnectionId id, WireMessage message);
  void drop_chunk(ConnectionId id, ChunkIndex chunk);
  void send_chunk(ConnectionId id, ChunkIndex chunk);
  void stop_sending(ConnectionId id, ChunkIndex chunk);
  void close(ConnectionId id);
  // The control thread has dealt with this many of the connection's messages.
  void consumed(ConnectionId id, std::size_t messages);

  // For its connections, on the lane's thread.
  Loop& loop() { return loop_; }
  void emit(ConnectionId id, decltype(Event::what) what) {
    events_.push(Event{id, std::move(what)});
  }
  Bytes take_buffer();
  void return_buffer(Bytes buffer);
  void forget(ConnectionId id);
  // Closes it for good at kCloseTimeout, if it is still there.
  void close_soon(std::weak_ptr<Connection> connection);

 private:
  // Runs `command` on the lane's thread with the connection, if it is still there.
  template <typename Command>
  void with(ConnectionId id, Command command);
  void add(std::shared_ptr<Connection> connection);
  void arm_sweep();
  void sweep();

  HandshakeConfig listen_config_;
  EventQueue& events_;
  Loop loop_;
  std::unique_ptr<Timer> sweep_timer_;
  std::unordered_map<ConnectionId, std::shared_ptr<Connection>> connections_;
  // In the order of their deadlines, as all have the same timeout.
  std::deque<std::pair<Time, std::weak_ptr<Connection>>> half_open_, closing_;
  bool sweep_armed_ = false;
  std::vector<Bytes> pool_;
  std::thread thread_;
};

}  // namespace p2p::net
