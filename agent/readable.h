// Readable: a content that can be read while its chunks still come in, by any number of readers on
// any threads.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "content/bitfield.h"
#include "content/chunk_reader.h"
#include "content/manifest.h"
#include "net/http_server.h"

namespace p2p::agent {

class Readable {
 public:
  Readable(std::shared_ptr<const Manifest> manifest, std::shared_ptr<const ChunkReader> reader,
           Bitfield have);

  const Manifest& manifest() const { return *manifest_; }

  // A chunk is verified. Readers that wait for it go on.
  void add(ChunkIndex chunk);
  // Nothing more comes: who waits for more fails.
  void close();

  // The chunks that readers wait for now.
  std::vector<ChunkIndex> waited_for() const;

  // Bytes of the content's run, from `first` on, for an answer. Keeps the readable.
  static std::shared_ptr<net::HttpBody> body(std::shared_ptr<Readable> readable,
                                             std::uint64_t first, std::uint64_t length);

 private:
  class Body;
  enum class Chunk { kHere, kComing, kGone };
  // `wake` is called when it is no longer kComing.
  Chunk look(const Body* reader, ChunkIndex chunk, const std::function<void()>& wake);
  void forget(const Body* reader);

  struct Waiting {
    ChunkIndex chunk;
    std::function<void()> wake;
  };
  const std::shared_ptr<const Manifest> manifest_;
  const std::shared_ptr<const ChunkReader> reader_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  Bitfield have_;
  bool closed_ = false;
  std::map<const Body*, Waiting> waiting_;
};

}  // namespace p2p::agent
