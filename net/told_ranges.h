// ToldRanges: which ranges of which chunks one side of a connection lacks, as it told the other
// (peer::Partial). Both sides of a connection keep this, of what they sent and of what they heard,
// on its lane.
#pragma once

#include <map>
#include <vector>

#include "base/result.h"
#include "content/layout.h"
#include "peer/messages.h"

namespace p2p::net {

class ToldRanges {
 public:
  // kMalformed for chunks or ranges that the content has not; kLimit above peer::kMaxRangesTold.
  Status on_partial(const peer::Partial& partial, const Layout& layout);
  // Null: all of it is wanted. Valid until the next message.
  const std::vector<ByteRange>* of(ChunkIndex chunk) const {
    const auto found = ranges_.find(chunk);
    return found == ranges_.end() ? nullptr : &found->second;
  }

 private:
  std::map<ChunkIndex, std::vector<ByteRange>> ranges_;
  std::size_t count_ = 0;  // of ranges, together
};

}  // namespace p2p::net
