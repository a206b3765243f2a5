// OldContents: older versions that are on disk, searched for the segments of a new content. Only
// their hashes are looked at; what is read from them is checked by who reads it.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "content/chunk_reader.h"
#include "content/outline.h"

namespace p2p {

// Of the old versions, so many segments are remembered (24 bytes each; about 10 GB of what is in no
// group of the new content). What is beyond is not found.
inline constexpr std::size_t kMaxOldSegments = 8'000'000;

// A content that can be read: a file or folder, or what a store has.
struct OldSource {
  Layout layout;
  std::shared_ptr<const ChunkReader> reader;
};

// A run of bytes in one of the old contents.
struct OldPlace {
  std::uint32_t source = 0;
  std::uint64_t offset = 0;
};

class OldContents {
 public:
  explicit OldContents(std::vector<OldSource> sources);
  // A file or folder as it lies there. Errors name the path: kUsage where there is none, kIo where
  // it cannot be read, or holds what no content can.
  static Result<OldSource> source_at(const std::filesystem::path& path);
  // All of them, or the first that fails.
  static Result<std::unique_ptr<OldContents>> open(const std::vector<std::filesystem::path>& paths);

  // First: cuts all of it into groups. Blocking, and reads everything. Then what is not `found` in
  // the new content by its groups is cut into segments; that again reads those parts alone. What
  // is passed over is not found.
  Status index_groups(const HashJob& job, Unreadable unreadable = Unreadable::kFails);
  Status index_segments(const HashJob& job, Unreadable unreadable = Unreadable::kFails);

  // Of a group, which counts as found from now on; of a segment that is in no found group. Nothing
  // where there is none. Not thread-safe.
  std::optional<OldPlace> find_group(const Segment& group);
  std::optional<OldPlace> find_segment(const Segment& segment) const;
  // They can still be read, but nothing is found any more.
  void forget_index();

  // Thread-safe. Errors: of the readers; kCorrupt past the end.
  Status read(const OldPlace& place, MutableBytes out) const;

 private:
  struct Entry {
    std::uint64_t hash;
    std::uint32_t bytes;
    std::uint32_t source : 31, found : 1;
    std::uint64_t offset;
  };
  static void sort(std::vector<Entry>& entries);
  static std::vector<Entry>::const_iterator find(const std::vector<Entry>& entries,
                                                 const Segment& segment);

  std::vector<OldSource> sources_;
  std::vector<Entry> groups_, segments_;  // by hash, then by place
};

}  // namespace p2p
