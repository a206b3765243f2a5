// Sources, stores and what lies on disk, made short.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/random.h"
#include "content/scan.h"
#include "content/store.h"
#include "crypto/digest.h"
#include "tests/support/temp_folder.h"

namespace p2p::test {

namespace fs = std::filesystem;

inline std::string random_text(std::uint64_t bytes, std::uint64_t seed) {
  Random random(seed);
  std::string text;
  while (text.size() < bytes) {
    const std::uint64_t word = random.next();
    text.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  text.resize(bytes);
  return text;
}

// Makes the folders above it.
inline void write_file(const fs::path& path, std::string_view text, bool executable = false) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  REQUIRE(out.good());
  if (executable) fs::permissions(path, fs::perms::owner_exec, fs::perm_options::add);
}

inline std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline mode_t mode_of(const fs::path& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

inline bool is_there(const fs::path& path) {
  return fs::symlink_status(path).type() != fs::file_type::not_found;
}

// What is at a path and below it: kind, bytes or target, executable or not; by relative path.
using Snapshot = std::map<std::string, std::string>;

inline std::string describe(const fs::path& path) {
  const fs::file_status status = fs::symlink_status(path);
  switch (status.type()) {
    case fs::file_type::not_found:
      return "nothing";
    case fs::file_type::directory:
      return "folder";
    case fs::file_type::symlink:
      return "link to " + fs::read_symlink(path).string();
    case fs::file_type::regular:
      return ((status.permissions() & fs::perms::owner_exec) != fs::perms::none ? "program "
                                                                                : "file ") +
             chunk_digest(bytes_of(read_file(path))).hex();
    default:
      return "special";
  }
}

inline Snapshot snapshot(const fs::path& path) {
  Snapshot found{{"", describe(path)}};
  if (found[""] != "folder") return found;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    found[entry.path().lexically_relative(path).string()] = describe(entry.path());
  return found;
}

// A content and all its bytes.
struct Sample {
  std::shared_ptr<const Manifest> manifest;
  ContentId id;
  std::vector<Bytes> chunks;

  ChunkIndex count() const { return static_cast<ChunkIndex>(chunks.size()); }
};

inline Sample sample_of(const fs::path& source) {
  auto scan = scan_path(source, {});
  INFO((scan ? "" : scan.error().message));
  REQUIRE(scan.has_value());
  Sample sample{scan->manifest, content_id_of(encode_manifest(*scan->manifest)), {}};
  const Layout layout = sample.manifest->layout();
  for (ChunkIndex i = 0; i < layout.chunk_count(); ++i) {
    sample.chunks.emplace_back(layout.length_of(i));
    REQUIRE(scan->files->read(i, 0, sample.chunks.back()).has_value());
  }
  return sample;
}

inline Sample file_sample(const TempFolder& temp, std::uint64_t bytes, std::uint64_t seed = 1) {
  const fs::path path = temp / ("source-" + std::to_string(seed));
  write_file(path, random_text(bytes, seed));
  return sample_of(path);
}

// One of everything: small files in one chunk, a file over several, an empty one, a program, links,
// an empty folder.
inline fs::path make_tree(const fs::path& root, std::uint64_t seed = 1) {
  write_file(root / "a/small", "small");
  write_file(root / "a/other", random_text(1000, seed));
  write_file(root / "b/large", random_text(300'000, seed + 1));
  write_file(root / "b/c/d/deep", random_text(70'000, seed + 2));
  write_file(root / "empty", "");
  write_file(root / "run", "#!/bin/sh\n", true);
  fs::create_directories(root / "nothing/here");
  fs::create_symlink("a/small", root / "link");
  fs::create_symlink("loop", root / "loop");
  fs::create_symlink("/nowhere/at/all", root / "b/dangling");
  return root;
}

inline Result<std::unique_ptr<Store>> try_open(const Sample& sample, const fs::path& target,
                                               bool overwrite = false) {
  StoreOptions options;
  options.overwrite = overwrite;
  return Store::open(sample.manifest, sample.id, target, options);
}

inline std::unique_ptr<Store> open_store(const Sample& sample, const fs::path& target,
                                         bool overwrite = false) {
  auto store = try_open(sample, target, overwrite);
  INFO((store ? "" : store.error().message));
  REQUIRE(store.has_value());
  return std::move(*store);
}

inline void succeed(const Status& status) {
  INFO((status ? "" : status.error().message));
  REQUIRE(status.has_value());
}

inline void write_missing(Store& store, const Sample& sample) {
  for (ChunkIndex i = 0; i < sample.count(); ++i)
    if (!store.resumed().test(i)) succeed(store.write_chunk(i, sample.chunks[i]));
}

inline void fetch_to(const Sample& sample, const fs::path& target, bool overwrite = false) {
  const auto store = open_store(sample, target, overwrite);
  write_missing(*store, sample);
  succeed(store->commit());
}

inline fs::path partial_of(const fs::path& target) {
  return target.parent_path() / ("." + target.filename().string() + ".p2p-partial");
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The error of what must fail.
template <typename T>
Error error_of(const Result<T>& result) {
  REQUIRE_FALSE(result.has_value());
  INFO(result.error().message);
  return result.error();
}

// Does all chunks' reading give the content's bytes?
inline bool reads_all(const ChunkReader& reader, const Sample& sample) {
  for (ChunkIndex i = 0; i < sample.count(); ++i) {
    Bytes bytes(sample.chunks[i].size());
    if (!reader.read(i, 0, bytes) || bytes != sample.chunks[i]) return false;
  }
  return true;
}

}  // namespace p2p::test
