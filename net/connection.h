// Connection: one TCP connection of a lane, from the handshake to the last frame. Lives on its
// lane's thread.
#pragma once

#include <uv.h>

#include <memory>
#include <optional>

#include "crypto/handshake.h"
#include "net/chunk_inbox.h"
#include "net/connection_limits.h"
#include "net/events.h"
#include "net/outbox.h"
#include "net/send_pace.h"

namespace p2p::net {

class Lane;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Lane& lane, ConnectionId id, Endpoint remote, bool outbound,
             HandshakeConfig handshake);
  ~Connection();

  // One of the three, once.
  void adopt(int socket);
  void turn_away(int socket);
  void dial();

  void attach(std::shared_ptr<const ContentIo> io) { io_ = std::move(io); }
  void send(const WireMessage& message);
  void send_manifest_part(std::uint32_t offset);
  void drop_chunk(ChunkIndex chunk) { inbox_.drop(chunk); }
  void send_chunk(ChunkIndex chunk);
  void stop_sending(ChunkIndex chunk);
  void consumed(std::size_t weight);
  // Sends what is waiting, then closes.
  void finish();
  void close(Error why);
  // Closes it where no frame was completed since it had read this many, and one has begun.
  void check_frame(std::uint64_t frames);

  ConnectionId id() const { return id_; }
  const Endpoint& remote() const { return remote_; }
  bool handshaking() const { return !session_.has_value() && !closed_; }
  bool closed() const { return closed_; }

 private:
  bool take(int socket);
  void start();
  void read_on();
  void on_read(ssize_t count);
  // Takes what is complete, and returns how many bytes that was.
  std::size_t process(MutableBytes data);
  std::size_t shake_hands(ByteView data);
  void keep(ByteView rest);
  // All return false when the connection was closed.
  bool on_frame(FrameKind kind, ByteView body);
  bool on_message_frame(ByteView body);
  bool on_data_frame(ByteView body);
  // Lets the inbox see the messages that announce or end data. False: a violation.
  bool note_incoming(const WireMessage& message);
  void note_outgoing(const WireMessage& message);
  bool break_off(const Error& why);

  // To the control thread. Reading pauses while it lags behind.
  void tell(decltype(Event::what) what, std::size_t body_bytes = 0);
  void tell_progress();

  // Of the handshake; messages and chunks go through the outbox.
  void write(ByteView plain);
  bool within_budget();
  void pump();
  void write_next();
  void on_written(int status);
  void set_not_sent_limit();

  Lane& lane_;
  const ConnectionId id_;
  const Endpoint remote_;
  const bool outbound_;
  uv_tcp_t socket_;
  uv_connect_t connect_;
  uv_write_t write_;
  uv_shutdown_t shutdown_;

  std::optional<Handshake> handshake_;
  std::optional<Session> session_;
  std::shared_ptr<const ContentIo> io_;
  const ConnectionBudget* budget_ = &kSmallBudget;

  Bytes unread_;  // what came in and is no whole frame, or waits while reading is paused
  std::uint64_t frames_ = 0;
  bool frame_watched_ = false;
  std::size_t unconsumed_ = 0;
  bool paused_ = false;
  ChunkInbox inbox_;
  std::optional<ChunkData> progress_;  // not told yet

  Outbox outbox_;
  SendPace pace_;
  bool writing_ = false;  // one write at a time: what waits can still be overtaken
  Bytes out_;             // what is being written: its first out_used_ bytes
  std::size_t out_used_ = 0;
  std::optional<ChunkIndex> out_ends_;  // the chunk that ends with it
  bool finishing_ = false;
  bool shut_ = false;
  bool closed_ = false;
  std::shared_ptr<Connection> self_;  // held until the socket's close callback
};

}  // namespace p2p::net
