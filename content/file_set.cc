#include "content/file_set.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <mutex>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "content/rooted.h"

namespace p2p {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStamp stamp_of(const struct stat& status) {
  return {static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim),
          static_cast<std::uint64_t>(status.st_ino), nanoseconds(status.st_ctim)};
}

// A run of bytes within one file.
struct Span {
  std::size_t file;  // index into Impl::files
  std::uint64_t offset;
  std::size_t bytes;
};

}  // namespace

struct FileSet::Impl {
  struct File {
    std::uint64_t start;  // within the content
    std::uint64_t size;
    std::size_t entry;  // index into the manifest's entries
  };

  std::shared_ptr<const Manifest> manifest;
  Layout layout;
  std::filesystem::path root;  // for errors
  Mode mode = Mode::kRead;
  Fd folder;                // the root folder, or the one that holds the single file
  std::string name;         // of the single file within it
  std::vector<File> files;  // in the order of the content
  std::vector<FileStamp> stamps;

  // Open descriptors, the most recently used first.
  std::mutex mutex;
  std::list<std::pair<std::size_t, std::shared_ptr<Fd>>> recent;
  std::unordered_map<std::size_t, decltype(recent)::iterator> open;

  bool is_single() const { return manifest->root == Manifest::Root::kFile; }
  const std::string& path_of(std::size_t file) const {
    return is_single() ? name : manifest->entries[files[file].entry].path;
  }
  std::filesystem::path shown_path(std::size_t file) const {
    return is_single() ? root : root / path_of(file);
  }

  Result<std::shared_ptr<Fd>> descriptor(std::size_t file, bool create);
  Result<Fd> open_file(std::size_t file, bool create);
  Opened try_open(std::size_t file, bool create);
  std::vector<Span> spans(std::uint64_t offset, std::size_t bytes) const;
  Status check_stamp(std::size_t file, int fd) const;
  Error changed(std::size_t file, const char* how) const;
  Status look_at_file(std::size_t file, OnDisk& found) const;
};

Error FileSet::Impl::changed(std::size_t file, const char* how) const {
  return Error{ErrorCode::kCorrupt,
               absl::StrCat("source changed: ", shown_path(file).string(), how, "; seed it again")};
}

Opened FileSet::Impl::try_open(std::size_t file, bool create) {
  const int flags = mode == Mode::kRead ? O_RDONLY : create ? O_RDWR | O_CREAT : O_RDWR;
  Opened opened = try_open_beneath(folder.get(), path_of(file), flags, 0666);
  if (opened.error_number != EMFILE && opened.error_number != ENFILE) return opened;
  // We can do with fewer.
  {
    std::lock_guard lock(mutex);
    open.clear();
    recent.clear();
  }
  return try_open_beneath(folder.get(), path_of(file), flags, 0666);
}

Result<Fd> FileSet::Impl::open_file(std::size_t file, bool create) {
  Opened opened = try_open(file, create);
  if (opened.error_number == ENOENT && create && path_of(file).find('/') != std::string::npos) {
    P2P_TRY(make_folders_beneath(folder.get(), path_of(file), false, root));
    opened = try_open(file, create);
  }
  if (opened.fd) return std::move(opened.fd);
  if (!stamps.empty() && is_missing_or_other(opened.error_number))
    return changed(file, " is gone, or is no file any more");
  return open_error(shown_path(file), opened.error_number);
}

Result<std::shared_ptr<Fd>> FileSet::Impl::descriptor(std::size_t file, bool create) {
  const auto find = [&] {
    const auto found = open.find(file);
    if (found == open.end()) return false;
    recent.splice(recent.begin(), recent, found->second);
    return true;
  };
  {
    std::lock_guard lock(mutex);
    if (find()) return recent.front().second;
  }
  // Meanwhile others open theirs, or the same.
  P2P_ASSIGN(Fd fd, open_file(file, create));
  std::lock_guard lock(mutex);
  if (find()) return recent.front().second;
  recent.emplace_front(file, std::make_shared<Fd>(std::move(fd)));
  open[file] = recent.begin();
  if (recent.size() > kMaxOpenFiles) {
    open.erase(recent.back().first);
    recent.pop_back();
  }
  return recent.front().second;
}

std::vector<Span> FileSet::Impl::spans(std::uint64_t offset, std::size_t bytes) const {
  std::vector<Span> found;
  // The last file that starts at or before the offset; empty files start where the next one does
  // and are skipped.
  auto at =
      std::upper_bound(files.begin(), files.end(), offset,
                       [](std::uint64_t value, const File& file) { return value < file.start; });
  for (auto index = static_cast<std::size_t>(at - files.begin()) - 1; bytes > 0; ++index) {
    const File& file = files[index];
    if (offset >= file.start + file.size) continue;
    const std::uint64_t within = offset - file.start;
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes, file.size - within));
    found.push_back({index, within, length});
    offset += length;
    bytes -= length;
  }
  return found;
}

Status FileSet::Impl::check_stamp(std::size_t file, int fd) const {
  if (stamps.empty()) return {};
  struct stat status {};
  if (fstat(fd, &status) != 0) return system_error("look at", shown_path(file), errno);
  // What we hold open and was replaced or removed is still good, but not to be served any more.
  if (status.st_nlink == 0) return changed(file, " was replaced or removed");
  if (stamp_of(status) == stamps[file]) return {};
  return changed(file, " was written to");
}

FileSet::FileSet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileSet::~FileSet() = default;

