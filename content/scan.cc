#include "content/scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "content/hash_chunks.h"
#include "content/path_rules.h"
#include "content/rooted.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

Error special_file(const fs::path& path) {
  return Error{ErrorCode::kIo,
               absl::StrCat(path.string(),
                            " is a FIFO, socket or device: only files, folders and links "
                            "can be seeded")};
}

Error bad_name(const fs::path& path, const Error& why) {
  return Error{why.code, absl::StrCat("cannot seed ", path.string(), ": ", why.message)};
}

Result<std::string> read_link(int folder, const std::string& name, const fs::path& shown) {
  std::string target(kMaxSymlinkBytes + 1, '\0');
  const ssize_t bytes = readlinkat(folder, name.c_str(), target.data(), target.size());
  if (bytes < 0) return system_error("read the link", shown, errno);
  target.resize(static_cast<std::size_t>(bytes));
  if (Status sound = check_symlink_target(target); !sound) return bad_name(shown, sound.error());
  return target;
}

// The entry of what is no folder. `name` is its name in `folder`, `path` within the content.
Result<Entry> make_entry(int folder, const std::string& name, std::string path,
                         const struct stat& status, const fs::path& shown) {
  Entry entry;
  entry.path = std::move(path);
  if (S_ISREG(status.st_mode)) {
    entry.kind = (status.st_mode & S_IXUSR) ? Entry::Kind::kExecutable : Entry::Kind::kFile;
    entry.size_bytes = static_cast<std::uint64_t>(status.st_size);
  } else if (S_ISLNK(status.st_mode)) {
    entry.kind = Entry::Kind::kSymlink;
    P2P_ASSIGN(entry.target, read_link(folder, name, shown));
  } else {
    return special_file(shown);
  }
  return entry;
}

// The names in a folder but "." and "..". Read at once, so that a deep walk holds few buffers.
Result<std::vector<std::string>> names_in(const Fd& folder, const fs::path& shown) {
  P2P_ASSIGN(Fd copy, duplicate(folder, shown));
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(fdopendir(copy.get()), closedir);
  if (!listing) return system_error("list the folder", shown, errno);
  copy.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(listing.get());
    if (!entry) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
    if (names.size() > kMaxEntries) break;  // the walk refuses them
  }
  if (errno != 0) return system_error("list the folder", shown, errno);
  return names;
}

