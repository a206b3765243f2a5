// What a manifest may say. Its bytes are manifest_codec_test.cc's.
#include "content/manifest.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "base/random.h"
#include "content/path_rules.h"
#include "tests/content/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

bool is_valid(const Manifest& manifest) { return validate_manifest(manifest).has_value(); }

bool is_valid(const std::vector<Entry>& entries) { return is_valid(folder_of(entries)); }

// Why it is refused; empty when it is not.
std::string refusal(const Manifest& manifest) {
  const Status status = validate_manifest(manifest);
  return status ? "" : status.error().message;
}

bool says(const Manifest& manifest, const std::string& part) {
  const std::string message = refusal(manifest);
  INFO(message);
  return message.find(part) != std::string::npos;
}

ErrorCode code_of(const Manifest& manifest) { return validate_manifest(manifest).error().code; }

// Every folder above a path, and the path.
std::vector<std::string> with_parents(const std::string& path) {
  std::vector<std::string> all;
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1))
    all.push_back(path.substr(0, slash));
  all.push_back(path);
  return all;
}

// Paths of few components from few names, so that they meet in every way.
std::vector<std::string> random_paths(Random& random, const std::vector<std::string>& names) {
  std::set<std::string> paths;
  for (auto count = 1 + random.below(6); count > 0; --count) {
    std::string path = names[random.below(names.size())];
    for (auto depth = random.below(3); depth > 0; --depth)
      path += "/" + names[random.below(names.size())];
    paths.insert(path);
  }
  return {paths.begin(), paths.end()};
}

Manifest folder_of_files(const std::vector<std::string>& paths) {
  std::vector<Entry> entries;
  for (const std::string& path : paths) entries.push_back(file(path, 1));
  return folder_of(entries);
}

}  // namespace

