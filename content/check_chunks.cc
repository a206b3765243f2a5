#include <atomic>
#include <mutex>
#include <thread>

#include "content/chunk_reader.h"
#include "content/hash_chunks.h"
#include "crypto/digest.h"

namespace p2p {

Status hash_chunks(const Layout& layout, const ChunkReader& reader, const Bitfield& which,
                   const HashJob& job,
                   const std::function<void(ChunkIndex, Result<Digest>)>& each) {
  std::uint64_t total = 0;
  for (ChunkIndex i = which.next_set(0); i < which.size(); i = which.next_set(i + 1))
    total += layout.length_of(i);
  std::mutex mutex;  // guards `next`, `done` and the calls out
  ChunkIndex next = 0;
  std::uint64_t done = 0;
  const auto work = [&] {
    Bytes buffer;
    for (;;) {
      ChunkIndex chunk;
      {
        std::lock_guard lock(mutex);
        chunk = which.next_set(next);
        if (chunk >= which.size() || job.stop.stop_requested()) return;
        next = chunk + 1;
      }
      buffer.resize(layout.length_of(chunk));
      Status read = reader.read(chunk, 0, buffer);
      Result<Digest> digest =
          read ? Result<Digest>(chunk_digest(buffer)) : Result<Digest>(std::move(read).error());
      std::lock_guard lock(mutex);
      done += buffer.size();
      each(chunk, std::move(digest));
      if (job.progress) job.progress(done, total);
    }
  };
  unsigned threads = job.threads ? job.threads : std::max(1u, std::thread::hardware_concurrency());
  threads = std::min<unsigned>(threads, std::max<ChunkIndex>(1, which.count()));
  {
    std::vector<std::jthread> helpers;
    for (unsigned i = 1; i < threads; ++i) helpers.emplace_back(work);
    work();
  }
  if (job.stop.stop_requested()) return Error{ErrorCode::kInterrupted, "interrupted while hashing"};
  return {};
}

Result<Bitfield> check_chunks(const Manifest& manifest, const ChunkReader& reader,
                              const Bitfield& candidates, const HashJob& job) {
  Bitfield good(candidates.size());
  P2P_TRY(hash_chunks(manifest.layout(), reader, candidates, job,
                      [&](ChunkIndex chunk, const Result<Digest>& digest) {
                        if (digest && *digest == manifest.chunk_hashes[chunk]) good.set(chunk);
                      }));
  return good;
}

}  // namespace p2p
