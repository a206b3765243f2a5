// ChunkInbox: the chunks that one connection is receiving. Collects data frames, hashes while they
// are hot, and keeps what was not asked for out. Owned by a connection, used on its lane only.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "content/layout.h"
#include "crypto/digest.h"

namespace p2p::net {

inline constexpr std::size_t kDataHeaderBytes = 8;  // u32 chunk, u32 offset within it

class ChunkInbox {
 public:
  struct Progress {
    ChunkIndex chunk;
    std::uint32_t bytes;  // payload of this frame
    // Where the frame was the chunk's last: the whole chunk and its digest. Empty otherwise, and
    // for dropped chunks.
    Bytes whole;
    Digest digest;
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

  // The body of a data frame. An error means that the other side breaks the protocol.
  Result<Progress> on_data(ByteView body, const Layout& layout);

 private:
  struct Assembly {
    Bytes bytes;
    std::uint32_t received = 0;
    Hasher hasher;
  };
  std::map<ChunkIndex, Assembly> expected_;
  std::set<ChunkIndex> dropped_;  // ends with the last of its data, or a Reject
  std::uint32_t any_credits_ = 0;
};

}  // namespace p2p::net
