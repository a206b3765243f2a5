// ChunkInbox: the chunks that one connection is receiving. Says where the next data belongs, so
// that it can be read straight to there, collects it, and keeps what was not asked for out. Owned
// by a connection, used on its lane only.
//
// A sender gives one chunk after another, each from its start. So the next data frame is taken to
// go on with the chunk that is being received, or to begin another. Where it does not, its payload
// is copied to where it belongs: correct for every order, and fast for that one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "base/bytes.h"
#include "base/result.h"
#include "content/layout.h"
#include "net/chunk_buffer.h"

namespace p2p::net {

inline constexpr std::size_t kDataHeaderBytes = 8;  // u32 chunk, u32 offset within it

class ChunkInbox {
 public:
  struct Progress {
    ChunkIndex chunk;
    std::uint32_t bytes;  // payload of this frame
    // Where the frame was the chunk's last: all of it, not hashed yet. Null otherwise, and for
    // dropped chunks.
    BufferRef whole;
  };

  // A request for a chunk, or for any chunk, is on its way out.
  void on_requested(ChunkIndex chunk);
  void on_requested_any() { ++any_credits_; }
  // The other side names the chunk it chose. Its data may follow before the control thread has
  // heard of it.
  Status on_give(ChunkIndex chunk, const Layout& layout);
  void on_reject(ChunkIndex chunk);
  void on_any_rejected();
  // Frees what was received of the chunk; its data still on the way is read and thrown away.
  void drop(ChunkIndex chunk);

  // May a data frame come at all?
  bool expects_data() const { return !expected_.empty() || !dropped_.empty(); }
  // Makes sure that there is memory for the next data frame. False: the pool has none now and will
  // call `retry`. Not to be called where no data is expected.
  bool make_room(BufferPool& pool, const Layout& layout, std::function<void()> retry);
  struct Place {
    BufferRef buffer;  // holds the memory, whatever becomes of the chunk meanwhile
    std::uint8_t* payload = nullptr;
  };
  // Where the payload of the next data frame is taken to belong, after make_room(). Nowhere (null),
  // where that is less than it claims to be.
  Place place_for(std::size_t payload_bytes, const Layout& layout);

  // The body of a data frame, after make_room(). If the payload stands where it belongs it stays
  // there. An error means that the other side breaks the protocol.
  Result<Progress> on_data(ByteView body, const Layout& layout, BufferPool& pool);

 private:
  struct Assembly {
    BufferRef buffer;  // of the layout's chunk size; null while nothing has come in
    std::uint32_t received = 0;
  };
  Assembly* current();
  void forget(ChunkIndex chunk);

  std::map<ChunkIndex, Assembly> expected_;
  std::set<ChunkIndex> dropped_;  // ends with the last of its data, or a Reject
  std::optional<ChunkIndex> current_;
  BufferRef next_;  // for the chunk that comes after it
  std::uint32_t any_credits_ = 0;
};

}  // namespace p2p::net
