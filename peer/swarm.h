// Swarm: one content's exchange of chunks with its neighbours; sans-IO. It decides what to ask of
// whom and what to send to whom. It knows chunks by index and length only: bytes, hashes and disks
// are the shell's.
//
// The policies stand in files of their own: availability.h (who has what, in buckets),
// chunk_picker.h (rarest first, random ties), request_window.h (how much to ask for, from measured
// rates), upload_queue.h (slots, newcomers first, the seeder's choice of chunk), straggler rules in
// swarm.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/id.h"
#include "base/random.h"
#include "base/time.h"
#include "content/bitfield.h"
#include "content/layout.h"
#include "peer/messages.h"

namespace p2p::peer {

using ConnectionId = std::uint64_t;  // the shell's name for a connection; never reused

struct SwarmConfig {
  // One total window over all neighbours: at least this many chunks outstanding, more where rate x
  // window_time asks for it, never more bytes than the cap (they are buffered until verified) and
  // never more than kMaxQueuedRequests a peer.
  std::uint32_t min_window_chunks = 4;
  Duration window_time = std::chrono::milliseconds(50);
  std::uint64_t max_window_bytes = 32 * 1024 * 1024;
  // Chunks being sent at once, over all neighbours.
  std::uint32_t upload_slots = 4;
  // A request is overdue after this multiple of the time that the peer's own rate promises, plus
  // the floor.
  double overdue_factor = 3;
  Duration overdue_floor = std::chrono::seconds(1);
  // No byte for a request in this time: the peer is dropped.
  Duration stuck_after = std::chrono::seconds(20);
  Duration keep_alive = std::chrono::seconds(30);
  Duration silence = std::chrono::seconds(90);
};

struct SendMessage {
  ConnectionId connection;
  Message message;
};
// Accept this chunk's data frames from this connection. Ends in on_chunk_verified or
// on_chunk_corrupt, or by DropChunk.
struct ReceiveChunk {
  ConnectionId connection;
  ChunkIndex chunk;
};
// Free what was received; what is still on its way for it is read and thrown away.
struct DropChunk {
  ConnectionId connection;
  ChunkIndex chunk;
};
// Read the chunk and send all of it. Ends in on_chunk_sent, on_chunk_unreadable or on_send_stopped.
struct SendChunk {
  ConnectionId connection;
  ChunkIndex chunk;
};
// Stop as soon as possible; answered by on_send_stopped, or by on_chunk_sent where it was too late.
struct StopSending {
  ConnectionId connection;
  ChunkIndex chunk;
};
struct Disconnect {
  ConnectionId connection;
  Bye bye;           // sent first
  bool ban = false;  // this peer is not to be met again for this content
};
enum class Problem { kCorruptChunk, kSourceChanged, kStuck };
// For the person: what went wrong with whom.
struct Report {
  ConnectionId connection;
  PeerId peer;
  Problem problem;
  ChunkIndex chunk;
};
// Every chunk is verified. Once.
struct Completed {};
using SwarmAction = std::variant<SendMessage, ReceiveChunk, DropChunk, SendChunk, StopSending,
                                 Disconnect, Report, Completed>;

struct SwarmStats {
  std::uint64_t received_bytes = 0;   // payload, duplicates and corrupt ones too
  std::uint64_t sent_bytes = 0;       // whole chunks sent
  std::uint64_t duplicate_bytes = 0;  // received in vain
  std::uint32_t corrupt_chunks = 0;
  std::uint32_t neighbours = 0;
  std::uint32_t complete_neighbours = 0;
};

class Swarm {
 public:
  Swarm(SwarmConfig config, Layout layout, Bitfield have, Random random, Time now);
  ~Swarm();

  // A neighbour that has said Join and been admitted. We have the manifest (or there would be no
  // Swarm): Chunks is sent.
  void on_connected(ConnectionId connection, const PeerId& peer, Time now);
  // Chunks, Have, Lost, Request, Give, Cancel, Reject. The node keeps the other messages.
  void on_message(ConnectionId connection, const Message& message, Time now);
  void on_disconnected(ConnectionId connection, Time now);

  // Payload bytes of a chunk came in: for the rates and the deadlines. Any number of them may be
  // told at once.
  void on_data(ConnectionId connection, ChunkIndex chunk, std::uint32_t bytes, Time now);
  // A chunk came in whole, matched its hash and is on disk.
  void on_chunk_verified(ConnectionId connection, ChunkIndex chunk, Time now);
  void on_chunk_corrupt(ConnectionId connection, ChunkIndex chunk, Time now);

  void on_chunk_sent(ConnectionId connection, ChunkIndex chunk, Time now);
  void on_send_stopped(ConnectionId connection, ChunkIndex chunk, Time now);
  // The source changed or cannot be read: the chunk is given up and the neighbours are told.
  void on_chunk_unreadable(ConnectionId connection, ChunkIndex chunk, Time now);

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<SwarmAction> poll_action();

  const Bitfield& have() const;
  bool complete() const;
  // Is there a neighbour that has a chunk we lack?
  bool has_useful_neighbour() const;
  SwarmStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace p2p::peer
