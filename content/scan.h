// Scanning: a path becomes a manifest.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "content/chunk_reader.h"
#include "content/file_set.h"
#include "content/hash_record.h"
#include "content/manifest.h"

namespace p2p {

struct ScanOptions {
  std::optional<std::uint32_t> chunk_bytes;  // pick_chunk_bytes otherwise
  HashJob job = {};
  // Of an earlier scan: what has not changed since is not hashed again.
  std::shared_ptr<const HashRecord> known = nullptr;
  // Since 1970; the system's clock where tests do not say otherwise.
  std::function<std::int64_t()> wall_clock_ns = nullptr;
};

struct Scan {
  std::shared_ptr<const Manifest> manifest;
  std::unique_ptr<FileSet> files;  // reads the source, and notices when it changes
  HashRecord record;               // for the next scan
  std::uint64_t hashed_bytes = 0;  // the others were known
};

// Walks and hashes `path`, a file or a folder (a symlink given here is resolved first). Errors:
// kMalformed for names that check_path refuses, kIo for what cannot be read and for FIFOs, sockets
// and devices, kCorrupt where a file changed while it was hashed, kLimit, kInterrupted. Each names
// the path.
Result<Scan> scan_path(const std::filesystem::path& path, const ScanOptions& options);

// The same without hashes: what there is at the path, and a reader of it. It notices no change.
struct Listing {
  std::shared_ptr<const Manifest> manifest;  // its chunk hashes are zeros
  std::unique_ptr<FileSet> files;
};
Result<Listing> list_path(const std::filesystem::path& path);

// Opens `path` as a source of `manifest` after checking every chunk; kCorrupt says what does not
// match.
Result<std::unique_ptr<FileSet>> open_checked_source(std::shared_ptr<const Manifest> manifest,
                                                     const std::filesystem::path& path,
                                                     const HashJob& job);

}  // namespace p2p
