// ChunkInbox: the chunk that one connection is receiving, and those that may come. Says where the
// next data belongs, so that it can be read straight to there, collects it, and keeps what was not
// asked for out. Owned by a connection, used on its lane only.
//
// A side gives one chunk after another. So a connection holds the memory of one chunk and no more,
// however many were asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "base/bytes.h"
#include "base/result.h"
#include "content/layout.h"
#include "net/chunk_buffer.h"
#include "net/told_ranges.h"

namespace p2p::net {

inline constexpr std::size_t kDataHeaderBytes = 8;  // u32 chunk, u32 offset within it

class ChunkInbox {
 public:
  explicit ChunkInbox(std::shared_ptr<BufferPool> pool) : pool_(std::move(pool)) {}

  // A request for a chunk, or for any chunk, is on its way out.
  void on_requested(ChunkIndex chunk) { expected_.insert(chunk); }
  void on_requested_any() { ++any_credits_; }
  // On its way out: of these chunks no more is expected than what is missing.
  void on_partial(const peer::Partial& partial, const Layout& layout);
  // The other side names the chunk it chose. Its data may follow before the control thread has
  // heard of it.
  Status on_give(ChunkIndex chunk, const Layout& layout);
  void on_reject(ChunkIndex chunk);
  void on_any_rejected();
  // Frees what was received of the chunk; its data still on the way is read and thrown away.
  void drop(ChunkIndex chunk);
  // The connection ends: frees everything.
  void clear();

  // May a data frame come at all?
  bool expects_data() const { return !expected_.empty() || !dropped_.empty(); }
  struct Place {
    BufferRef buffer;  // holds the memory, whatever becomes of the chunk meanwhile
    std::uint8_t* payload = nullptr;
  };
  // Where the payload of the next data frame belongs, if it goes on with the chunk that is being
  // received, or begins one. Nowhere (null) where that is less than it claims to be, or thrown
  // away. Only where data is expected.
  Place place_for(std::size_t payload_bytes, const Layout& layout);

  struct Progress {
    ChunkIndex chunk;
    std::uint32_t bytes;  // payload of this frame
    bool dropped;         // thrown away
    // Where the frame was the chunk's last: all of it, not hashed yet. Null otherwise, and for
    // dropped chunks.
    BufferRef whole;
    // Only its missing ranges came; the rest of `whole` is to be filled in.
    bool partial = false;
  };
  // A data frame's payload, a byte or more. If it stands where it belongs it stays there. With the
  // first frame of a chunk an unfinished one is given up: no more of it may come. An error means
  // that the other side breaks the protocol.
  Result<Progress> on_data(ChunkIndex chunk, std::uint32_t offset, ByteView bytes,
                           const Layout& layout);

 private:
  // Nothing more of the chunk comes.
  void end(ChunkIndex chunk);
  // The one that there is, or a new one.
  std::uint8_t* payload(const Layout& layout);

  // Where the next byte of the chunk belongs, after the first `received_` of those that come; and
  // how many may come without a gap.
  struct Next {
    std::uint32_t offset, bytes;
  };
  Next next_of(ChunkIndex chunk, std::uint32_t length) const;

  std::shared_ptr<BufferPool> pool_;
  ToldRanges told_;
  std::set<ChunkIndex> expected_;
  std::set<ChunkIndex> dropped_;  // ends with the last of its data, or a Reject
  std::uint32_t any_credits_ = 0;
  std::optional<ChunkIndex> current_;  // one of either, begun and not finished
  std::uint32_t received_ = 0;         // bytes of it; 0 where there is none
  std::uint32_t next_offset_ = 0;      // where the next belongs; 0 where there is none
  BufferRef buffer_;                   // for it, or for the next
};

}  // namespace p2p::net
