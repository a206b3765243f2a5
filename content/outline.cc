#include "content/outline.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "content/on_threads.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

// What is held of a strip: a group is cut where all that may belong to it is there, and what is
// left of the last read is moved to the front. Small enough for the core's own cache.
constexpr std::size_t kBufferBytes = 2 * kMaxGroupBytes;

Error malformed(const char* problem) {
  return Error{ErrorCode::kMalformed, absl::StrCat("outline: ", problem)};
}

std::uint32_t get_u24(const std::uint8_t* in) {
  return std::uint32_t{in[0]} << 16 | get_u16(in + 1);
}

void put_u24(std::uint8_t* out, std::uint32_t value) {
  out[0] = static_cast<std::uint8_t>(value >> 16);
  put_u16(out + 1, static_cast<std::uint16_t>(value));
}

Status walk_strip(const Layout& layout, const ChunkReader& reader, std::uint64_t start,
                  std::uint64_t end, const HashJob& job, Bytes& buffer, const EachGroup& each) {
  std::size_t held = 0;
  for (std::uint64_t at = start; at < end;) {
    const auto wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size() - held, end - at - held));
    P2P_TRY(read_run(layout, reader, at + held, MutableBytes(buffer).subspan(held, wanted)));
    held += wanted;
    const bool last = at + held == end;
    std::size_t used = 0;
    while (used < held && (last || held - used >= kMaxGroupBytes)) {
      const ByteView rest = ByteView(buffer).subspan(used, held - used);
      const std::uint32_t length = group_length(rest);
      each(at + used, rest.first(length));
      used += length;
    }
    at += used;
    held -= used;
    std::memmove(buffer.data(), buffer.data() + used, held);
    if (job.stop.stop_requested())
      return Error{ErrorCode::kInterrupted, "interrupted while cutting into segments"};
  }
  return {};
}

}  // namespace

Outline::Outline(std::vector<Segment> in_order) : groups(std::move(in_order)) {
  starts.reserve(groups.size());
  std::uint64_t start = 0;
  for (const Segment& group : groups) {
    starts.push_back(start);
    start += group.bytes;
  }
}

Status read_run(const Layout& layout, const ChunkReader& reader, std::uint64_t offset,
                MutableBytes out) {
  while (!out.empty()) {
    const auto chunk = static_cast<ChunkIndex>(offset / layout.chunk_bytes);
    const auto within = static_cast<std::uint32_t>(offset % layout.chunk_bytes);
    const auto part = std::min<std::size_t>(out.size(), layout.length_of(chunk) - within);
    P2P_TRY(reader.read(chunk, within, out.first(part)));
    offset += part;
    out = out.subspan(part);
  }
  return {};
}

Status walk_groups(const Layout& layout, const ChunkReader& reader, const HashJob& job,
                   const EachGroup& each, Unreadable unreadable) {
  const std::uint64_t strips = (layout.total_bytes + kStripBytes - 1) / kStripBytes;
  std::mutex mutex;  // guards what follows, and the calls of progress
  std::uint64_t next = 0, done = 0;
  Status failed;
  on_threads(job.threads, static_cast<std::size_t>(strips), [&] {
    Bytes buffer(kBufferBytes);
    for (;;) {
      std::uint64_t start;
      {
        const std::lock_guard lock(mutex);
        if (next == strips || !failed) return;
        start = next++ * kStripBytes;
      }
      const std::uint64_t end = std::min(start + kStripBytes, layout.total_bytes);
      Status walked = walk_strip(layout, reader, start, end, job, buffer, each);
      const std::lock_guard lock(mutex);
      const bool passed_over = !walked && unreadable == Unreadable::kPassedOver &&
                               walked.error().code != ErrorCode::kInterrupted;
      if (!walked && failed && !passed_over) failed = std::move(walked);
      done += end - start;
      if (job.progress) job.progress(done, layout.total_bytes);
    }
  });
  return failed;
}