Result<std::unique_ptr<FileSet>> FileSet::open(std::shared_ptr<const Manifest> manifest,
                                               const std::filesystem::path& root, Mode mode) {
  const bool single = manifest->root == Manifest::Root::kFile;
  std::error_code failure;
  // A source may be reached through symlinks; what we write into is ours and none.
  std::filesystem::path real = mode == Mode::kRead ? std::filesystem::canonical(root, failure)
                                                   : std::filesystem::absolute(root, failure);
  if (failure) return system_error("find", root, failure.value());
  const std::filesystem::path folder = single ? real.parent_path() : real;
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return system_error("open the folder", folder, errno);
  return open_at(std::move(manifest), std::move(fd), real.filename().string(), root, mode);
}

std::unique_ptr<FileSet> FileSet::open_at(std::shared_ptr<const Manifest> manifest, Fd folder,
                                          std::string name, std::filesystem::path shown,
                                          Mode mode) {
  auto impl = std::make_unique<Impl>();
  impl->root = std::move(shown);
  impl->mode = mode;
  impl->layout = manifest->layout();
  impl->folder = std::move(folder);
  impl->name = std::move(name);
  std::uint64_t start = 0;
  for (std::size_t i = 0; i < manifest->entries.size(); ++i) {
    const Entry& entry = manifest->entries[i];
    if (!entry.is_file()) continue;
    impl->files.push_back({start, entry.size_bytes, i});
    start += entry.size_bytes;
  }
  impl->manifest = std::move(manifest);
  return std::unique_ptr<FileSet>(new FileSet(std::move(impl)));
}

Status FileSet::read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const {
  P2P_CHECK(offset + out.size() <= impl_->layout.length_of(chunk));
  std::uint8_t* to = out.data();
  for (const Span& span : impl_->spans(impl_->layout.offset_of(chunk) + offset, out.size())) {
    P2P_ASSIGN(const auto fd, impl_->descriptor(span.file, false));
    P2P_TRY(impl_->check_stamp(span.file, fd->get()));
    const auto offset_in_file = static_cast<off_t>(span.offset);
    if (const int failure = try_read_all(fd->get(), to, span.bytes, offset_in_file); failure != 0)
      return read_error(failure, impl_->shown_path(span.file));
    to += span.bytes;
  }
  return {};
}

Status FileSet::write(ChunkIndex chunk, ByteView bytes) {
  P2P_CHECK(impl_->mode == Mode::kWrite && bytes.size() == impl_->layout.length_of(chunk));
  const std::uint8_t* from = bytes.data();
  for (const Span& span : impl_->spans(impl_->layout.offset_of(chunk), bytes.size())) {
    P2P_ASSIGN(const auto fd, impl_->descriptor(span.file, true));
    const auto offset_in_file = static_cast<off_t>(span.offset);
    if (const int failure = try_write_all(fd->get(), from, span.bytes, offset_in_file);
        failure != 0)
      return system_error("write", impl_->shown_path(span.file), failure);
    from += span.bytes;
  }
  return {};
}

void FileSet::expect_stamps(std::vector<FileStamp> stamps) {
  P2P_CHECK(stamps.size() == impl_->files.size());
  impl_->stamps = std::move(stamps);
}

Result<std::vector<FileStamp>> FileSet::take_stamps() const {
  std::vector<FileStamp> stamps;
  stamps.reserve(impl_->files.size());
  Looker looker(impl_->folder.get());
  for (std::size_t i = 0; i < impl_->files.size(); ++i) {
    struct stat status {};
    if (const int failure = looker.look(impl_->path_of(i), status); failure != 0)
      return system_error("look at", impl_->shown_path(i), failure);
    if (!S_ISREG(status.st_mode))
      return Error{ErrorCode::kCorrupt, impl_->shown_path(i).string() + " is no file any more"};
    stamps.push_back(stamp_of(status));
  }
  return stamps;
}

Status FileSet::Impl::look_at_file(std::size_t index, OnDisk& found) const {
  const File& file = files[index];
  const std::uint32_t chunk_bytes = layout.chunk_bytes;
  const auto each_chunk = [&](std::uint64_t from, std::uint64_t to, auto&& change) {
    if (from >= to) return;
    for (auto c = (file.start + from) / chunk_bytes; c <= (file.start + to - 1) / chunk_bytes; ++c)
      change(static_cast<ChunkIndex>(c));
  };
  Opened opened = try_open_beneath(folder.get(), path_of(index), O_RDONLY, 0);
  // What is no file is found when it is written to.
  if (!opened.fd && !is_missing_or_other(opened.error_number))
    return open_error(shown_path(index), opened.error_number);
  const auto size = std::min(
      file.size, opened.fd ? static_cast<std::uint64_t>(opened.status.st_size) : std::uint64_t{0});
  each_chunk(size, file.size, [&](ChunkIndex c) { found.whole.reset(c); });
  for (std::uint64_t at = 0; at < size;) {
    off_t data = lseek(opened.fd.get(), static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data < 0) data = static_cast<off_t>(at);  // the file system knows no holes
    const off_t hole = lseek(opened.fd.get(), data, SEEK_HOLE);
    const std::uint64_t end = hole > data ? std::min(size, static_cast<std::uint64_t>(hole)) : size;
    each_chunk(static_cast<std::uint64_t>(data), end, [&](ChunkIndex c) { found.any.set(c); });
    at = end;
  }
  return {};
}

Result<FileSet::OnDisk> FileSet::look_at_disk() const {
  const ChunkIndex count = impl_->layout.chunk_count();
  OnDisk found{Bitfield(count), Bitfield(count, true)};
  for (std::size_t i = 0; i < impl_->files.size(); ++i)
    if (impl_->files[i].size > 0) P2P_TRY(impl_->look_at_file(i, found));
  return found;
}

std::filesystem::path FileSet::path_of(ChunkIndex chunk) const {
  return impl_->shown_path(impl_->spans(impl_->layout.offset_of(chunk), 1).front().file);
}

}  // namespace p2p
