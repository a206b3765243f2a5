// Outbox: what waits to be sent on one connection. Messages go ahead of chunks at every frame
// boundary, so that news of the schedule does not grow old behind data; frames are sealed at the
// last moment, since their nonces count in the order of the wire. Used on the connection's lane
// only; what is read from disk for it is read elsewhere and handed in.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "content/layout.h"
#include "content/partial_chunk.h"
#include "crypto/channel.h"
#include "net/chunk_buffer.h"
#include "net/wire_message.h"

namespace p2p::net {

class Outbox {
 public:
  // Chunks are read in blocks of this size or less, and sealed and sent from where they were read.
  static constexpr std::uint32_t kBlockBytes = 256 * 1024;
  // So much is read before it can be sent, so that neither the disk nor the network waits.
  static constexpr std::uint32_t kAheadBytes = 2 * kBlockBytes;
  // Reads under way; those for chunks that were taken back since count too.
  static constexpr int kMaxReads = 2;

  // A part of what is sent of a chunk.
  struct Block {
    ChunkIndex chunk;
    std::uint32_t offset;  // within what is sent of it
    std::uint32_t bytes;
    std::vector<ByteRange> ranges;  // where these bytes lie in the chunk, one after another
  };
  // What a fill() took of the chunks.
  struct Filled {
    // A sealed data frame, to be sent after `out`; empty where there is none. It is good until the
    // next fill, and as long as `buffer` is held.
    MutableBytes frame;
    BufferRef buffer;
    std::optional<ChunkIndex> ends;  // it is the last frame of this chunk
  };

  // Of the handshake: sent as it is, before everything else.
  void push_plain(ByteView bytes);
  void push_message(const WireMessage& message);
  // Of a chunk with ranges, only these are sent.
  void push_chunk(ChunkIndex chunk, std::vector<ByteRange> ranges = {}) {
    chunks_.push_back({chunk, std::move(ranges)});
  }
  // False: it is not here, or all of it was taken.
  bool drop_chunk(ChunkIndex chunk);
  void drop_chunks() { chunks_.clear(); }

  // What is to be read next, which counts as under way from now on; nothing while enough is.
  std::optional<Block> next_read(const Layout& layout);
  // It was read, to the start of the buffer's payload. Every next_read() is answered by this, or by
  // on_unreadable().
  void on_read(const Block& block, BufferRef buffer);
  // The chunk is given up. False: it had been taken back already.
  bool on_unreadable(const Block& block);

  // Of messages and the handshake.
  std::size_t message_bytes() const { return messages_.size(); }
  bool empty() const { return messages_.empty() && chunks_.empty(); }
  // Is there something that can be sent now? Of a chunk?
  bool ready() const { return !messages_.empty() || has_data(); }
  bool has_data() const { return !chunks_.empty() && !chunks_.front().blocks.empty(); }

  // Takes what is to be written next: all messages, sealed, which become `out`, and a data frame
  // with at most this much payload; 0: none. `sealer` may be null where there are no messages and
  // no chunks. What the last fill gave must have been sent.
  Filled fill(Bytes& out, Sealer* sealer, const Layout& layout, std::size_t payload_bytes);

 private:
  struct Loaded {
    std::uint32_t offset, bytes;
    BufferRef buffer;
  };
  struct Outgoing {
    ChunkIndex chunk;
    std::vector<ByteRange> ranges = {};  // empty: the whole chunk
    std::uint32_t taken = 0;             // by fill()
    std::uint32_t loaded = 0;            // read so far
    std::uint32_t asked = 0;             // by next_read()
    std::deque<Loaded> blocks = {};
  };
  static std::uint32_t length_of(const Outgoing& sending, const Layout& layout);
  static ByteRange range_at(const Outgoing& sending, std::uint32_t offset, std::uint32_t most);
  static std::vector<ByteRange> ranges_of(const Outgoing& sending, std::uint32_t offset,
                                          std::uint32_t bytes);
  Filled fill_data(Sealer& sealer, const Layout& layout, std::size_t payload_bytes);
  std::vector<Outgoing>::iterator find(ChunkIndex chunk);

  // What is plain, then frames that are to be sealed where they stand.
  Bytes messages_;
  std::size_t plain_bytes_ = 0;
  std::vector<Outgoing> chunks_;  // few; a deque holds memory for what is not there
  int reads_ = 0;
  // The start of the payload that the last frame's tag stands on.
  std::array<std::uint8_t, kFrameTagBytes> under_tag_;
};

}  // namespace p2p::net
