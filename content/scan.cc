#include "content/scan.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

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

Result<Entry> make_entry(const fs::path& shown, std::string path, const struct stat& status) {
  Entry entry;
  entry.path = std::move(path);
  if (S_ISREG(status.st_mode)) {
    entry.kind = (status.st_mode & S_IXUSR) ? Entry::Kind::kExecutable : Entry::Kind::kFile;
    entry.size_bytes = static_cast<std::uint64_t>(status.st_size);
  } else if (S_ISLNK(status.st_mode)) {
    entry.kind = Entry::Kind::kSymlink;
    std::error_code failure;
    entry.target = fs::read_symlink(shown, failure).string();
    if (failure) return system_error("read the link", shown, failure.value());
    if (Status sound = check_symlink_target(entry.target); !sound)
      return bad_name(shown, sound.error());
  } else {
    return special_file(shown);
  }
  return entry;
}

// Everything below `folder`, not sorted. `prefix` is the folder's path within the content, with a
// '/' at its end.
Status walk(const fs::path& folder, const std::string& prefix, std::vector<Entry>& entries) {
  std::error_code failure;
  bool empty = true;
  fs::directory_iterator listing(folder, failure);
  if (failure) return system_error("list the folder", folder, failure.value());
  for (; listing != fs::directory_iterator(); listing.increment(failure)) {
    empty = false;
    const fs::path shown = listing->path();
    std::string path = prefix + shown.filename().string();
    if (Status sound = check_path(path); !sound) return bad_name(shown, sound.error());
    struct stat status {};
    if (lstat(shown.c_str(), &status) != 0) return system_error("look at", shown, errno);
    if (S_ISDIR(status.st_mode)) {
      P2P_TRY(walk(shown, path + "/", entries));
    } else {
      P2P_ASSIGN(Entry entry, make_entry(shown, std::move(path), status));
      entries.push_back(std::move(entry));
    }
    if (entries.size() > kMaxEntries)
      return Error{ErrorCode::kLimit,
                   absl::StrCat(folder.string(), " is in a tree of more than ", kMaxEntries,
                                " entries; seed it in parts, or as an archive")};
  }
  if (failure) return system_error("list the folder", folder, failure.value());
  if (empty && !prefix.empty()) {
    Entry entry;
    entry.kind = Entry::Kind::kEmptyFolder;
    entry.path = prefix.substr(0, prefix.size() - 1);
    entries.push_back(std::move(entry));
  }
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
    P2P_TRY(walk(path, "", manifest.entries));
    std::sort(manifest.entries.begin(), manifest.entries.end(),
              [](const Entry& a, const Entry& b) { return a.path < b.path; });
  } else {
    P2P_ASSIGN(Entry entry, make_entry(path, "", status));
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

std::uint64_t total_bytes(const Manifest& manifest) {
  std::uint64_t total = 0;
  for (const Entry& entry : manifest.entries) total += entry.size_bytes;
  return total;
}

}  // namespace

Result<Scan> scan_path(const fs::path& given, const ScanOptions& options) {
  P2P_ASSIGN(const fs::path path, resolved(given));
  P2P_ASSIGN(Manifest listed, list(path));
  const std::uint64_t total = total_bytes(listed);
  if (total > kMaxContentBytes)
    return Error{ErrorCode::kLimit,
                 absl::StrCat(given.string(), " has more than ", kMaxContentBytes, " bytes")};
  listed.chunk_bytes = options.chunk_bytes.value_or(pick_chunk_bytes(total));
  const Layout layout{total, listed.chunk_bytes};
  if (layout.total_bytes / layout.chunk_bytes >= kMaxChunks)
    return Error{ErrorCode::kLimit,
                 absl::StrCat(given.string(), " would have more than ", kMaxChunks,
                              " chunks; choose a larger --chunk-size")};
  listed.chunk_hashes.resize(layout.chunk_count());
  auto manifest = std::make_shared<Manifest>(std::move(listed));
  P2P_ASSIGN(auto files, FileSet::open(manifest, path, FileSet::Mode::kRead));
  P2P_ASSIGN(auto stamps, files->take_stamps());
  std::size_t file = 0;
  for (const Entry& entry : manifest->entries)
    if (entry.is_file() && stamps[file++].size_bytes != entry.size_bytes)
      return Error{ErrorCode::kCorrupt,
                   absl::StrCat((path / entry.path).string(), " changes while it is being read")};
  // From here on a file that changes is noticed by the reads themselves, and after the last by a
  // second look.
  files->expect_stamps(stamps);
  Status failed;
  P2P_TRY(hash_chunks(layout, *files, Bitfield(layout.chunk_count(), true), options.job,
                      [&](ChunkIndex chunk, Result<Digest> digest) {
                        if (digest)
                          manifest->chunk_hashes[chunk] = *digest;
                        else if (failed)
                          failed = std::move(digest).error();
                      }));
  P2P_TRY(failed);
  P2P_ASSIGN(const auto stamps_after, files->take_stamps());
  if (stamps_after != stamps)
    return Error{ErrorCode::kCorrupt,
                 absl::StrCat(given.string(),
                              " changed while it was hashed; try again when nobody "
                              "writes to it")};
  P2P_TRY(validate_manifest(*manifest));
  if (encode_manifest(*manifest).size() > kMaxManifestBytes)
    return Error{ErrorCode::kLimit,
                 absl::StrCat("the manifest of ", given.string(), " is over the limit of ",
                              kMaxManifestBytes, " bytes; seed it in parts, or as an archive")};
  return Scan{std::move(manifest), std::move(files)};
}

Result<std::unique_ptr<FileSet>> open_checked_source(std::shared_ptr<const Manifest> manifest,
                                                     const fs::path& given, const HashJob& job) {
  P2P_ASSIGN(const fs::path path, resolved(given));
  const bool folder = fs::is_directory(path);
  if (folder != (manifest->root == Manifest::Root::kFolder))
    return Error{ErrorCode::kCorrupt,
                 absl::StrCat(given.string(),
                              " is not what the link names: one is a file, the "
                              "other a folder")};
  P2P_ASSIGN(auto files, FileSet::open(manifest, path, FileSet::Mode::kRead));
  auto stamps = files->take_stamps();
  if (!stamps)
    return Error{
        ErrorCode::kCorrupt,
        absl::StrCat(given.string(), " is not what the link names: ", stamps.error().message)};
  files->expect_stamps(std::move(*stamps));
  const ChunkIndex count = manifest->layout().chunk_count();
  P2P_ASSIGN(const Bitfield good, check_chunks(*manifest, *files, Bitfield(count, true), job));
  if (!good.all())
    return Error{
        ErrorCode::kCorrupt,
        absl::StrCat(given.string(), " is not what the link names: ", count - good.count(), " of ",
                     count, " chunks differ, the first is chunk ", good.next_clear(0))};
  return files;
}

}  // namespace p2p
