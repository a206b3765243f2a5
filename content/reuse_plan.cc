#include "content/reuse_plan.h"

#include <algorithm>
#include <mutex>

#include "content/on_threads.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

// Where runs of the new content that touch also touch in the old one, they are one run.
void append(std::vector<ReusePlan::Known>& known, const ReusePlan::Known& next) {
  if (!known.empty()) {
    ReusePlan::Known& last = known.back();
    if (last.offset + last.bytes == next.offset && last.place.source == next.place.source &&
        last.place.offset + last.bytes == next.place.offset) {
      last.bytes += next.bytes;
      return;
    }
  }
  known.push_back(next);
}

// Joins ranges until there are at most so many, over the shortest known runs first.
void join_ranges(std::vector<ByteRange>& ranges, std::size_t most) {
  if (ranges.size() <= most) return;
  std::vector<std::uint32_t> gaps;
  for (std::size_t i = 1; i < ranges.size(); ++i)
    gaps.push_back(ranges[i].offset - ranges[i - 1].offset - ranges[i - 1].bytes);
  std::vector<std::uint32_t> sorted = gaps;
  const auto longest_joined =
      sorted.begin() + static_cast<std::ptrdiff_t>(ranges.size() - most - 1);
  std::nth_element(sorted.begin(), longest_joined, sorted.end());
  const std::uint32_t bound = *longest_joined;
  std::vector<ByteRange> joined = {ranges.front()};
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (gaps[i - 1] <= bound)
      joined.back().bytes = ranges[i].offset + ranges[i].bytes - joined.back().offset;
    else
      joined.push_back(ranges[i]);
  }
  ranges = std::move(joined);
}

}  // namespace

ReusePlan::ReusePlan(Layout layout, std::shared_ptr<const OldContents> old,
                     std::vector<Known> known)
    : layout_(layout) {
  const auto source = std::make_shared<const Source>(Source{std::move(old), std::move(known)});
  source_ = source;
  std::size_t ranges = 0;
  for (std::uint32_t least = kMinKnownBytes;; least *= 2) {
    find_missing(*source, least);
    ranges = 0;
    for (const PartialChunk& partial : partial_) ranges += partial.missing.size();
    if (ranges <= kMaxRanges || least >= layout_.chunk_bytes) break;
  }
  // A content of more chunks than that: the last of them are fetched whole.
  for (; ranges > kMaxRanges; partial_.pop_back()) {
    const PartialChunk& last = partial_.back();
    ranges -= last.missing.size();
    known_bytes_ -= layout_.length_of(last.chunk) - bytes_of_ranges(last.missing);
  }
}

std::size_t ReusePlan::Source::first_known(std::uint64_t offset) const {
  const auto found = std::partition_point(known.begin(), known.end(), [&](const Known& one) {
    return one.offset + one.bytes <= offset;
  });
  return static_cast<std::size_t>(found - known.begin());
}

void ReusePlan::find_missing(const Source& source, std::uint32_t min_known_bytes) {
  const std::vector<Known>& known = source.known;
  whole_ = Bitfield(layout_.chunk_count());
  partial_.clear();
  known_bytes_ = 0;
  for (ChunkIndex chunk = 0; chunk < layout_.chunk_count(); ++chunk) {
    const std::uint64_t start = layout_.offset_of(chunk), end = start + layout_.length_of(chunk);
    std::vector<ByteRange> missing;
    // A known run that is too short to be left out is passed over, unless it touches another.
    std::uint64_t known_to = start;
    const auto miss = [&](std::uint64_t from, std::uint64_t to) {
      if (from == to) return;
      const auto offset = static_cast<std::uint32_t>(from - start);
      const auto bytes = static_cast<std::uint32_t>(to - from);
      if (!missing.empty() &&
          offset - missing.back().offset - missing.back().bytes < min_known_bytes)
        missing.back().bytes = offset + bytes - missing.back().offset;
      else
        missing.push_back({offset, bytes});
    };
    for (std::size_t i = source.first_known(start); i < known.size() && known[i].offset < end;
         ++i) {
      miss(known_to, std::max(known[i].offset, start));
      known_to = std::min(known[i].offset + known[i].bytes, end);
    }
    miss(known_to, end);
    join_ranges(missing, kMaxRangesOfChunk);
    const std::uint64_t missing_bytes = bytes_of_ranges(missing);
    known_bytes_ += end - start - missing_bytes;
    if (missing.empty())
      whole_.set(chunk);
    else if (missing_bytes < end - start)
      partial_.push_back({chunk, std::move(missing)});
  }
}

const PartialChunk* ReusePlan::partial_of(ChunkIndex chunk) const {
  return find_partial(partial_, chunk);
}

