// Hashing many chunks over several threads: the loop that scans and checks share.
#pragma once

#include <functional>

#include "base/id.h"
#include "content/chunk_reader.h"

namespace p2p {

// Calls `each` for every chunk in `which`, from one thread at a time, in no particular order.
Status hash_chunks(const Layout& layout, const ChunkReader& reader, const Bitfield& which,
                   const HashJob& job, const std::function<void(ChunkIndex, Result<Digest>)>& each);

}  // namespace p2p
