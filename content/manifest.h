// Manifest: what a content is. Names, sizes, kinds, chunk hashes. Whoever holds the content id can
// check the manifest, and with it everything else, whoever sent it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "content/layout.h"

namespace p2p {

inline constexpr std::uint32_t kManifestVersion = 1;
inline constexpr std::size_t kMaxEntries = 1'000'000;
inline constexpr std::uint64_t kMaxContentBytes = std::uint64_t{kMaxChunks} * kMaxChunkBytes;

struct Entry {
  // The numbers stand in the encoding.
  enum class Kind : std::uint8_t { kFile = 0, kExecutable = 1, kEmptyFolder = 2, kSymlink = 3 };
  Kind kind = Kind::kFile;
  std::string path;              // check_path; empty for the one entry of a single file
  std::uint64_t size_bytes = 0;  // files only
  std::string target;            // symlinks only

  bool is_file() const { return kind == Kind::kFile || kind == Kind::kExecutable; }
  bool operator==(const Entry&) const = default;
};

struct Manifest {
  // A single file, or a folder of entries.
  enum class Root : std::uint8_t { kFile = 0, kFolder = 1 };
  Root root = Root::kFile;
  std::string name;  // of the file or folder; check_name
  std::uint32_t chunk_bytes = kMinChunkBytes;
  // Sorted by path, bytewise, no path twice, none below another entry. The content is the bytes of
  // the files in this order. Folders that hold something are not listed.
  std::vector<Entry> entries;
  std::vector<Digest> chunk_hashes;

  Layout layout() const;
  bool operator==(const Manifest&) const = default;
};

// Everything the format demands; decode_manifest has called it, and encode_manifest checks it (a
// bug otherwise).
Status validate_manifest(const Manifest& manifest);

// Canonical msgpack, specified in docs/protocol.md: a manifest has exactly one encoding.
Bytes encode_manifest(const Manifest& manifest);
// How many bytes that takes, counted without encoding; at most kMaxManifestBytes, which
// validate_manifest sees to.
std::uint64_t encoded_manifest_bytes(const Manifest& manifest);
// Refuses whatever is not the canonical encoding of a valid manifest.
Result<Manifest> decode_manifest(ByteView bytes);

// The first pair of paths that some file systems cannot hold side by side (case, Unicode
// normalisation), or two empty strings. Not an error in itself: real trees have such names; the
// store refuses them where the target's file system cannot tell them apart.
std::pair<std::string, std::string> first_colliding_paths(const Manifest& manifest);

}  // namespace p2p
