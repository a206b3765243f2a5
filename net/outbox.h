// Outbox: what waits to be sent on one connection. Messages go ahead of chunks at every frame
// boundary, so that news of the schedule does not grow old behind data; frames are sealed at the
// last moment, since their nonces count in the order of the wire. Used on the connection's lane
// only.
#pragma once

#include <deque>
#include <optional>

#include "crypto/channel.h"
#include "net/events.h"

namespace p2p::net {

class Outbox {
 public:
  // What a fill() took of the chunks.
  struct Filled {
    std::optional<ChunkIndex> ends;             // its last frame is in
    std::optional<ChunkUnreadable> unreadable;  // it was given up
  };

  // Of the handshake: sent as it is, before everything else.
  void push_plain(ByteView bytes) { plain_.insert(plain_.end(), bytes.begin(), bytes.end()); }
  void push_message(Bytes body);
  void push_chunk(ChunkIndex chunk) { chunks_.push_back({chunk}); }
  // False: it is not here, or all of it was taken.
  bool drop_chunk(ChunkIndex chunk);
  void drop_chunks() { chunks_.clear(); }

  // Of messages and the handshake.
  std::size_t message_bytes() const { return plain_.size() + message_bytes_; }
  bool empty() const { return plain_.empty() && messages_.empty() && chunks_.empty(); }

  // Takes what is to be written next: messages, and a data frame with at most this much payload.
  // Everything is sealed and stands at the start of `out`, which grows where it must; `used` says
  // how much it is. `sealer` and `io` may be null where there are no messages and no chunks.
  Filled fill(Bytes& out, std::size_t& used, Sealer* sealer, const ContentIo* io,
              std::size_t payload_bytes);

 private:
  struct Outgoing {
    ChunkIndex chunk;
    std::uint32_t offset = 0;
  };
  Filled fill_data(Bytes& out, std::size_t& used, Sealer& sealer, const ContentIo& io,
                   std::size_t payload_bytes);

  Bytes plain_;
  std::deque<Bytes> messages_;  // bodies
  std::size_t message_bytes_ = 0;
  std::deque<Outgoing> chunks_;
};

}  // namespace p2p::net
