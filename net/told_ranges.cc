#include "net/told_ranges.h"

namespace p2p::net {

Status ToldRanges::on_partial(const peer::Partial& partial, const Layout& layout) {
  for (const PartialChunk& chunk : partial.chunks) {
    if (chunk.chunk >= layout.chunk_count())
      return Error{ErrorCode::kMalformed, "lacks parts of a chunk that does not exist"};
    const auto before = ranges_.find(chunk.chunk);
    if (before != ranges_.end()) {
      count_ -= before->second.size();
      ranges_.erase(before);
    }
    if (chunk.missing.empty()) continue;
    if (!are_partial_ranges(chunk.missing, layout.length_of(chunk.chunk)))
      return Error{ErrorCode::kMalformed, "lacks parts that the chunk has not"};
    count_ += chunk.missing.size();
    if (count_ > peer::kMaxRangesTold)
      return Error{ErrorCode::kLimit, "lacks parts of too many chunks"};
    ranges_.emplace(chunk.chunk, chunk.missing);
  }
  return {};
}

}  // namespace p2p::net
