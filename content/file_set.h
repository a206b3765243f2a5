// FileSet: the files of a manifest under one root, addressed as one run of bytes. Rooted: every
// path is opened beneath the root folder with no symlink followed (openat2 RESOLVE_BENEATH |
// RESOLVE_NO_SYMLINKS, or component by component with O_NOFOLLOW where the kernel lacks it). Holds
// a bounded number of descriptors. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "content/chunk_reader.h"
#include "content/manifest.h"

namespace p2p {

inline constexpr std::size_t kMaxOpenFiles = 64;

// What a file looked like when it was hashed; a difference later means that it may have changed.
struct FileStamp {
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  bool operator==(const FileStamp&) const = default;
};

class FileSet : public ChunkReader {
 public:
  enum class Mode { kRead, kWrite };
  // `root`: the folder of a folder content, or the file itself. The manifest is shared, not copied.
  // kWrite makes files and folders as they are first written.
  static Result<std::unique_ptr<FileSet>> open(std::shared_ptr<const Manifest> manifest,
                                               const std::filesystem::path& root, Mode mode);
  ~FileSet() override;

  Status read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const override;
  // Writes a whole chunk at its place. Errors: kDiskFull, kIo, with the path.
  Status write(ChunkIndex chunk, ByteView bytes);

  // From now on read() answers kCorrupt for a file whose stamp differs ("source changed: PATH
  // ..."). One stamp for each file entry, in order.
  void expect_stamps(std::vector<FileStamp> stamps);
  Result<std::vector<FileStamp>> take_stamps() const;

  // The chunks that have any data on disk (holes found by SEEK_DATA): candidates for a check after
  // a crash.
  Result<Bitfield> chunks_with_data() const;

 private:
  struct Impl;
  explicit FileSet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace p2p
