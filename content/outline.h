// Outline: the groups of segments of a content, in order (content/segments.h). Whoever has the
// content can make it, and finds the same. A detail is the segments of some of its groups.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "content/chunk_reader.h"
#include "content/layout.h"
#include "content/segments.h"

namespace p2p {

// On the wire: u24 bytes, u64 hash for each group; for each segment of a detail u16 bytes, u64
// hash.
inline constexpr std::size_t kGroupRecordBytes = 11;
inline constexpr std::size_t kSegmentRecordBytes = 10;
// Encoded; that of a content of about 250 GB. A larger one has no outline.
inline constexpr std::size_t kMaxOutlineBytes = 64 * 1024 * 1024;

struct Outline {
  std::vector<Segment> groups;
  std::vector<std::uint64_t> starts;  // of each, within the content

  explicit Outline(std::vector<Segment> in_order = {});
  std::uint64_t end_of(std::size_t group) const { return starts[group] + groups[group].bytes; }
};

// Fills `out` from `offset` within the content on, which may lead over many chunks.
Status read_run(const Layout& layout, const ChunkReader& reader, std::uint64_t offset,
                MutableBytes out);

// What cannot be read is an error, or is left out.
enum class Unreadable { kFails, kPassedOver };

// Cuts a content into groups, a strip after another on several threads: `each` is called from many
// at once, for the groups of a strip in order. Where it may be passed over, a strip ends before
// what cannot be read. Errors: of the reader; kInterrupted.
using EachGroup = std::function<void(std::uint64_t offset, ByteView group)>;
Status walk_groups(const Layout& layout, const ChunkReader& reader, const HashJob& job,
                   const EachGroup& each, Unreadable unreadable = Unreadable::kFails);

// kLimit where it would be longer than kMaxOutlineBytes.
Result<Outline> make_outline(const Layout& layout, const ChunkReader& reader, const HashJob& job);

Bytes encode_outline(const Outline& outline);
// kMalformed for what is not the outline of a content of this length: groups of no bytes or of too
// many, too few or too many in all.
Result<Outline> decode_outline(ByteView bytes, std::uint64_t total_bytes);

// The detail of the groups from `first` on, encoded. Reads them.
Result<Bytes> make_detail(const Outline& outline, std::size_t first, std::size_t count,
                          const Layout& layout, const ChunkReader& reader);
Bytes encode_detail(const std::vector<Segment>& segments);
// kMalformed for segments that do not end where each of the groups does.
Result<std::vector<Segment>> decode_detail(ByteView bytes, const Outline& outline,
                                           std::size_t first, std::size_t count);

}  // namespace p2p
