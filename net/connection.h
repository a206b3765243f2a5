// Connection: one TCP connection of a lane, from the handshake to the last frame. Lives on its
// lane's thread. connection.cc: its life; connection_read.cc: from bytes to frames, messages and
// chunks; connection_write.cc: the other way.
#pragma once

#include <uv.h>

#include <array>
#include <memory>
#include <optional>

#include "crypto/handshake.h"
#include "net/bandwidth.h"
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
  void send_outline_part(std::uint32_t offset, const Bytes& encoded);
  void drop_chunk(ChunkIndex chunk) { inbox_.drop(chunk); }
  void send_chunk(ChunkIndex chunk);
  void stop_sending(ChunkIndex chunk);
  void consumed(std::size_t weight);
  // Sends what is waiting, then closes.
  void finish();
  void close(Error why);
  // The lane's limits are others from now on; or what had to wait for bandwidth may go on.
  void on_limits();
  void on_bandwidth(Flow flow);
  // Closes it where no frame was completed since it had read this many, and one has begun.
  void check_frame(std::uint64_t frames);

  ConnectionId id() const { return id_; }
  const Endpoint& remote() const { return remote_; }
  bool handshaking() const { return !session_.has_value() && !closed_; }
  bool closed() const { return closed_; }

 private:
  void set_limits();
  bool take(int socket);
  void start();
  std::size_t shake_hands(ByteView data);
  void tell(decltype(Event::what) what, std::size_t body_bytes = 0);
  void tell_progress();

  // Reading. It pauses while the control thread lags behind, and to keep to the limits.
  void read_on();
  void pause();
  // Takes what waits, and reads on.
  void resume();
  void count_read(std::size_t bytes);
  uv_buf_t place_of_read();
  void on_read(ssize_t count);
  void on_placed_read(std::size_t count);
  void process_unread();
  void process_and_keep(MutableBytes data);
  // Takes what is complete, and returns how many bytes that was.
  std::size_t process(MutableBytes data);
  void keep(ByteView rest);
  // Where one has begun: its end must come in time.
  void watch_frame();
  void watch_frame_for(Duration time);
  // The rest of the frame that begins so is read to where its payload belongs. False: it is not.
  bool place(ByteView begun);
  // Is there anything against a frame that begins so?
  Status check(const FrameHeader& header) const;
  // All return false when the connection was closed.
  bool on_frame(FrameKind kind, ByteView body);
  bool on_message_frame(ByteView body);
  bool on_data_frame(ByteView body);
  // Lets the inbox see the messages that announce or end data. False: a violation.
  bool note_incoming(const WireMessage& message);
  void note_outgoing(const WireMessage& message);
  bool break_off(const Error& why);
  void store(ChunkIndex chunk, BufferRef whole, bool partial);

  // Writing.
  void write(ByteView plain);  // of the handshake; messages and chunks go through the outbox
  bool within_budget();
  void read_ahead();
  void on_block(const Outbox::Block& block, BufferRef buffer, Status read);
  void pump();
  // How much payload the next write may take along; none: nothing may go yet. It will be pumped.
  std::optional<std::size_t> payload_to_write();
  void write_next(std::size_t payload_bytes);
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

  Bytes unread_;        // what came in and is no whole frame, or waits while reading is paused
  bool grown_ = false;  // by kReadBytes, for the read that is under way
  // A data frame whose rest is read to its place in a chunk's buffer.
  struct Placed {
    BufferRef buffer;
    std::uint8_t* start;
    std::size_t whole, have;
    // Its head stands on what was received before.
    std::array<std::uint8_t, kFrameHeaderBytes + kDataHeaderBytes> under_head;
  };
  std::optional<Placed> placed_;
  std::uint64_t frames_ = 0;  // completed, and times that reading went on after a pause
  bool frame_watched_ = false;
  std::size_t unconsumed_ = 0;
  bool lagging_ = false;  // the control thread: reading is paused
  Throttle down_;
  bool held_down_ = false;  // by it: reading is paused as well
  Time held_since_{};
  Duration held_for_{0};  // in all, since the frame is watched
  ChunkInbox inbox_;
  ToldRanges lacks_;                   // the other side, by its word
  std::optional<ChunkData> progress_;  // not told yet
  // Held by each job at the writer, until its verdict is told.
  std::shared_ptr<bool> verdicts_ = std::make_shared<bool>();

  Outbox outbox_;
  SendPace pace_;
  Throttle up_;
  bool held_up_ = false;  // by it: a wake-up is to come
  bool pumps_soon_ = false;
  bool writing_ = false;   // one write at a time: what waits can still be overtaken
  Bytes out_;              // the messages being written
  Outbox::Filled filled_;  // and the data frame after them
  bool finishing_ = false;
  bool shut_ = false;
  bool closed_ = false;
  std::shared_ptr<Connection> self_;  // held until the socket's close callback
};

}  // namespace p2p::net
