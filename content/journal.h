// Journal: which chunks of an unfinished download are verified and synced. One checksummed record,
// replaced whole (temporary file, sync, rename, sync of the folder), and only after the data it
// speaks of is on disk.
//
// A checked record (content/checked_record.h) "p2pj" of a content id. Its body: u32 chunk count,
// bitfield.
#pragma once

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "content/bitfield.h"

namespace p2p {

Bytes encode_journal(const ContentId& content, const Bitfield& verified);
// Errors: kMalformed for anything that is not a whole, unharmed journal of this content and size.
Result<Bitfield> decode_journal(ByteView bytes, const ContentId& content, ChunkIndex chunk_count);

}  // namespace p2p
