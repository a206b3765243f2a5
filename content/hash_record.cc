#include "content/hash_record.h"

#include <algorithm>

#include "content/checked_record.h"

namespace p2p {
namespace {

constexpr RecordKind kHashRecord{"hash record", {'p', '2', 'p', 'h'}, 1, "something else"};

// Within the body.
constexpr std::size_t kChunkBytesAt = 0;
constexpr std::size_t kFilesAt = kChunkBytesAt + 4;
constexpr std::size_t kChunksAt = kFilesAt + 4;
constexpr std::size_t kStampsAt = kChunksAt + 4;
constexpr std::size_t kStampBytes = 4 * 8;

Error malformed(const char* problem) { return malformed_record(kHashRecord, problem); }

bool is_unchanged(const FileStamp& then, const FileStamp& now) {
  return then.inode != 0 && then == now && then.ctime_ns == now.ctime_ns;
}

// A run of bytes within the content.
struct Range {
  std::uint64_t from, to;
};

std::vector<Range> unchanged_ranges(const std::vector<FileStamp>& then,
                                    const std::vector<FileStamp>& now) {
  std::vector<Range> ranges;
  std::uint64_t then_at = 0;
  std::uint64_t now_at = 0;
  for (std::size_t a = 0, b = 0; a < then.size() && b < now.size();) {
    if (then_at == now_at && is_unchanged(then[a], now[b])) {
      const std::uint64_t end = now_at + now[b].size_bytes;
      if (!ranges.empty() && ranges.back().to == now_at)
        ranges.back().to = end;
      else
        ranges.push_back({now_at, end});
      then_at = now_at = end;
      ++a, ++b;
    } else if (then_at + then[a].size_bytes <= now_at + now[b].size_bytes) {
      then_at += then[a++].size_bytes;
    } else {
      now_at += now[b++].size_bytes;
    }
  }
  return ranges;
}

std::uint64_t total_of(const std::vector<FileStamp>& stamps) {
  std::uint64_t total = 0;
  for (const FileStamp& stamp : stamps) total += stamp.size_bytes;
  return total;
}

}  // namespace

Bitfield unchanged_chunks(const HashRecord& record, const Layout& layout,
                          const std::vector<FileStamp>& stamps) {
  Bitfield same(layout.chunk_count());
  if (record.chunk_bytes != layout.chunk_bytes) return same;
  const Layout then{total_of(record.stamps), record.chunk_bytes};
  if (record.chunk_hashes.size() != then.chunk_count()) return same;
  for (const Range& range : unchanged_ranges(record.stamps, stamps)) {
    const std::uint64_t first = (range.from + layout.chunk_bytes - 1) / layout.chunk_bytes;
    for (std::uint64_t i = first; i < std::min(layout.chunk_count(), then.chunk_count()); ++i) {
      const auto chunk = static_cast<ChunkIndex>(i);
      if (layout.offset_of(chunk) + layout.length_of(chunk) > range.to) break;
      // The last one may have been shorter, or longer.
      if (layout.length_of(chunk) == then.length_of(chunk)) same.set(chunk);
    }
  }
  return same;
}

Bytes encode_hash_record(const HashRecord& record, const Digest& key) {
  Bytes body(kStampsAt + record.stamps.size() * kStampBytes +
             record.chunk_hashes.size() * Digest::kSize);
  put_u32(body.data() + kChunkBytesAt, record.chunk_bytes);
  put_u32(body.data() + kFilesAt, static_cast<std::uint32_t>(record.stamps.size()));
  put_u32(body.data() + kChunksAt, static_cast<std::uint32_t>(record.chunk_hashes.size()));
  std::uint8_t* at = body.data() + kStampsAt;
  for (const FileStamp& stamp : record.stamps) {
    put_u64(at, stamp.size_bytes);
    put_u64(at + 8, static_cast<std::uint64_t>(stamp.mtime_ns));
    put_u64(at + 16, static_cast<std::uint64_t>(stamp.ctime_ns));
    put_u64(at + 24, stamp.inode);
    at += kStampBytes;
  }
  for (const Digest& digest : record.chunk_hashes)
    at = std::copy(digest.bytes.begin(), digest.bytes.end(), at);
  return wrap_record(kHashRecord, key.view(), body);
}

Result<HashRecord> decode_hash_record(ByteView bytes, const Digest& key) {
  P2P_ASSIGN(const ByteView body, unwrap_record(kHashRecord, key.view(), bytes));
  if (body.size() < kStampsAt) return malformed("too short");
  const std::uint64_t files = get_u32(body.data() + kFilesAt);
  const std::uint64_t chunks = get_u32(body.data() + kChunksAt);
  if (files > kMaxEntries || chunks > kMaxChunks ||
      body.size() != kStampsAt + files * kStampBytes + chunks * Digest::kSize)
    return malformed("not as long as it says");
  HashRecord record;
  record.chunk_bytes = get_u32(body.data() + kChunkBytesAt);
  record.stamps.reserve(files);
  record.chunk_hashes.reserve(chunks);
  const std::uint8_t* at = body.data() + kStampsAt;
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < files; ++i, at += kStampBytes) {
    FileStamp stamp;
    stamp.size_bytes = get_u64(at);
    stamp.mtime_ns = static_cast<std::int64_t>(get_u64(at + 8));
    stamp.ctime_ns = static_cast<std::int64_t>(get_u64(at + 16));
    stamp.inode = get_u64(at + 24);
    if (stamp.size_bytes > kMaxContentBytes - total) return malformed("larger than any content");
    total += stamp.size_bytes;
    record.stamps.push_back(stamp);
  }
  for (std::uint64_t i = 0; i < chunks; ++i, at += Digest::kSize)
    record.chunk_hashes.push_back(*Digest::from_bytes(ByteView(at, Digest::kSize)));
  if (!is_valid_chunk_size(record.chunk_bytes) ||
      Layout{total, record.chunk_bytes}.chunk_count() != chunks)
    return malformed("its sizes do not fit each other");
  return record;
}

}  // namespace p2p
