// Which contents an agent's store lets go of. A policy without clock or disk: what there is goes
// in, what is to be removed comes out.
#pragma once

#include <cstdint>
#include <vector>

#include "base/id.h"

namespace p2p::agent {

struct Kept {
  ContentId content;
  std::uint64_t bytes = 0;
  std::int64_t last_used = 0;  // seconds since 1970
  bool pinned = false;
  bool in_use = false;  // being fetched, read or copied out, or by a peer that lacks chunks
};

struct RetentionLimits {
  std::uint64_t max_bytes = 0;        // of all contents together; 0: no limit
  std::int64_t max_idle_seconds = 0;  // one that nobody used for so long goes; 0: never
  std::size_t max_contents = 0;       // 0: no limit
};

// What goes now, the least recently used first: all that is too old, then as much as is needed for
// `room_bytes` more in `room_contents` more contents to be within the limits. Never what is pinned
// or in use; so there may be less room afterwards than asked for.
std::vector<ContentId> to_remove(const std::vector<Kept>& kept, const RetentionLimits& limits,
                                 std::int64_t now, std::uint64_t room_bytes = 0,
                                 std::size_t room_contents = 0);

}  // namespace p2p::agent
