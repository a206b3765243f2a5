#include <algorithm>
#include <memory>
#include <mutex>

#include "base/cache.h"
#include "content/chunk_reader.h"
#include "content/hash_chunks.h"
#include "content/on_threads.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

// What is read at once: it is still in the core's own cache when it is hashed, and so many times
// larger than a call costs. (On 5 GiB in the page cache a whole chunk at once took twice as long.)
constexpr std::size_t kReadBytes = 128 * 1024;

// The kernel copies to it faster than to one that lies between cache lines.
struct alignas(kCacheLineBytes) ReadBuffer {
  std::uint8_t bytes[kReadBytes];
};

Result<Digest> hash_chunk(const ChunkReader& reader, ChunkIndex chunk, std::uint32_t length,
                          ReadBuffer& buffer) {
  Hasher hasher;
  for (std::uint32_t at = 0; at < length;) {
    const auto part =
        MutableBytes(buffer.bytes).first(std::min<std::size_t>(kReadBytes, length - at));
    P2P_TRY(reader.read(chunk, at, part));
    hasher.update(part);
    at += static_cast<std::uint32_t>(part.size());
  }
  return hasher.finish();
}

}  // namespace

Status hash_chunks(const Layout& layout, const ChunkReader& reader, const Bitfield& which,
                   const HashJob& job,
                   const std::function<bool(ChunkIndex, Result<Digest>)>& each) {
  const std::uint64_t total = bytes_of_chunks(layout, which);
  std::mutex mutex;  // guards what follows, and the calls out
  ChunkIndex next = 0;
  std::uint64_t done = 0;
  const auto work = [&] {
    const auto buffer = std::make_unique<ReadBuffer>();
    for (;;) {
      ChunkIndex chunk;
      {
        std::lock_guard lock(mutex);
        chunk = which.next_set(next);
        if (chunk >= which.size() || job.stop.stop_requested()) return;
        next = chunk + 1;
      }
      const std::uint32_t length = layout.length_of(chunk);
      Result<Digest> digest = hash_chunk(reader, chunk, length, *buffer);
      std::lock_guard lock(mutex);
      done += length;
      if (!each(chunk, std::move(digest))) next = which.size();
      if (job.progress) job.progress(done, total);
    }
  };
  on_threads(job.threads, which.count(), work);
  if (job.stop.stop_requested()) return Error{ErrorCode::kInterrupted, "interrupted while hashing"};
  return {};
}

Status hash_readable_chunks(const Layout& layout, const ChunkReader& reader, const Bitfield& which,
                            const HashJob& job,
                            const std::function<void(ChunkIndex, const Digest&)>& each) {
  Status failed;
  P2P_TRY(hash_chunks(layout, reader, which, job, [&](ChunkIndex chunk, Result<Digest> digest) {
    if (digest)
      each(chunk, *digest);
    else if (failed)
      failed = std::move(digest).error();
    return digest.has_value();
  }));
  return failed;
}

Result<Bitfield> check_readable_chunks(const Manifest& manifest, const ChunkReader& reader,
                                       const Bitfield& candidates, const HashJob& job) {
  Bitfield good(candidates.size());
  P2P_TRY(hash_readable_chunks(manifest.layout(), reader, candidates, job,
                               [&](ChunkIndex chunk, const Digest& digest) {
                                 if (digest == manifest.chunk_hashes[chunk]) good.set(chunk);
                               }));
  return good;
}

Result<Bitfield> check_chunks(const Manifest& manifest, const ChunkReader& reader,
                              const Bitfield& candidates, const HashJob& job) {
  Bitfield good(candidates.size());
  P2P_TRY(hash_chunks(manifest.layout(), reader, candidates, job,
                      [&](ChunkIndex chunk, const Result<Digest>& digest) {
                        if (digest && *digest == manifest.chunk_hashes[chunk]) good.set(chunk);
                        return true;
                      }));
  return good;
}

}  // namespace p2p
