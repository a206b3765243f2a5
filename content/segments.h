// Segments: where the bytes of a content are cut by what they are, not by where they stand. So the
// same bytes are the same segments in two versions of a file, however far they were moved.
//
// A *segment* is about a kibibyte, a *group* a run of about 32 segments. Both have a hash, by which
// an older version is searched for them: first for whole groups, which are few enough to be listed
// for a large content, then for the segments of those groups that were not found. Small segments
// are what makes a small change cheap: of two releases of a source tree of 1.3 GB 9 MB are missing
// by these segments, and 37 MB by segments of 8 KiB, whose list is as long as the list of groups
// and the segments that are asked for together.
//
// Nothing here is trusted. A chunk that was put together from an older version is checked against
// its hash in the manifest like any other: wrong segments cost time.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace p2p {

inline constexpr std::uint32_t kMinSegmentBytes = 256;
inline constexpr std::uint32_t kMaxSegmentBytes = 8 * 1024;
// Up to this length a cut is rarer than beyond it, so that most segments are about as long.
inline constexpr std::uint32_t kUsualSegmentBytes = 1024;
inline constexpr std::uint32_t kMaxSegmentsInGroup = 128;
// A group ends where a segment of the greatest size would lead past it.
inline constexpr std::uint32_t kMaxGroupBytes = 256 * 1024;
// Each run of so many bytes, from the content's start, is cut by itself: several threads can, and
// what lies at any place can be cut without all before it.
inline constexpr std::uint64_t kStripBytes = 64 * 1024 * 1024;

struct Segment {  // or a group
  std::uint32_t bytes = 0;
  std::uint64_t hash = 0;  // segment_hash
  bool operator==(const Segment&) const = default;
};

// The length of the group that begins where `run` does. `run` reaches to the end of its strip, or
// has kMaxGroupBytes at least.
std::uint32_t group_length(ByteView run);

// The segments of a group, which is given whole.
std::vector<Segment> segments_of(ByteView group);

}  // namespace p2p
