// Lane: a worker thread with a loop of its own. It owns its connections: their sockets, handshakes
// and frames. What may wait for a disk is done by two threads beside it: one reads what is to be
// sent, the other hashes and writes what came in. The control thread posts commands to the lane and
// hears events.
//
// A lane may also be given the control thread's loop. Then it has no thread: commands are carried
// out at once, and what they cause is told later, as ever. That is for those whose connections
// carry nothing but short messages, where two threads would only wait for each other.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "base/endpoint.h"
#include "crypto/handshake.h"
#include "net/bandwidth.h"
#include "net/chunk_buffer.h"
#include "net/connection_limits.h"
#include "net/disk_thread.h"
#include "net/events.h"
#include "net/loop.h"

namespace p2p::net {

// A graceful close waits this long for what is still to be sent.
inline constexpr Duration kCloseTimeout = std::chrono::seconds(2);

class Connection;

struct LaneConfig {
  HandshakeConfig listen;
  // Incoming connections in their handshake; one more pushes out the oldest, so that a flood cannot
  // lock others out.
  std::size_t max_half_open = 1024;
  ConnectionTimeouts timeouts;
  std::shared_ptr<BufferPool> buffers = std::make_shared<BufferPool>();  // lanes may share one
  std::shared_ptr<Bandwidth> bandwidth = std::make_shared<Bandwidth>();  // lanes must share it
};

class Lane {
 public:
  // `shared`: the loop of the calling thread, for a lane without a thread of its own.
  Lane(LaneConfig config, EventQueue& events, Loop* shared = nullptr);
  // Closes all connections and joins the thread.
  ~Lane();

  // Commands, from the control thread. Those for a connection that is gone do nothing.
  void adopt(ConnectionId id, int socket, Endpoint remote);
  // Says that we are busy, and closes.
  void turn_away(ConnectionId id, int socket, Endpoint remote);
  // With one of these, whoever is adopted from now on.
  void accept(PskList psks);
  // For all its connections, also those that wait under others. The bandwidth has them already.
  void limit(BandwidthLimits limits);
  void dial(ConnectionId id, Endpoint remote, Secret psk);
  void attach(ConnectionId id, std::shared_ptr<const ContentIo> io);
  void send(ConnectionId id, WireMessage message);
  // Of the attached content. The part is made on the lane, so that a flood of requests is held
  // against the connection's send queue.
  void send_manifest_part(ConnectionId id, std::uint32_t offset);
  void send_outline_part(ConnectionId id, std::uint32_t offset,
                         std::shared_ptr<const Bytes> encoded);
  void drop_chunk(ConnectionId id, ChunkIndex chunk);
  void send_chunk(ConnectionId id, ChunkIndex chunk);
  void stop_sending(ConnectionId id, ChunkIndex chunk);
  void close(ConnectionId id);
  // The control thread has dealt with events of this weight.
  void consumed(ConnectionId id, std::size_t weight);

  // For its connections, on the lane's thread. A connection that is closed knows its lane no more.
  Loop& loop() { return loop_; }
  void emit(Event event) { events_.push(std::move(event)); }
  // Holds kReadBufferBytes, until the next read of any connection.
  MutableBytes read_buffer() { return read_buffer_; }
  const std::shared_ptr<BufferPool>& buffers() { return config_.buffers; }
  // Jobs may outlast their connection. They end before the lane does.
  DiskThread& reader() { return reader_; }
  DiskThread& writer() { return writer_; }
  void forget(ConnectionId id);
  // Closes it for good at kCloseTimeout, if it is still there.
  void close_soon(std::weak_ptr<Connection> connection);
  // The time that a frame may take.
  Duration frame_time() const { return config_.timeouts.frame; }
  // Calls its check_frame(frames) when this time is over, which is no longer.
  void watch_frame(std::weak_ptr<Connection> connection, std::uint64_t frames, Duration time);
  Bandwidth& bandwidth() { return *config_.bandwidth; }
  const BandwidthLimits& limits() const { return limits_; }
  // Calls its on_bandwidth(flow) then, or not at all where the limits change before.
  void wait_for_bandwidth(std::weak_ptr<Connection> connection, Flow flow, Time due);

 private:
  using Deadlines = std::deque<std::pair<Time, std::weak_ptr<Connection>>>;
  struct FrameWatch {
    Time due;
    std::weak_ptr<Connection> connection;
    std::uint64_t frames;
  };
  struct Waiting {
    std::weak_ptr<Connection> connection;
    Flow flow;
  };

  template <typename Task>
  void run(Task task);
  // Runs `command` on the lane's thread with the connection, if it is still there.
  template <typename Command>
  void with(ConnectionId id, Command command);
  void add(std::shared_ptr<Connection> connection, Deadlines& handshakes);
  void make_room_for_handshake();
  void close_all();
  void arm_sweep();
  void sweep();
  void sweep_handshakes(Deadlines& handshakes, Time now);
  void wake_waiting();

  LaneConfig config_;
  BandwidthLimits limits_;
  EventQueue& events_;
  Bytes read_buffer_;
  absl::flat_hash_map<ConnectionId, std::shared_ptr<Connection>> connections_;
  // Each in the order of its deadlines, as all in it have the same timeout.
  Deadlines half_open_, dialling_, closing_;
  std::deque<FrameWatch> frames_;               // in the order of their deadlines too
  std::multimap<Time, Waiting> for_bandwidth_;  // at most one of each flow of a connection
  bool sweep_armed_ = false;
  std::optional<Loop> own_loop_;  // after what its last callbacks touch
  Loop& loop_;
  std::unique_ptr<Timer> sweep_timer_, bandwidth_timer_;
  std::thread thread_;
  DiskThread reader_, writer_;
};

}  // namespace p2p::net
