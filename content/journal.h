// Journal: which chunks of an unfinished download are verified and synced. One checksummed record,
// replaced whole (temporary file, sync, rename, sync of the folder), and only after the data it
// speaks of is on disk.
//
// Bytes: "p2pj", u32 version, 32-byte content id, u32 chunk count, bitfield, 32-byte BLAKE3 of all
// before it.
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
