// Hashing many chunks over several threads: the loop that scans and checks share.
#pragma once

#include <functional>

#include "base/id.h"
#include "content/chunk_reader.h"

namespace p2p {

// Calls `each` for every chunk in `which`, from one thread at a time, in no particular order. Soon
// after it has returned false no more are read.
Status hash_chunks(const Layout& layout, const ChunkReader& reader, const Bitfield& which,
                   const HashJob& job, const std::function<bool(ChunkIndex, Result<Digest>)>& each);

// The same, but ends at the first chunk that cannot be read, with that error.
Status hash_readable_chunks(const Layout& layout, const ChunkReader& reader, const Bitfield& which,
                            const HashJob& job,
                            const std::function<void(ChunkIndex, const Digest&)>& each);

// As check_chunks, but a chunk that cannot be read is an error.
Result<Bitfield> check_readable_chunks(const Manifest& manifest, const ChunkReader& reader,
                                       const Bitfield& candidates, const HashJob& job);

}  // namespace p2p
