#include "content/old_contents.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "content/on_threads.h"
#include "content/scan.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

// Groups that a thread takes at once to cut them into segments.
constexpr std::size_t kGroupsAtOnce = 64;

}  // namespace

OldContents::OldContents(std::vector<OldSource> sources) : sources_(std::move(sources)) {}

Result<OldSource> OldContents::source_at(const std::filesystem::path& path) {
  std::error_code failure;
  if (!std::filesystem::exists(path, failure))
    return Error{failure ? ErrorCode::kIo : ErrorCode::kUsage,
                 absl::StrCat("no older version at ", path.string(),
                              failure ? ": " + failure.message() : ": there is nothing")};
  auto listing = list_path(path);
  if (!listing)
    return Error{ErrorCode::kIo, absl::StrCat("cannot use ", path.string(),
                                              " as an older version: ", listing.error().message)};
  return OldSource{listing->manifest->layout(), std::move(listing->files)};
}

Result<std::unique_ptr<OldContents>> OldContents::open(
    const std::vector<std::filesystem::path>& paths) {
  std::vector<OldSource> sources;
  for (const std::filesystem::path& path : paths) {
    P2P_ASSIGN(OldSource source, source_at(path));
    sources.push_back(std::move(source));
  }
  return std::make_unique<OldContents>(std::move(sources));
}

void OldContents::sort(std::vector<Entry>& entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tuple(a.hash, a.source + 0u, a.offset) <
           std::tuple(b.hash, b.source + 0u, b.offset);
  });
}

std::vector<OldContents::Entry>::const_iterator OldContents::find(const std::vector<Entry>& entries,
                                                                  const Segment& segment) {
  auto found =
      std::lower_bound(entries.begin(), entries.end(), segment.hash,
                       [](const Entry& entry, std::uint64_t hash) { return entry.hash < hash; });
  while (found != entries.end() && found->hash == segment.hash && found->bytes != segment.bytes)
    ++found;
  return found != entries.end() && found->hash == segment.hash ? found : entries.end();
}

Status OldContents::index_groups(const HashJob& job, Unreadable unreadable) {
  std::mutex mutex;
  for (std::uint32_t source = 0; source < sources_.size(); ++source) {
    const auto add = [&](std::uint64_t offset, ByteView group) {
      const Entry entry{segment_hash(group), static_cast<std::uint32_t>(group.size()), source,
                        false, offset};
      const std::lock_guard lock(mutex);
      groups_.push_back(entry);
    };
    P2P_TRY(walk_groups(sources_[source].layout, *sources_[source].reader, job, add, unreadable));
  }
  sort(groups_);
  return {};
}

Status OldContents::index_segments(const HashJob& job, Unreadable unreadable) {
  std::vector<Entry> left;
  for (const Entry& group : groups_)
    if (!group.found) left.push_back(group);
  std::sort(left.begin(), left.end(), [](const Entry& a, const Entry& b) {
    return std::tuple(a.source + 0u, a.offset) < std::tuple(b.source + 0u, b.offset);
  });
  std::mutex mutex;  // guards segments_ and failed
  Status failed;
  std::atomic<std::size_t> next = 0;
  on_threads(job.threads, left.size() / kGroupsAtOnce + 1, [&] {
    Bytes bytes;
    std::vector<Entry> own;
    for (std::size_t at; (at = next.fetch_add(kGroupsAtOnce)) < left.size();) {
      own.clear();
      for (std::size_t i = at; i < std::min(at + kGroupsAtOnce, left.size()); ++i) {
        const Entry& group = left[i];
        bytes.resize(group.bytes);
        if (Status got = read({group.source, group.offset}, bytes); !got) {
          if (unreadable == Unreadable::kPassedOver) continue;
          const std::lock_guard lock(mutex);
          failed = std::move(got);
          next = left.size();
          return;
        }
        std::uint64_t offset = group.offset;
        for (const Segment& segment : segments_of(bytes)) {
          own.push_back({segment.hash, segment.bytes, group.source, false, offset});
          offset += segment.bytes;
        }
      }
      const std::lock_guard lock(mutex);
      const bool room = segments_.size() + own.size() <= kMaxOldSegments;
      if (room) segments_.insert(segments_.end(), own.begin(), own.end());
      if (!room || job.stop.stop_requested()) next = left.size();
    }
  });
  if (job.stop.stop_requested())
    return Error{ErrorCode::kInterrupted, "interrupted while cutting into segments"};
  sort(segments_);
  return failed;
}

std::optional<OldPlace> OldContents::find_group(const Segment& group) {
  const auto found = find(groups_, group);
  if (found == groups_.end()) return std::nullopt;
  groups_[static_cast<std::size_t>(found - groups_.cbegin())].found = true;
  return OldPlace{found->source, found->offset};
}

std::optional<OldPlace> OldContents::find_segment(const Segment& segment) const {
  const auto found = find(segments_, segment);
  if (found == segments_.end()) return std::nullopt;
  return OldPlace{found->source, found->offset};
}

void OldContents::forget_index() {
  groups_ = {};
  segments_ = {};
}

Status OldContents::read(const OldPlace& place, MutableBytes out) const {
  const OldSource& source = sources_[place.source];
  if (place.offset > source.layout.total_bytes ||
      out.size() > source.layout.total_bytes - place.offset)
    return Error{ErrorCode::kCorrupt, "past the end of an older version"};
  return read_run(source.layout, *source.reader, place.offset, out);
}

}  // namespace p2p
