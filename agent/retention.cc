#include "agent/retention.h"

#include <algorithm>

namespace p2p::agent {

std::vector<ContentId> to_remove(const std::vector<Kept>& kept, const RetentionLimits& limits,
                                 std::int64_t now, std::uint64_t room_bytes,
                                 std::size_t room_contents) {
  std::uint64_t bytes = room_bytes;
  std::size_t contents = kept.size() + room_contents;
  std::vector<Kept> candidates;
  for (const Kept& one : kept) {
    bytes += one.bytes;
    if (!one.pinned && !one.in_use) candidates.push_back(one);
  }
  std::sort(candidates.begin(), candidates.end(), [](const Kept& a, const Kept& b) {
    return a.last_used != b.last_used ? a.last_used < b.last_used : a.content < b.content;
  });
  std::vector<ContentId> removed;
  for (const Kept& one : candidates) {
    const bool too_old =
        limits.max_idle_seconds > 0 && now - one.last_used >= limits.max_idle_seconds;
    const bool too_much = (limits.max_bytes > 0 && bytes > limits.max_bytes) ||
                          (limits.max_contents > 0 && contents > limits.max_contents);
    if (!too_old && !too_much) break;  // those that follow were used later
    removed.push_back(one.content);
    bytes -= one.bytes;
    --contents;
  }
  return removed;
}

}  // namespace p2p::agent
