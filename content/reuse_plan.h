// ReusePlan: which bytes of each chunk of a new content are in older ones, and where. Made once,
// then shared by threads and never changed, but for the end of its use.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.h"
#include "content/bitfield.h"
#include "content/chunk_reader.h"
#include "content/old_contents.h"
#include "content/partial_chunk.h"

namespace p2p {

// A shorter known run between two missing ones is fetched as well: to leave it out costs as much as
// to send it (a range in a message, a frame of its own).
inline constexpr std::uint32_t kMinKnownBytes = 64;

// Details are about a hundredth of a content. Where less than this share of it is in groups that
// were found they are not worth it: hardly anything is likely to be found by them.
inline constexpr std::uint64_t kWorthwhileShare = 128;  // one byte in so many

class ReusePlan {
 public:
  // A run of the new content that an old one has.
  struct Known {
    std::uint64_t offset;
    std::uint64_t bytes;
    OldPlace place;
  };
  // `known`: in ascending order, not overlapping.
  ReusePlan(Layout layout, std::shared_ptr<const OldContents> old, std::vector<Known> known);

  // All of the chunk is in the old contents, as it seems.
  const Bitfield& whole() const { return whole_; }
  // By chunk.
  const std::vector<PartialChunk>& partial() const { return partial_; }
  // Null for a chunk that is known whole, or not at all.
  const PartialChunk* partial_of(ChunkIndex chunk) const;
  std::uint64_t known_bytes() const { return known_bytes_; }  // as it seems

  // Fills in what is known of the chunk; `bytes` is all of it. Errors: of the readers; kInterrupted
  // after let_go().
  Status fill(ChunkIndex chunk, MutableBytes bytes) const;
  // Nothing more is to be filled in: the old contents are closed, and what is remembered of them is
  // forgotten, once nobody reads them. Thread-safe, as fill() is.
  void let_go() const;
  // Puts the chunks of whole() that are not in `have` together, and writes those that match their
  // hash. What cannot be read, or does not match, is to be fetched. Errors: of the writer;
  // kInterrupted.
  Result<Bitfield> compose(const Manifest& manifest, const Bitfield& have, ChunkWriter& writer,
                           const HashJob& job) const;

 private:
  // What is needed to fill in chunks.
  struct Source {
    std::shared_ptr<const OldContents> old;
    std::vector<Known> known;
    std::size_t first_known(std::uint64_t offset) const;
  };
  void find_missing(const Source& source, std::uint32_t min_known_bytes);
  std::shared_ptr<const Source> source() const;

  Layout layout_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Source> source_;  // guarded by mutex_; null once it was let go
  Bitfield whole_;
  std::vector<PartialChunk> partial_;
  std::uint64_t known_bytes_ = 0;
};

// Puts together what is known, from the groups of the outline that were found and, of the others,
// the segments that were. The steps of a search:
//   1. OldContents::index_groups
//   2. ReuseSearch(outline, old): missing_groups() are those whose details are wanted
//   3. OldContents::index_segments, where there are any; then add_detail() for each that came
//   4. plan()
class ReuseSearch {
 public:
  ReuseSearch(std::shared_ptr<const Outline> outline, std::shared_ptr<OldContents> old);

  const std::vector<std::uint32_t>& missing_groups() const { return missing_groups_; }
  // See kWorthwhileShare.
  bool is_worthwhile() const;
  // Of consecutive groups, of which each is missing.
  void add_detail(std::size_t first_group, const std::vector<Segment>& segments);
  // Once. The old contents forget what was searched in them.
  std::shared_ptr<const ReusePlan> plan(const Layout& layout);

 private:
  std::shared_ptr<const Outline> outline_;
  std::shared_ptr<OldContents> old_;
  std::vector<std::uint32_t> missing_groups_;
  std::vector<ReusePlan::Known> known_;
};

}  // namespace p2p
