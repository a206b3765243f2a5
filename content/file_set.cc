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

FileStamp stamp_of(const struct stat& status) {
  return {static_cast<std::uint64_t>(status.st_size),
          std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec,
          static_cast<std::uint64_t>(status.st_ino)};
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

  std::string path_of(std::size_t file) const {
    const std::string& path = manifest->entries[files[file].entry].path;
    return path.empty() ? name : path;
  }
  std::filesystem::path shown_path(std::size_t file) const {
    return manifest->root == Manifest::Root::kFile ? root : root / path_of(file);
  }

  Result<std::shared_ptr<Fd>> descriptor(std::size_t file);
  Result<Fd> open_file(std::size_t file);
  std::vector<Span> spans(std::uint64_t offset, std::size_t bytes) const;
  Status check_stamp(std::size_t file, int fd) const;
};

Result<Fd> FileSet::Impl::open_file(std::size_t file) {
  const std::string path = path_of(file);
  const std::filesystem::path shown =
      manifest->root == Manifest::Root::kFile ? root.parent_path() : root;
  if (mode == Mode::kRead) return open_beneath(folder.get(), path, O_RDONLY, 0, shown);
  auto opened = open_beneath(folder.get(), path, O_RDWR | O_CREAT, 0666, shown);
  if (opened || path.find('/') == std::string::npos) return opened;
  P2P_TRY(make_folders_beneath(folder.get(), path, false, shown));
  return open_beneath(folder.get(), path, O_RDWR | O_CREAT, 0666, shown);
}

Result<std::shared_ptr<Fd>> FileSet::Impl::descriptor(std::size_t file) {
  std::lock_guard lock(mutex);
  if (const auto found = open.find(file); found != open.end()) {
    recent.splice(recent.begin(), recent, found->second);
    return recent.front().second;
  }
  P2P_ASSIGN(Fd fd, open_file(file));
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
  if (stamp_of(status) == stamps[file]) return {};
  return Error{ErrorCode::kCorrupt,
               absl::StrCat("source changed since it was seeded: ", shown_path(file).string(),
                            "; it is not served any more. Stop this seeder and seed it again")};
}

FileSet::FileSet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileSet::~FileSet() = default;

Result<std::unique_ptr<FileSet>> FileSet::open(std::shared_ptr<const Manifest> manifest,
                                               const std::filesystem::path& root, Mode mode) {
  auto impl = std::make_unique<Impl>();
  impl->root = root;
  impl->mode = mode;
  impl->layout = manifest->layout();
  const bool single = manifest->root == Manifest::Root::kFile;
  const std::filesystem::path absolute = std::filesystem::absolute(root);
  const std::filesystem::path folder = single ? absolute.parent_path() : absolute;
  impl->name = absolute.filename();
  // What we write into is ours and no symlink; a source may be reached through one.
  const int follow = mode == Mode::kWrite ? O_NOFOLLOW : 0;
  impl->folder = Fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | follow));
  if (!impl->folder) return system_error("open the folder", folder, errno);
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
    P2P_ASSIGN(const auto fd, impl_->descriptor(span.file));
    P2P_TRY(impl_->check_stamp(span.file, fd->get()));
    P2P_TRY(read_all(fd->get(), to, span.bytes, static_cast<off_t>(span.offset),
                     impl_->shown_path(span.file)));
    to += span.bytes;
  }
  return {};
}

Status FileSet::write(ChunkIndex chunk, ByteView bytes) {
  P2P_CHECK(impl_->mode == Mode::kWrite && bytes.size() == impl_->layout.length_of(chunk));
  const std::uint8_t* from = bytes.data();
  for (const Span& span : impl_->spans(impl_->layout.offset_of(chunk), bytes.size())) {
    P2P_ASSIGN(const auto fd, impl_->descriptor(span.file));
    P2P_TRY(write_all(fd->get(), from, span.bytes, static_cast<off_t>(span.offset),
                      impl_->shown_path(span.file)));
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
  for (std::size_t i = 0; i < impl_->files.size(); ++i) {
    struct stat status {};
    if (fstatat(impl_->folder.get(), impl_->path_of(i).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return system_error("look at", impl_->shown_path(i), errno);
    stamps.push_back(stamp_of(status));
  }
  return stamps;
}

Result<Bitfield> FileSet::chunks_with_data() const {
  const Layout& layout = impl_->layout;
  Bitfield chunks(layout.chunk_count());
  for (std::size_t i = 0; i < impl_->files.size(); ++i) {
    const Impl::File& file = impl_->files[i];
    if (file.size == 0) continue;
    // Not there yet, or not readable: no data.
    auto opened = open_beneath(impl_->folder.get(), impl_->path_of(i), O_RDONLY, 0, impl_->root);
    if (!opened) continue;
    for (off_t at = 0; static_cast<std::uint64_t>(at) < file.size;) {
      off_t data = lseek(opened->get(), at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;
      if (data < 0) data = at;  // the file system knows no holes: all of it may be data
      off_t hole = lseek(opened->get(), data, SEEK_HOLE);
      if (hole <= data) hole = static_cast<off_t>(file.size);
      const std::uint64_t end =
          std::min<std::uint64_t>(static_cast<std::uint64_t>(hole), file.size);
      if (static_cast<std::uint64_t>(data) >= end) break;
      for (std::uint64_t c = (file.start + static_cast<std::uint64_t>(data)) / layout.chunk_bytes;
           c <= (file.start + end - 1) / layout.chunk_bytes; ++c)
        chunks.set(static_cast<ChunkIndex>(c));
      at = static_cast<off_t>(end);
    }
  }
  return chunks;
}

}  // namespace p2p