// Everything below `folder`, not sorted. `prefix` is the folder's path within the content, with a
// '/' at its end. By descriptors: paths may be longer than one call takes, and a folder that is
// swapped for a symlink meanwhile leads nowhere. check_path bounds the depth.
Status walk(const Fd& folder, const std::string& prefix, const fs::path& shown_folder,
            std::vector<Entry>& entries) {
  P2P_ASSIGN(const std::vector<std::string> names, names_in(folder, shown_folder));
  for (const std::string& name : names) {
    const fs::path shown = shown_folder / name;
    std::string path = prefix + name;
    if (Status sound = check_path(path); !sound) return bad_name(shown, sound.error());
    struct stat status {};
    if (fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return system_error("look at", shown, errno);
    if (S_ISDIR(status.st_mode)) {
      const Fd child(
          openat(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!child) return system_error("list the folder", shown, errno);
      P2P_TRY(walk(child, path + "/", shown, entries));
    } else {
      P2P_ASSIGN(Entry entry, make_entry(folder.get(), name, std::move(path), status, shown));
      entries.push_back(std::move(entry));
    }
    if (entries.size() > kMaxEntries)
      return Error{ErrorCode::kLimit,
                   absl::StrCat(shown_folder.string(), " is in a tree of more than ", kMaxEntries,
                                " entries; seed it in parts, or as an archive")};
  }
  if (names.empty() && !prefix.empty())
    entries.push_back(
        {Entry::Kind::kEmptyFolder, prefix.substr(0, prefix.size() - 1), 0, std::string()});
  return {};
}

// Names, sizes and kinds; no hashes yet.
Result<Manifest> list(const fs::path& path) {
  Manifest manifest;
  manifest.name = path.filename().string();
  if (Status sound = check_name(manifest.name); !sound) return bad_name(path, sound.error());
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return system_error("look at", path, errno);
  if (S_ISDIR(status.st_mode)) {
    manifest.root = Manifest::Root::kFolder;
    const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) return system_error("list the folder", path, errno);
    P2P_TRY(walk(folder, "", path, manifest.entries));
    std::sort(manifest.entries.begin(), manifest.entries.end(),
              [](const Entry& a, const Entry& b) { return a.path < b.path; });
  } else {
    P2P_ASSIGN(Entry entry, make_entry(AT_FDCWD, path.string(), "", status, path));
    manifest.entries.push_back(std::move(entry));
  }
  return manifest;
}

Result<fs::path> resolved(const fs::path& path) {
  std::error_code failure;
  fs::path real = fs::canonical(path, failure);
  if (failure) return system_error("find", path, failure.value());
  return real;
}

Error changed_while_hashed(const fs::path& path) {
  return Error{ErrorCode::kCorrupt,
               absl::StrCat(path.string(),
                            " changed while it was hashed; try again when nobody writes to it")};
}

// All that can be refused before anything is hashed. Room for the hashes is made.
Status prepare(Manifest& manifest, const fs::path& given, const ScanOptions& options) {
  std::uint64_t total = 0;
  for (const Entry& entry : manifest.entries) {
    // Sparse files may claim so much that the sum would overflow.
    if (entry.size_bytes > kMaxContentBytes - total)
      return Error{ErrorCode::kLimit,
                   absl::StrCat(given.string(), " has more than ", kMaxContentBytes, " bytes")};
    total += entry.size_bytes;
  }
  manifest.chunk_bytes = options.chunk_bytes.value_or(pick_chunk_bytes(total));
  if (!is_valid_chunk_size(manifest.chunk_bytes))
    return Error{ErrorCode::kUsage, absl::StrCat("a chunk size of ", manifest.chunk_bytes,
                                                 " bytes: it is a power of two from ",
                                                 kMinChunkBytes, " to ", kMaxChunkBytes)};
  const ChunkIndex chunks = Layout{total, manifest.chunk_bytes}.chunk_count();
  if (chunks > kMaxChunks)
    return Error{ErrorCode::kLimit,
                 absl::StrCat(given.string(), " would have more than ", kMaxChunks,
                              " chunks; choose a larger --chunk-size")};
  manifest.chunk_hashes.resize(chunks);
  if (encoded_manifest_bytes(manifest) > kMaxManifestBytes)
    return Error{ErrorCode::kLimit,
                 absl::StrCat("the manifest of ", given.string(), " is over the limit of ",
                              kMaxManifestBytes, " bytes; seed it in parts, or as an archive")};
  return validate_manifest(manifest);
}

// The first file whose stamp is not as the walk or the first look saw it.
Status compare_stamps(const Manifest& manifest, const std::vector<FileStamp>& before,
                      const std::vector<FileStamp>& after, const fs::path& root) {
  std::size_t file = 0;
  for (const Entry& entry : manifest.entries) {
    if (!entry.is_file()) continue;
    if (before[file] != after[file] || before[file].size_bytes != entry.size_bytes)
      return changed_while_hashed(entry.path.empty() ? root : root / entry.path);
    ++file;
  }
  return {};
}

std::int64_t system_clock_ns() {
  return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

// What the next scan may rely upon: files that were the same before and after, and had been so for
// a while at the first look.
HashRecord record_of(const Manifest& manifest, std::vector<FileStamp> before,
                     const std::vector<FileStamp>& after, std::int64_t first_look_ns) {
  for (std::size_t i = 0; i < before.size(); ++i) {
    FileStamp& stamp = before[i];
    if (stamp != after[i] || stamp.ctime_ns != after[i].ctime_ns ||
        std::max(stamp.mtime_ns, stamp.ctime_ns) > first_look_ns - kUnsettledNs)
      stamp.inode = 0;
  }
  return {manifest.chunk_bytes, std::move(before), manifest.chunk_hashes};
}

// Fills in what is known; the chunks that are left.
Bitfield take_known(Manifest& manifest, const HashRecord& known,
                    const std::vector<FileStamp>& stamps) {
  const Layout layout = manifest.layout();
  Bitfield left(layout.chunk_count(), true);
  const Bitfield same = unchanged_chunks(known, layout, stamps);
  for (ChunkIndex i = same.next_set(0); i < same.size(); i = same.next_set(i + 1)) {
    manifest.chunk_hashes[i] = known.chunk_hashes[i];
    left.reset(i);
  }
  return left;
}

}  // namespace

Result<Scan> scan_path(const fs::path& given, const ScanOptions& options) {
  P2P_ASSIGN(const fs::path path, resolved(given));
  P2P_ASSIGN(Manifest listed, list(path));
  P2P_TRY(prepare(listed, given, options));
  auto manifest = std::make_shared<Manifest>(std::move(listed));
  P2P_ASSIGN(auto files, FileSet::open(manifest, path, FileSet::Mode::kRead));
  const std::int64_t first_look_ns =
      options.wall_clock_ns ? options.wall_clock_ns() : system_clock_ns();
  P2P_ASSIGN(const auto stamps, files->take_stamps());
  P2P_TRY(compare_stamps(*manifest, stamps, stamps, path));
  // From here on a file that changes is noticed by the reads themselves, and after the last by a
  // second look.
  files->expect_stamps(stamps);
  const Layout layout = manifest->layout();
  const Bitfield unknown = options.known ? take_known(*manifest, *options.known, stamps)
                                         : Bitfield(layout.chunk_count(), true);
  P2P_TRY(hash_readable_chunks(
      layout, *files, unknown, options.job,
      [&](ChunkIndex chunk, const Digest& digest) { manifest->chunk_hashes[chunk] = digest; }));
  auto stamps_after = stamps;
  if (unknown.count() > 0) {
    P2P_ASSIGN(stamps_after, files->take_stamps());
  }
  P2P_TRY(compare_stamps(*manifest, stamps, stamps_after, path));
  HashRecord record = record_of(*manifest, stamps, stamps_after, first_look_ns);
  return Scan{std::move(manifest), std::move(files), std::move(record),
              bytes_of_chunks(layout, unknown)};
}

Result<Listing> list_path(const fs::path& given) {
  P2P_ASSIGN(const fs::path path, resolved(given));
  P2P_ASSIGN(Manifest listed, list(path));
  P2P_TRY(prepare(listed, given, {}));
  auto manifest = std::make_shared<const Manifest>(std::move(listed));
  P2P_ASSIGN(auto files, FileSet::open(manifest, path, FileSet::Mode::kRead));
  return Listing{std::move(manifest), std::move(files)};
}

Result<std::unique_ptr<FileSet>> open_checked_source(std::shared_ptr<const Manifest> manifest,
                                                     const fs::path& given, const HashJob& job) {
  P2P_ASSIGN(const fs::path path, resolved(given));
  const auto other = [&](const std::string& how) {
    return Error{ErrorCode::kCorrupt,
                 absl::StrCat(given.string(), " is not what the link names: ", how)};
  };
  std::error_code failure;
  if (fs::is_directory(path, failure) != (manifest->root == Manifest::Root::kFolder))
    return other("one is a file, the other a folder");
  P2P_ASSIGN(auto files, FileSet::open(manifest, path, FileSet::Mode::kRead));
  auto stamps = files->take_stamps();
  if (!stamps) return other(stamps.error().message);
  std::size_t file = 0;
  for (const Entry& entry : manifest->entries) {
    if (!entry.is_file()) continue;
    if (const std::uint64_t bytes = (*stamps)[file++].size_bytes; bytes != entry.size_bytes)
      return other(absl::StrCat((entry.path.empty() ? path : path / entry.path).string(), " has ",
                                bytes, " bytes instead of ", entry.size_bytes));
  }
  files->expect_stamps(std::move(*stamps));
  const ChunkIndex count = manifest->layout().chunk_count();
  P2P_ASSIGN(const Bitfield good,
             check_readable_chunks(*manifest, *files, Bitfield(count, true), job));
  if (const ChunkIndex first = good.next_clear(0); first < count)
    return other(absl::StrCat(count - good.count(), " of ", count,
                              " chunks differ, the first is chunk ", first, ", which begins in ",
                              files->path_of(first).string()));
  return files;
}

}  // namespace p2p
