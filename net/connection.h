// Connection: one TCP connection of a lane, from the handshake to the last frame. Lives on its
// lane's thread.
#pragma once

#include <uv.h>

#include <deque>
#include <memory>
#include <optional>

#include "crypto/handshake.h"
#include "net/chunk_inbox.h"
#include "net/events.h"

namespace p2p::net {

class Lane;

// Bytes handed to the socket and not yet taken by it: data frames wait below this mark...
inline constexpr std::size_t kSendHighWaterBytes = 256 * 1024;
// ...and a side that does not read its messages is dropped at this one.
inline constexpr std::size_t kMaxSendQueueBytes = 8 * 1024 * 1024;
// Messages that the control thread has not dealt with: reading pauses above, and goes on at half.
inline constexpr std::size_t kMaxUnconsumedMessages = 1024;
// A read takes at most this much, so that it is still in the cache when it is opened and hashed.
inline constexpr std::size_t kReadBytes = 256 * 1024;
// The largest frame and the start of the next.
inline constexpr std::size_t kReadBufferBytes = kMaxMessageBytes + kReadBytes;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Lane& lane, ConnectionId id, Endpoint remote, bool outbound,
             HandshakeConfig handshake);
  ~Connection();

  // One of the two, once.
  void adopt(int socket);
  void dial();

  void attach(std::shared_ptr<const ContentIo> io) { io_ = std::move(io); }
  void send(const WireMessage& message);
  void drop_chunk(ChunkIndex chunk) { inbox_.drop(chunk); }
  void send_chunk(ChunkIndex chunk);
  void stop_sending(ChunkIndex chunk);
  void consumed(std::size_t messages);
  // Sends what is waiting, then closes.
  void finish();
  void close(Error why);

  ConnectionId id() const { return id_; }
  bool handshaking() const { return !session_.has_value() && !closed_; }
  bool closed() const { return closed_; }

 private:
  struct Write;

  void start_reading();
  void on_read(ssize_t count);
  void process();
  bool shake_hands();
  // Both return false when the connection was closed.
  bool on_frame(FrameKind kind, ByteView body);
  bool on_message_frame(ByteView body);
  bool on_data_frame(ByteView body);
  // Lets the inbox see the messages that announce or end data. False: a violation.
  bool note_incoming(const WireMessage& message);
  void note_outgoing(const WireMessage& message);

  void write(Bytes bytes, std::optional<ChunkIndex> ends_chunk);
  void on_written(Write* done, int status);
  void pump();
  bool send_next_frame();

  Lane& lane_;
  const ConnectionId id_;
  const Endpoint remote_;
  const bool outbound_;
  uv_tcp_t socket_;
  uv_connect_t connect_;
  uv_shutdown_t shutdown_;

  std::optional<Handshake> handshake_;
  std::optional<Session> session_;
  std::shared_ptr<const ContentIo> io_;

  Bytes inbound_;           // empty when nothing is buffered
  std::size_t start_ = 0;   // of what is not processed yet
  std::size_t filled_ = 0;  // end of what was read
  std::size_t unconsumed_ = 0;
  bool paused_ = false;
  ChunkInbox inbox_;

  struct Outgoing {
    ChunkIndex chunk;
    std::uint32_t offset = 0;
  };
  std::deque<Outgoing> outgoing_;
  std::size_t queued_bytes_ = 0;
  bool finishing_ = false;
  bool closed_ = false;
  std::shared_ptr<Connection> self_;  // held until the socket's close callback
};

}  // namespace p2p::net
