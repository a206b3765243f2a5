// Manifests, made short.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "content/manifest.h"

namespace p2p::test {

inline Entry file(std::string path, std::uint64_t size_bytes) {
  return {Entry::Kind::kFile, std::move(path), size_bytes, ""};
}
inline Entry executable(std::string path, std::uint64_t size_bytes) {
  return {Entry::Kind::kExecutable, std::move(path), size_bytes, ""};
}
inline Entry empty_folder(std::string path) {
  return {Entry::Kind::kEmptyFolder, std::move(path), 0, ""};
}
inline Entry symlink_to(std::string path, std::string target) {
  return {Entry::Kind::kSymlink, std::move(path), 0, std::move(target)};
}

// With as many hashes as it has chunks, each made of one byte.
inline Manifest with_hashes(Manifest manifest) {
  manifest.chunk_hashes.resize(manifest.layout().chunk_count());
  std::uint8_t fill = 0;
  for (Digest& digest : manifest.chunk_hashes) digest.bytes.fill(++fill);
  return manifest;
}

// The entries in the order given, right or wrong.
inline Manifest folder_of(std::vector<Entry> entries) {
  return with_hashes({Manifest::Root::kFolder, "folder", kMinChunkBytes, std::move(entries), {}});
}
inline Manifest single_file(std::string name, std::uint64_t size_bytes) {
  return with_hashes(
      {Manifest::Root::kFile, std::move(name), kMinChunkBytes, {file("", size_bytes)}, {}});
}

}  // namespace p2p::test
