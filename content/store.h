// Store: a download on disk, crash-safe. Chunks are written to their final place in a partial
// folder beside the target (content/partial_folder.h); commit() renames the data into place.
//
// Resume after a crash loses nothing: chunks in the journal are trusted, and every other chunk with
// data on disk is hashed. So the journal may lag behind the data, and is never ahead of it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "content/chunk_reader.h"
#include "content/manifest.h"

namespace p2p {

struct StoreOptions {
  bool overwrite = false;  // replace what is at the target, atomically, at commit()
  HashJob resume_job = {};
  bool checks_space = true;  // open() refuses what the file system has no room for
  // Tests stand in for a file system that folds names; by default the store tries in the partial
  // folder.
  std::function<bool(const std::filesystem::path& folder)> tells_names_apart = nullptr;
};

// How the files of a copy come to be. kClone: they share their data until one is written to
// (reflink, on file systems that have it). kLink: they are the same files (hard links), so whoever
// writes to one writes to both. kAuto: the first of clone, link and copy that the file systems
// allow.
enum class CopyMode { kAuto, kClone, kLink, kCopy };

class Store : public ChunkReader, public ChunkWriter {
 public:
  // May a content be put there? Also asked by open() and commit(). Errors: kExists, kIo.
  static Status check_place(const std::filesystem::path& target, bool overwrite);
  // Takes the lock and finds what an earlier fetch left. Errors: kExists (target there and no
  // overwrite; another fetch holds the lock), kDiskFull (the file system has less free than is
  // missing), kMalformed (colliding names on a file system that folds them), kIo. `target`'s parent
  // must exist.
  static Result<std::unique_ptr<Store>> open(std::shared_ptr<const Manifest> manifest,
                                             const ContentId& content,
                                             const std::filesystem::path& target,
                                             const StoreOptions& options);
  ~Store() override;

  // Chunks that were on disk and verified at open().
  const Bitfield& resumed() const;

  Status write_chunk(ChunkIndex chunk, ByteView verified_bytes) override;
  Status read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const override;

  // Syncs the data, then writes the journal for `verified`, which must have been written before the
  // call. Blocking, may take seconds: for a worker thread. One call at a time.
  Status checkpoint(const Bitfield& verified);

  // All chunks are verified: makes empty files and folders, modes and symlinks, syncs everything,
  // renames into place, syncs the parent, removes the partial folder. Blocking. Reads go on
  // afterwards, from the target, and answer kCorrupt where somebody changes that. May be called
  // again after an error.
  Status commit();

  // Takes all of it from a complete copy of the content on this host, in place of whatever an
  // earlier fetch left; then commit() is all that is left to do. `source` is a file or folder that
  // was verified; it is not hashed again. `progress` gets the bytes so far, and ends the copy by
  // answering false (kInterrupted). Returns how it was done. Errors: kIo (kUsage where `mode` is
  // kClone or kLink, and the file system cannot), kDiskFull. Blocking; before anything is written.
  Result<CopyMode> copy_from(const std::filesystem::path& source, CopyMode mode,
                             const std::function<bool(std::uint64_t bytes)>& progress);

  const std::filesystem::path& target() const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace p2p
