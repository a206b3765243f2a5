#include "content/manifest.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "content/path_rules.h"

namespace p2p {
namespace {

Error malformed(std::string message) {
  return Error{ErrorCode::kMalformed, "manifest: " + std::move(message)};
}

Error over_limit(const std::string& what, std::uint64_t found, std::uint64_t limit) {
  return Error{ErrorCode::kLimit,
               absl::StrCat("manifest: ", found, " ", what, ", more than ", limit)};
}

Status of_manifest(const Status& status) {
  return status ? status : malformed(status.error().message);
}

// The path has been checked, so it may be shown.
Status check_fields(const Entry& entry) {
  const auto about = [&] { return absl::StrCat("entry '", entry.path, "': "); };
  if (entry.kind > Entry::Kind::kSymlink)
    return malformed(absl::StrCat(about(), "unknown kind ", static_cast<unsigned>(entry.kind)));
  if (!entry.is_file() && entry.size_bytes != 0)
    return malformed(about() + "has a size and is no file");
  if (entry.kind == Entry::Kind::kSymlink) {
    const Status target = check_symlink_target(entry.target);
    return target ? target : malformed(about() + target.error().message);
  }
  if (!entry.target.empty()) return malformed(about() + "has a symlink target and is no symlink");
  return {};
}

// Sorted, no path twice, none below another. `prefixes` are the paths before, each of which all
// that follow it begin with: since the order is bytewise, every possible parent is among them
// ("a", "a.b", "a/b": the parent need not be the neighbour). Their lengths differ, so that walking
// them takes no longer than reading the path.
Status check_order(std::string_view path, std::vector<std::string_view>& prefixes,
                   const std::string* previous) {
  if (previous != nullptr && path <= *previous)
    return malformed(absl::StrCat(path == *previous ? "the path '" : "not sorted at the path '",
                                  std::string(path), path == *previous ? "' stands twice" : "'"));
  while (!prefixes.empty() && !path.starts_with(prefixes.back())) prefixes.pop_back();
  for (const std::string_view prefix : prefixes)
    if (path[prefix.size()] == '/')
      return malformed(absl::StrCat("'", std::string(path), "' is below '", std::string(prefix),
                                    "', which is an entry itself"));
  prefixes.push_back(path);
  return {};
}

Status check_entries(const Manifest& manifest) {
  if (manifest.entries.size() > kMaxEntries)
    return over_limit("entries", manifest.entries.size(), kMaxEntries);
  if (manifest.root == Manifest::Root::kFile) {
    if (manifest.entries.size() != 1)
      return malformed(absl::StrCat("a single file has one entry, not ", manifest.entries.size()));
    const Entry& file = manifest.entries.front();
    if (!file.is_file() || !file.path.empty())
      return malformed("the entry of a single file is a file without a path");
    return check_fields(file);
  }
  std::vector<std::string_view> prefixes;
  const std::string* previous = nullptr;
  for (const Entry& entry : manifest.entries) {
    P2P_TRY(of_manifest(check_path(entry.path)));
    P2P_TRY(check_fields(entry));
    P2P_TRY(check_order(entry.path, prefixes, previous));
    previous = &entry.path;
  }
  return {};
}

Status check_chunks_named(const Manifest& manifest) {
  if (!is_valid_chunk_size(manifest.chunk_bytes))
    return malformed(absl::StrCat("a chunk size of ", manifest.chunk_bytes,
                                  " bytes: it is a power of two from ", kMinChunkBytes, " to ",
                                  kMaxChunkBytes));
  std::uint64_t total_bytes = 0;
  for (const Entry& entry : manifest.entries) {
    if (entry.size_bytes > kMaxContentBytes - total_bytes)
      return Error{ErrorCode::kLimit,
                   absl::StrCat("manifest: with '", entry.path, "' of ", entry.size_bytes,
                                " bytes the content is larger than ", kMaxContentBytes, " bytes")};
    total_bytes += entry.size_bytes;
  }
  const ChunkIndex chunks = Layout{total_bytes, manifest.chunk_bytes}.chunk_count();
  if (chunks > kMaxChunks) return over_limit("chunks", chunks, kMaxChunks);
  if (manifest.chunk_hashes.size() != chunks)
    return malformed(
        absl::StrCat(manifest.chunk_hashes.size(), " chunk hashes for ", chunks, " chunks"));
  return {};
}

// A '/' comes before all else, so that whatever is in a folder follows it at once.
bool comes_before(std::string_view a, std::string_view b) {
  const auto [at_a, at_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (at_a == a.end() || at_b == b.end()) return at_a == a.end() && at_b != b.end();
  const auto rank = [](char c) { return c == '/' ? 0 : static_cast<std::uint8_t>(c); };
  return rank(*at_a) < rank(*at_b);
}

std::string_view first_components(std::string_view path, std::size_t count) {
  std::size_t end = path.find('/');
  while (--count > 0 && end != std::string_view::npos) end = path.find('/', end + 1);
  return path.substr(0, end);
}

// The folders or files that two paths name differently and that have the same key; or none.
std::pair<std::string, std::string> colliding_parts(std::string_view a, std::string_view key_a,
                                                    std::string_view b, std::string_view key_b) {
  // No key has more or fewer slashes than its path.
  for (std::size_t count = 1;; ++count) {
    const std::string_view part_of_key = first_components(key_a, count);
    if (part_of_key != first_components(key_b, count)) return {};
    const std::string_view part_a = first_components(a, count);
    const std::string_view part_b = first_components(b, count);
    if (part_a != part_b)
      return {std::string(std::min(part_a, part_b)), std::string(std::max(part_a, part_b))};
    if (part_of_key.size() == key_a.size() || part_of_key.size() == key_b.size()) return {};
  }
}

}  // namespace

Layout Manifest::layout() const {
  Layout layout{0, chunk_bytes};
  for (const Entry& entry : entries) layout.total_bytes += entry.size_bytes;
  return layout;
}

Status validate_manifest(const Manifest& manifest) {
  if (manifest.root != Manifest::Root::kFile && manifest.root != Manifest::Root::kFolder)
    return malformed("the root is neither file nor folder");
  P2P_TRY(of_manifest(check_name(manifest.name)));
  P2P_TRY(check_entries(manifest));
  P2P_TRY(check_chunks_named(manifest));
  const std::uint64_t bytes = encoded_manifest_bytes(manifest);
  if (bytes > kMaxManifestBytes) return over_limit("bytes", bytes, kMaxManifestBytes);
  return {};
}

std::pair<std::string, std::string> first_colliding_paths(const Manifest& manifest) {
  std::vector<std::string> keys;
  keys.reserve(manifest.entries.size());
  for (const Entry& entry : manifest.entries) keys.push_back(collision_key(entry.path));
  // In this order paths with a common beginning stand together, in whatever spelling: neighbours
  // are all there is to compare. No set of folders is built, which a hostile manifest could make
  // many times larger than itself.
  std::vector<std::size_t> order(keys.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return comes_before(keys[a], keys[b]); });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const std::size_t a = order[i - 1];
    const std::size_t b = order[i];
    auto found =
        colliding_parts(manifest.entries[a].path, keys[a], manifest.entries[b].path, keys[b]);
    if (!found.first.empty()) return found;
  }
  return {};
}

}  // namespace p2p
