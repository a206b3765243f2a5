// FileSet: the files of a manifest under one root, addressed as one run of bytes. Rooted: every
// path is opened beneath the root folder with no symlink followed (openat2 RESOLVE_BENEATH |
// RESOLVE_NO_SYMLINKS, or component by component with O_NOFOLLOW where the kernel lacks it). Holds
// a bounded number of descriptors. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "content/chunk_reader.h"
#include "content/manifest.h"
#include "content/rooted.h"

namespace p2p {

inline constexpr std::size_t kMaxOpenFiles = 64;

// What a file looked like when it was hashed; a difference later means that it may have changed.
struct FileStamp {
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  // A rename, a chmod or a new link moves it too, so that it says nothing against a file that is
  // being served: not compared. But nobody can set it back.
  std::int64_t ctime_ns = 0;
  bool operator==(const FileStamp& other) const {
    return size_bytes == other.size_bytes && mtime_ns == other.mtime_ns && inode == other.inode;
  }
};

class FileSet : public ChunkReader {
 public:
  enum class Mode { kRead, kWrite };
  // `root`: the folder of a folder content, or the file itself; it may be reached through symlinks.
  // The manifest is shared, not copied. kWrite makes files and folders as they are first written.
  static Result<std::unique_ptr<FileSet>> open(std::shared_ptr<const Manifest> manifest,
                                               const std::filesystem::path& root, Mode mode);
  // The same beneath a descriptor, with no symlink anywhere. `folder` is the root folder, or the
  // one that holds the single file `name`; `shown` is the root's name in errors.
  static std::unique_ptr<FileSet> open_at(std::shared_ptr<const Manifest> manifest, Fd folder,
                                          std::string name, std::filesystem::path shown, Mode mode);
  ~FileSet() override;

  Status read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const override;
  // Writes a whole chunk at its place. Errors: kDiskFull, kIo, with the path. Thread-safe.
  Status write(ChunkIndex chunk, ByteView bytes);

  // From now on read() answers kCorrupt for a file whose stamp differs, or that is gone ("source
  // changed: PATH ..."). One stamp for each file entry, in order. Not while others read.
  void expect_stamps(std::vector<FileStamp> stamps);
  // kCorrupt for what is no regular file.
  Result<std::vector<FileStamp>> take_stamps() const;

  // What a crash has left. Chunks that have any data on disk (holes found by SEEK_DATA) are
  // candidates for a check; those whose files all reach to their end may be as they were written.
  struct OnDisk {
    Bitfield any, whole;
  };
  Result<OnDisk> look_at_disk() const;

  // The file that the chunk begins in, for messages.
  std::filesystem::path path_of(ChunkIndex chunk) const;

 private:
  struct Impl;
  explicit FileSet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace p2p
