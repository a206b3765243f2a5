// HashCache: hash records in a folder of the user's own, one file for each path that was scanned.
// It only ever saves time: what is missing, harmed or not ours is as if it were not there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/id.h"
#include "base/result.h"
#include "content/hash_record.h"

namespace p2p {

struct HashCacheLimits {
  // Past either, the records that were used longest ago go.
  std::uint64_t bytes = 256 * 1024 * 1024;
  std::size_t records = 1000;
};

class HashCache {
 public:
  // The folder is made when something is first kept; its parent must exist by then.
  explicit HashCache(std::filesystem::path folder, HashCacheLimits limits = {});

  // What a record is of: the path, with its symlinks resolved, and the chunk size that was asked
  // for (0: none).
  static Result<Digest> key_of(const std::filesystem::path& path, std::uint32_t chunk_bytes);

  std::optional<HashRecord> load(const Digest& key) const;
  // Whole or not at all, whoever else keeps one at the same time; then makes room. Readable by the
  // user alone.
  Status save(const Digest& key, const HashRecord& record) const;
  // It was of use: it goes later than others.
  void touch(const Digest& key) const;

 private:
  std::filesystem::path file_of(const Digest& key) const;
  void make_room() const;

  std::filesystem::path folder_;
  HashCacheLimits limits_;
};

}  // namespace p2p