std::shared_ptr<const ReusePlan::Source> ReusePlan::source() const {
  const std::lock_guard lock(mutex_);
  return source_;
}

void ReusePlan::let_go() const {
  const std::lock_guard lock(mutex_);
  source_.reset();
}

// Known runs that are fetched as well stand in no range: what came for them is kept.
Status ReusePlan::fill(ChunkIndex chunk, MutableBytes bytes) const {
  const auto source = this->source();
  if (!source) return Error{ErrorCode::kInterrupted, "the older versions are not read any more"};
  const std::uint64_t start = layout_.offset_of(chunk), end = start + bytes.size();
  const PartialChunk* const partial = partial_of(chunk);
  const std::span<const ByteRange> missing =
      partial ? std::span<const ByteRange>(partial->missing) : std::span<const ByteRange>();
  std::size_t next = 0;
  const std::vector<Known>& all = source->known;
  for (std::size_t i = source->first_known(start); i < all.size() && all[i].offset < end; ++i) {
    const Known& known = all[i];
    std::uint64_t at = std::max(known.offset, start);
    const std::uint64_t to = std::min(known.offset + known.bytes, end);
    while (at < to) {
      // The fetched range that this run lies in, or that comes next.
      while (next < missing.size() && start + missing[next].offset + missing[next].bytes <= at)
        ++next;
      const std::uint64_t fetched = next < missing.size() ? start + missing[next].offset : to;
      if (fetched <= at) {
        at = std::min(to, start + missing[next].offset + missing[next].bytes);
        continue;
      }
      const std::uint64_t until = std::min(fetched, to);
      P2P_TRY(source->old->read({known.place.source, known.place.offset + (at - known.offset)},
                                bytes.subspan(at - start, until - at)));
      at = until;
    }
  }
  return {};
}

Result<Bitfield> ReusePlan::compose(const Manifest& manifest, const Bitfield& have,
                                    ChunkWriter& writer, const HashJob& job) const {
  std::mutex mutex;  // guards what follows
  Bitfield composed(whole_.size());
  ChunkIndex next = 0;
  Status failed;
  on_threads(job.threads, whole_.count(), [&] {
    Bytes bytes;
    for (;;) {
      ChunkIndex chunk;
      {
        const std::lock_guard lock(mutex);
        chunk = whole_.next_set_not_in(have, next);
        if (chunk >= whole_.size() || !failed || job.stop.stop_requested()) return;
        next = chunk + 1;
      }
      bytes.resize(layout_.length_of(chunk));
      const bool good = fill(chunk, bytes) && chunk_digest(bytes) == manifest.chunk_hashes[chunk];
      Status written = good ? writer.write_chunk(chunk, bytes) : Status();
      const std::lock_guard lock(mutex);
      if (!written && failed) failed = std::move(written);
      if (good && failed) composed.set(chunk);
    }
  });
  if (!failed) return std::move(failed).error();
  if (job.stop.stop_requested())
    return Error{ErrorCode::kInterrupted, "interrupted while reading an older version"};
  return composed;
}

ReuseSearch::ReuseSearch(std::shared_ptr<const Outline> outline, std::shared_ptr<OldContents> old)
    : outline_(std::move(outline)), old_(std::move(old)) {
  for (std::size_t i = 0; i < outline_->groups.size(); ++i) {
    const Segment& group = outline_->groups[i];
    if (const auto place = old_->find_group(group))
      known_.push_back({outline_->starts[i], group.bytes, *place});
    else
      missing_groups_.push_back(static_cast<std::uint32_t>(i));
  }
}

bool ReuseSearch::is_worthwhile() const {
  std::uint64_t found = 0;
  for (const ReusePlan::Known& known : known_) found += known.bytes;
  const std::uint64_t all =
      outline_->groups.empty() ? 0 : outline_->end_of(outline_->groups.size() - 1);
  return found > 0 && found >= all / kWorthwhileShare;
}

void ReuseSearch::add_detail(std::size_t first_group, const std::vector<Segment>& segments) {
  std::uint64_t offset = outline_->starts[first_group];
  for (const Segment& segment : segments) {
    if (const auto place = old_->find_segment(segment))
      append(known_, {offset, segment.bytes, *place});
    offset += segment.bytes;
  }
}

std::shared_ptr<const ReusePlan> ReuseSearch::plan(const Layout& layout) {
  std::sort(known_.begin(), known_.end(), [](const ReusePlan::Known& a, const ReusePlan::Known& b) {
    return a.offset < b.offset;
  });
  std::vector<ReusePlan::Known> joined;
  for (const ReusePlan::Known& known : known_) append(joined, known);
  known_ = {};
  old_->forget_index();
  return std::make_shared<const ReusePlan>(layout, old_, std::move(joined));
}

}  // namespace p2p