TEST_CASE("a single file and a folder of every kind of entry are valid") {
  CHECK(refusal(single_file("a.bin", 200'000)) == "");
  CHECK(refusal(folder_of({file("a", 5), executable("b", 70'000), empty_folder("c/d"),
                           symlink_to("e", "../../etc/passwd"), file("foo... bar", 0)})) == "");
}

TEST_CASE("a content of no bytes is valid: an empty file, only empty files, an empty folder") {
  CHECK(refusal(single_file("empty", 0)) == "");
  CHECK(refusal(folder_of({file("a", 0), file("b", 0)})) == "");
  CHECK(refusal(folder_of({})) == "");
  CHECK(folder_of({}).layout().chunk_count() == 0);
}

TEST_CASE("a single file is one nameless file entry") {
  Manifest manifest = single_file("a", 5);
  manifest.entries[0].kind = Entry::Kind::kExecutable;
  CHECK(is_valid(manifest));
  manifest.entries[0].path = "a";
  CHECK(says(manifest, "entry of a single file"));
  manifest.entries = {empty_folder("")};
  manifest.chunk_hashes.clear();
  CHECK_FALSE(is_valid(manifest));
  manifest.entries = {symlink_to("", "x")};
  CHECK_FALSE(is_valid(manifest));
  manifest.entries.clear();
  CHECK(says(manifest, "one entry, not 0"));
  manifest.entries = {file("", 0), file("b", 0)};
  CHECK(says(manifest, "one entry, not 2"));
  CHECK_FALSE(is_valid({file("", 5)}));  // in a folder
}

TEST_CASE("the name of a content is one harmless component") {
  for (const std::string& name :
       {std::string(""), std::string(".."), std::string("a/b"), std::string("/"), std::string("\\"),
        std::string("C:"), std::string("a\0b", 3), std::string("\u202e"), std::string("\xff"),
        std::string(256, 'a')}) {
    Manifest manifest = single_file("a", 5);
    manifest.name = name;
    CHECK(says(manifest, "name"));
  }
}

TEST_CASE("a path that could lead elsewhere is refused, and named") {
  CHECK(says(folder_of({file("../x", 1)}), "'../x'"));
  for (const std::string& path :
       {std::string("/a"), std::string("a/../b"), std::string("a//b"), std::string("./a"),
        std::string("a/"), std::string("C:a"), std::string("a\\b"), std::string("a\nb"),
        std::string("a/\u202e"), std::string("\xc0\xaf"), std::string(256, 'a')})
    for (const Entry& entry : {file(path, 1), empty_folder(path), symlink_to(path, "x")})
      CHECK_FALSE(is_valid({entry}));
  CHECK(says(folder_of({symlink_to("a", "x\ny")}), "entry 'a': the symlink target"));
}

TEST_CASE("an entry has what its kind has") {
  Entry entry = empty_folder("a");
  entry.size_bytes = 1;
  CHECK(says(folder_of({entry}), "entry 'a': has a size and is no file"));
  entry = symlink_to("a", "b");
  entry.size_bytes = 1;
  CHECK_FALSE(is_valid({entry}));
  CHECK_FALSE(is_valid({symlink_to("a", "")}));
  entry = file("a", 0);
  entry.target = "b";
  CHECK(says(folder_of({entry}), "entry 'a': has a symlink target and is no symlink"));
  entry = empty_folder("a");
  entry.target = "b";
  CHECK_FALSE(is_valid({entry}));
  entry = file("a", 0);
  entry.kind = static_cast<Entry::Kind>(4);
  CHECK(says(folder_of({entry}), "unknown kind 4"));
  Manifest manifest = folder_of({});
  manifest.root = static_cast<Manifest::Root>(2);
  CHECK(says(manifest, "root"));
}

TEST_CASE("paths stand in order, each once") {
  CHECK(says(folder_of({file("b", 1), file("a", 1)}), "not sorted at the path 'a'"));
  CHECK(says(folder_of({file("a", 1), file("a", 1)}), "'a' stands twice"));
  CHECK_FALSE(is_valid({file("a", 1), symlink_to("a", "b")}));
  CHECK(is_valid({file("B", 1), file("a", 1)}));
  CHECK_FALSE(is_valid({file("\u00e9", 1), file("z", 1)}));  // by bytes, and these are unsigned
}

TEST_CASE("nothing is below a file, symlink or empty folder, however far apart they stand") {
  for (const Entry& above : {file("a", 1), symlink_to("a", "/etc"), empty_folder("a")}) {
    CHECK(says(folder_of({above, file("a/b", 1)}), "'a/b' is below 'a'"));
    CHECK(says(folder_of({above, file("a.b", 1), file("a/b", 1)}), "'a/b' is below 'a'"));
    CHECK_FALSE(is_valid({above, file("a-", 1), file("a-b", 1), file("a/b/c/d", 1)}));
  }
  CHECK(is_valid({file("a", 1), file("a.b/c", 1), file("ab/c", 1)}));
  CHECK_FALSE(is_valid({empty_folder("a/b"), file("a/b/c", 1)}));
}

TEST_CASE("an entry below another is found wherever a look at all pairs finds one") {
  const std::uint64_t seed = 71;
  CAPTURE(seed);
  Random random(seed);
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    const auto paths = random_paths(random, {"a", "a-", "a.b", "ab", "a0"});
    bool below = false;
    for (const std::string& path : paths)
      for (const std::string& other : paths) below = below || path.starts_with(other + "/");
    CAPTURE(round, paths);
    REQUIRE(is_valid(folder_of_files(paths)) == !below);
    refused += below;
  }
  CHECK(refused > 500);
}

TEST_CASE("the chunk size is a power of two within the limits") {
  for (const std::uint32_t bytes :
       {0u, 1u, 3u, 32768u, 65535u, 65537u, 98304u, 1u << 23, 1u << 31, UINT32_MAX}) {
    for (Manifest manifest : {single_file("a", 5), single_file("a", 0)}) {
      manifest.chunk_bytes = bytes;
      CHECK(says(manifest, "chunk size"));
    }
  }
}

TEST_CASE("there is one hash for each chunk") {
  for (const std::uint64_t bytes : {0ull, 1ull, 65536ull, 65537ull, 1'000'000ull}) {
    Manifest manifest = single_file("a", bytes);
    CHECK(is_valid(manifest));
    manifest.chunk_hashes.emplace_back();
    CHECK(says(manifest, "chunk hashes for"));
    manifest.chunk_hashes.resize(manifest.chunk_hashes.size() - 1);
    if (bytes == 0) continue;
    manifest.chunk_hashes.pop_back();
    CHECK(says(manifest, "chunk hashes for"));
  }
}

TEST_CASE("sizes that are too large, or overflow together, are refused") {
  Manifest manifest = single_file("a", 5);
  manifest.entries[0].size_bytes = kMaxContentBytes + 1;
  CHECK(code_of(manifest) == ErrorCode::kLimit);
  manifest.entries[0].size_bytes = UINT64_MAX;
  CHECK(code_of(manifest) == ErrorCode::kLimit);

  manifest = folder_of({file("a", 3), file("b", 2)});
  manifest.entries[0].size_bytes = UINT64_MAX;
  manifest.entries[1].size_bytes = 6;  // 5 in all, in 64 bits
  CHECK(says(manifest, "'a' of 18446744073709551615 bytes"));
  manifest.entries[0].size_bytes = kMaxContentBytes;
  manifest.entries[1].size_bytes = 1;
  CHECK(says(manifest, "'b' of 1 bytes"));
}

TEST_CASE("more chunks, entries or bytes than the limits are refused") {
  Manifest chunks = single_file("a", 0);
  chunks.entries[0].size_bytes = kMaxContentBytes;
  chunks.chunk_bytes = kMaxChunkBytes / 2;
  CHECK(says(chunks, "4194304 chunks, more than 2097152"));
  // As many hashes as there may be, and more than fits into the largest manifest with them.
  chunks.chunk_bytes = kMaxChunkBytes;
  chunks.chunk_hashes.resize(kMaxChunks);
  CHECK(says(chunks, "bytes, more than 67108864"));
  CHECK(code_of(chunks) == ErrorCode::kLimit);
  chunks.entries[0].size_bytes -= 4 * std::uint64_t{kMaxChunkBytes};
  chunks.chunk_hashes.resize(kMaxChunks - 4);
  CHECK(is_valid(chunks));

  Manifest entries = folder_of({});
  for (std::size_t i = 0; i <= kMaxEntries; ++i)
    entries.entries.push_back(file(std::to_string(10'000'000 + i), 0));
  CHECK(says(entries, "1000001 entries, more than 1000000"));
  entries.entries.pop_back();
  CHECK(is_valid(entries));
}

TEST_CASE("names that a folding file system takes for one are found, in folders too") {
  using Pair = std::pair<std::string, std::string>;
  const auto colliding = [](const std::vector<std::string>& paths) {
    const Manifest manifest = folder_of_files(paths);
    REQUIRE(is_valid(manifest));
    return first_colliding_paths(manifest);
  };
  CHECK(colliding({}) == Pair{});
  CHECK(colliding({"a", "b"}) == Pair{});
  CHECK(colliding({"A", "a"}) == Pair{"A", "a"});
  CHECK(colliding({"e\u0301", "\u00e9"}) == Pair{"e\u0301", "\u00e9"});
  CHECK(colliding({"x/A", "x/B", "x/a"}) == Pair{"x/A", "x/a"});
  CHECK(colliding({"A/x", "a/y"}) == Pair{"A", "a"});
  CHECK(colliding({"A/b/x", "A/c", "a/d"}) == Pair{"A", "a"});
  CHECK(colliding({"A", "a/y"}) == Pair{"A", "a"});
  CHECK(colliding({"A", "a.b", "a/y"}) == Pair{"A", "a"});
  CHECK(colliding({"x/A/1", "x/Ab", "x/a/2"}) == Pair{"x/A", "x/a"});
  CHECK(colliding({"A/x", "b/x", "c/X"}) == Pair{});
  CHECK(colliding({"a/x", "a/y", "a/z"}) == Pair{});
  CHECK(first_colliding_paths(single_file("a", 5)) == Pair{});
}

TEST_CASE("colliding names are found wherever a table of all folders finds some") {
  const std::uint64_t seed = 72;
  CAPTURE(seed);
  Random random(seed);
  int collisions = 0;
  for (int round = 0; round < 5000; ++round) {
    const auto paths = random_paths(random, {"a", "A", "a.", "A-", "b", "\u00e9", "E\u0301"});
    const Manifest manifest = folder_of_files(paths);
    if (!is_valid(manifest)) continue;
    std::map<std::string, std::set<std::string>> spellings;
    for (const std::string& path : paths)
      for (const std::string& part : with_parents(path))
        spellings[collision_key(part)].insert(part);
    const bool collides = std::any_of(spellings.begin(), spellings.end(),
                                      [](const auto& item) { return item.second.size() > 1; });
    CAPTURE(round, paths);
    const auto [first, second] = first_colliding_paths(manifest);
    REQUIRE(first.empty() == !collides);
    REQUIRE(second.empty() == !collides);
    if (collides) {
      REQUIRE(first < second);
      REQUIRE(spellings.at(collision_key(first)).count(first) == 1);
      REQUIRE(spellings.at(collision_key(first)).count(second) == 1);
    }
    collisions += collides;
  }
  CHECK(collisions > 500);
}

TEST_CASE("the layout of a manifest is of all its files together") {
  const Manifest manifest =
      folder_of({file("a", 70'000), empty_folder("b"), file("c", 0), file("d", 60'000)});
  CHECK(manifest.layout() == Layout{130'000, kMinChunkBytes});
  CHECK(manifest.chunk_hashes.size() == 2);
}