Result<Outline> make_outline(const Layout& layout, const ChunkReader& reader, const HashJob& job) {
  const auto too_long = [] {
    return Error{ErrorCode::kLimit, absl::StrCat("the content is too large for an outline: ",
                                                 kMaxOutlineBytes, " bytes are the most")};
  };
  // What cannot fit is not read: groups have kMaxGroupBytes at most.
  if (layout.total_bytes / kMaxGroupBytes * kGroupRecordBytes > kMaxOutlineBytes) return too_long();
  // Each strip has its place: threads share nothing.
  std::vector<std::vector<Segment>> strips(
      static_cast<std::size_t>((layout.total_bytes + kStripBytes - 1) / kStripBytes));
  P2P_TRY(walk_groups(layout, reader, job, [&](std::uint64_t offset, ByteView group) {
    strips[static_cast<std::size_t>(offset / kStripBytes)].push_back(
        {static_cast<std::uint32_t>(group.size()), segment_hash(group)});
  }));
  std::vector<Segment> all;
  for (const std::vector<Segment>& strip : strips)
    all.insert(all.end(), strip.begin(), strip.end());
  if (all.size() * kGroupRecordBytes > kMaxOutlineBytes) return too_long();
  return Outline(std::move(all));
}

Bytes encode_outline(const Outline& outline) {
  Bytes bytes(outline.groups.size() * kGroupRecordBytes);
  std::uint8_t* out = bytes.data();
  for (const Segment& group : outline.groups) {
    put_u24(out, group.bytes);
    put_u64(out + 3, group.hash);
    out += kGroupRecordBytes;
  }
  return bytes;
}

Result<Outline> decode_outline(ByteView bytes, std::uint64_t total_bytes) {
  if (bytes.size() > kMaxOutlineBytes) return malformed("too long");
  if (bytes.size() % kGroupRecordBytes != 0) return malformed("not a whole number of groups");
  std::vector<Segment> groups;
  groups.reserve(bytes.size() / kGroupRecordBytes);
  std::uint64_t left = total_bytes;
  for (; !bytes.empty(); bytes = bytes.subspan(kGroupRecordBytes)) {
    const Segment group{get_u24(bytes.data()), get_u64(bytes.data() + 3)};
    if (group.bytes == 0 || group.bytes > kMaxGroupBytes || group.bytes > left)
      return malformed("a group of no bytes, or of too many");
    left -= group.bytes;
    groups.push_back(group);
  }
  if (left != 0) return malformed("does not reach to the end of the content");
  return Outline(std::move(groups));
}

Result<Bytes> make_detail(const Outline& outline, std::size_t first, std::size_t count,
                          const Layout& layout, const ChunkReader& reader) {
  P2P_CHECK(first + count <= outline.groups.size());
  std::vector<Segment> all;
  Bytes group;
  for (std::size_t i = first; i < first + count; ++i) {
    group.resize(outline.groups[i].bytes);
    P2P_TRY(read_run(layout, reader, outline.starts[i], group));
    const std::vector<Segment> segments = segments_of(group);
    all.insert(all.end(), segments.begin(), segments.end());
  }
  return encode_detail(all);
}

Bytes encode_detail(const std::vector<Segment>& segments) {
  Bytes bytes(segments.size() * kSegmentRecordBytes);
  std::uint8_t* out = bytes.data();
  for (const Segment& segment : segments) {
    put_u16(out, static_cast<std::uint16_t>(segment.bytes));
    put_u64(out + 2, segment.hash);
    out += kSegmentRecordBytes;
  }
  return bytes;
}

Result<std::vector<Segment>> decode_detail(ByteView bytes, const Outline& outline,
                                           std::size_t first, std::size_t count) {
  P2P_CHECK(first + count <= outline.groups.size());
  if (bytes.size() % kSegmentRecordBytes != 0 ||
      bytes.size() / kSegmentRecordBytes > count * kMaxSegmentsInGroup)
    return malformed("not a whole number of segments, or too many");
  std::vector<Segment> segments;
  segments.reserve(bytes.size() / kSegmentRecordBytes);
  for (std::size_t group = first; group < first + count; ++group) {
    for (std::uint32_t left = outline.groups[group].bytes; left > 0;) {
      if (bytes.empty()) return malformed("a group whose segments do not reach to its end");
      const Segment segment{get_u16(bytes.data()), get_u64(bytes.data() + 2)};
      if (segment.bytes == 0 || segment.bytes > kMaxSegmentBytes || segment.bytes > left)
        return malformed("a segment of no bytes, or of too many");
      left -= segment.bytes;
      segments.push_back(segment);
      bytes = bytes.subspan(kSegmentRecordBytes);
    }
  }
  if (!bytes.empty()) return malformed("segments of no group");
  return segments;
}

}  // namespace p2p
