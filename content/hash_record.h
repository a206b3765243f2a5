// HashRecord: the chunk hashes that a scan found, with what the files looked like, so that the next
// scan hashes only what has changed since.
//
// A checked record (content/checked_record.h) "p2ph" of a key. Its body, big-endian: u32 chunk
// size, u32 files, u32 chunks; for each file u64 size, i64 mtime, i64 ctime, u64 inode; the chunk
// hashes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "content/bitfield.h"
#include "content/file_set.h"

namespace p2p {

// A file that was written to less than this before it was looked at can be written to again without
// a trace: the time of a file moves in steps, of two seconds on some file systems. It is hashed
// again next time.
inline constexpr std::int64_t kUnsettledNs = 2'000'000'000;

struct HashRecord {
  std::uint32_t chunk_bytes = 0;
  // One for each file, in the content's order; its inode is 0 where it is not to be relied upon.
  std::vector<FileStamp> stamps;
  std::vector<Digest> chunk_hashes;

  bool operator==(const HashRecord&) const = default;
};

// Which chunks of a content of these files have the hash that the record has for them: each that
// lies in files alone which are as they were, at the place where they were.
Bitfield unchanged_chunks(const HashRecord& record, const Layout& layout,
                          const std::vector<FileStamp>& stamps);

// `key` says what the record is of.
Bytes encode_hash_record(const HashRecord& record, const Digest& key);
// kMalformed for anything that is not a whole, unharmed record with that key.
Result<HashRecord> decode_hash_record(ByteView bytes, const Digest& key);

}  // namespace p2p
