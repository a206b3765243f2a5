#include "content/segments.h"

#include <algorithm>
#include <array>

#include "crypto/digest.h"

namespace p2p {
namespace {

// The sum rolls over the last 64 bytes: each step shifts what an older byte gave further out. The
// highest bits have seen the most bytes, so the cuts look at them.
constexpr unsigned kWindowBytes = 64;
static_assert(kMinSegmentBytes >= kWindowBytes);
// A cut where the sum is below: one place in 2,048 up to the usual length, one in 512 beyond it.
constexpr std::uint64_t kRareCut = std::uint64_t{1} << (64 - 11);
constexpr std::uint64_t kUsualCut = std::uint64_t{1} << (64 - 9);
// Of cuts, one in 32 ends a group, by bits that the cuts do not look at.
constexpr std::uint64_t kGroupBits = std::uint64_t{31} << 44;

using Gear = std::array<std::uint64_t, 256>;

// A number for each byte, drawn by hashing: docs/protocol.md says how.
const Gear& gear() {
  static const Gear kGear = [] {
    Gear table;
    for (unsigned byte = 0; byte < table.size(); ++byte) {
      Hasher hasher = Hasher::derive("p2p 1 segment gear");
      const auto value = static_cast<std::uint8_t>(byte);
      hasher.update(ByteView(&value, 1));
      table[byte] = get_u64(hasher.finish().bytes.data());
    }
    return table;
  }();
  return kGear;
}

struct Cut {
  std::uint32_t bytes;
  bool ends_group;
};

// Where the segment at the start of `run` ends, which goes to the end of its strip or further than
// any segment.
Cut cut_segment(ByteView run, const Gear& table) {
  const auto most = static_cast<std::uint32_t>(std::min<std::size_t>(run.size(), kMaxSegmentBytes));
  if (most <= kMinSegmentBytes) return {most, false};
  const std::uint8_t* const bytes = run.data();
  std::uint64_t sum = 0;
  std::uint32_t at = kMinSegmentBytes - kWindowBytes;
  while (at < kMinSegmentBytes) sum = (sum << 1) + table[bytes[at++]];
  const auto search = [&](std::uint32_t end, std::uint64_t below) {
    while (at < end) {
      sum = (sum << 1) + table[bytes[at++]];
      if (sum < below) return true;
    }
    return false;
  };
  if (search(std::min(most, kUsualSegmentBytes), kRareCut) || search(most, kUsualCut))
    return {at, (sum & kGroupBits) == 0};
  return {most, false};
}

// Calls each(segment's bytes) for the group at the start of `run`; returns the group's length.
template <typename Each>
std::uint32_t walk_group(ByteView run, const Each& each) {
  const Gear& table = gear();
  std::uint32_t length = 0;
  for (std::uint32_t count = 0; count < kMaxSegmentsInGroup && length < run.size(); ++count) {
    if (length > kMaxGroupBytes - kMaxSegmentBytes) break;
    const Cut cut = cut_segment(run.subspan(length), table);
    each(run.subspan(length, cut.bytes));
    length += cut.bytes;
    if (cut.ends_group) break;
  }
  return length;
}

}  // namespace

std::uint32_t group_length(ByteView run) {
  return walk_group(run, [](ByteView) {});
}

std::vector<Segment> segments_of(ByteView group) {
  std::vector<Segment> segments;
  // Of what is no group the rest goes unlisted, and so is fetched.
  walk_group(group, [&](ByteView segment) {
    segments.push_back({static_cast<std::uint32_t>(segment.size()), segment_hash(segment)});
  });
  return segments;
}

}  // namespace p2p
