// Sources that are read while somebody changes them, and how chunks lie over files.
#include "content/file_set.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/content/child.h"
#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

// A scanned tree whose 100 files are more than there are descriptors.
struct Source {
  Source() {
    for (std::size_t i = 0; i < 100; ++i) write_file(file(i), random_text(4000, i));
    auto scanned = scan_path(temp / "tree", {});
    REQUIRE(scanned.has_value());
    manifest = scanned->manifest;
    files = std::move(scanned->files);
  }
  fs::path file(std::size_t i) const { return temp / "tree" / std::to_string(100 + i); }
  // The chunk that holds the start of the file, and where in it.
  Status read(std::size_t i) const {
    Bytes bytes(10);
    const std::uint64_t at = i * 4000;
    return files->read(static_cast<ChunkIndex>(at / manifest->chunk_bytes),
                       static_cast<std::uint32_t>(at % manifest->chunk_bytes), bytes);
  }

  TempFolder temp;
  std::shared_ptr<const Manifest> manifest;
  std::unique_ptr<FileSet> files;
};

bool is_change_of(const Status& status, const fs::path& path) {
  const Error error = error_of(status);
  CHECK(error.code == ErrorCode::kCorrupt);
  return contains(error.message, "source changed: " + path.string());
}

}  // namespace

TEST_CASE(
    "a file written to, cut, replaced or removed while it is seeded is not served, open or not") {
  const Source source;
  const auto harm = [&](std::size_t i, int how) {
    const fs::path path = source.file(i);
    if (how == 0) std::ofstream(path, std::ios::app) << "more";
    if (how == 1) fs::resize_file(path, 100);
    if (how == 2) {
      write_file(source.temp / "new", random_text(4000, 7));
      fs::rename(source.temp / "new", path);
    }
    if (how == 3) fs::remove(path);
    if (how == 4) {
      fs::remove(path);
      fs::create_symlink(source.file(50), path);
    }
    if (how == 5) {
      fs::remove(path);
      REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    }
    if (how == 6) {
      fs::remove(path);
      fs::create_directory(path);
    }
  };
  for (int how = 0; how < 7; ++how) {
    const auto open_one = static_cast<std::size_t>(how), closed_one = 40 + open_one;
    for (std::size_t i = kMaxOpenFiles; i-- > 0;)  // so that the first are open, and 40 to 46 not
      if (i < 40 && i >= open_one) succeed(source.read(i));
    harm(open_one, how);
    harm(closed_one, how);
    CHECK(is_change_of(source.read(open_one), source.file(open_one)));
    CHECK(is_change_of(source.read(closed_one), source.file(closed_one)));
  }
  succeed(source.read(20));  // the others are served on
  succeed(source.read(99));
}

TEST_CASE("a folder swapped for a link to its twin is not followed") {
  const TempFolder temp;
  const fs::path tree = make_tree(temp / "tree");
  auto scanned = scan_path(tree, {});
  REQUIRE(scanned.has_value());
  fs::rename(tree / "b", temp / "twin");
  fs::create_directory_symlink(temp / "twin", tree / "b");
  Bytes bytes(10);
  auto fresh = FileSet::open(scanned->manifest, tree, FileSet::Mode::kRead);
  REQUIRE(fresh.has_value());
  CHECK(contains(error_of((*fresh)->read(2, 0, bytes)).message, "a symlink stands where"));
}

TEST_CASE("a file that grew or was touched without being scanned is read as it is") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 100'000);
  auto files = FileSet::open(sample.manifest, temp / "source-1", FileSet::Mode::kRead);
  REQUIRE(files.has_value());
  fs::last_write_time(temp / "source-1", fs::file_time_type::clock::now());
  CHECK(reads_all(**files, sample));
  fs::resize_file(temp / "source-1", 99'999);
  Bytes bytes(sample.chunks[1].size());
  const Error error = error_of((*files)->read(1, 0, bytes));
  CHECK(error.code == ErrorCode::kCorrupt);
  CHECK(contains(error.message, "source-1 is shorter than it should be"));
}

TEST_CASE("a source may be reached through links; what is written may not") {
  const TempFolder temp;
  const Sample file = file_sample(temp, 1000), tree = sample_of(make_tree(temp / "tree"));
  fs::create_symlink(temp / "source-1", temp / "to-file");
  fs::create_directory_symlink(temp / "tree", temp / "to-tree");
  const auto through_file = FileSet::open(file.manifest, temp / "to-file", FileSet::Mode::kRead);
  const auto through_tree = FileSet::open(tree.manifest, temp / "to-tree", FileSet::Mode::kRead);
  CHECK(reads_all(**through_file, file));
  CHECK(reads_all(**through_tree, tree));
  CHECK_FALSE(FileSet::open(tree.manifest, temp / "to-tree", FileSet::Mode::kWrite).has_value());
  auto to_file = FileSet::open(file.manifest, temp / "to-file", FileSet::Mode::kWrite);
  REQUIRE(to_file.has_value());
  CHECK_FALSE((*to_file)->write(0, file.chunks[0]).has_value());
  CHECK(
      contains(error_of(FileSet::open(tree.manifest, temp / "none", FileSet::Mode::kRead)).message,
               "cannot find " + (temp / "none").string()));
}

TEST_CASE("reading makes no files, writing makes what it writes") {
  const TempFolder temp;
  const Sample sample = sample_of(make_tree(temp / "tree"));
  fs::create_directory(temp / "out");
  auto files = FileSet::open(sample.manifest, temp / "out", FileSet::Mode::kWrite);
  REQUIRE(files.has_value());
  Bytes bytes(10);
  CHECK_FALSE((*files)->read(0, 0, bytes).has_value());
  CHECK(fs::is_empty(temp / "out"));
  succeed((*files)->write(0, sample.chunks[0]));
  CHECK(read_file(temp / "out/a/small") == "small");
  CHECK_FALSE(is_there(temp / "out/empty"));
}

TEST_CASE(
    "chunks lie over the files in their order, whatever sizes and empty files come together") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const TempFolder temp;
    std::string all;
    fs::create_directory(temp / "tree");
    const std::uint64_t sizes[] = {0, 0, 1, 100, 65'535, 65'536, 65'537, 200'000};
    for (std::uint64_t i = 0, count = 1 + random.below(20); i < count; ++i) {
      const std::string text = random_text(sizes[random.below(std::size(sizes))], seed * 100 + i);
      write_file(temp / "tree" / std::to_string(100 + i), text);
      all += text;
    }
    const auto scan = scan_path(temp / "tree", {});
    REQUIRE(scan.has_value());
    const Layout layout = scan->manifest->layout();
    REQUIRE(layout.total_bytes == all.size());
    for (ChunkIndex c = 0; c < layout.chunk_count(); ++c) {
      const std::uint32_t from = static_cast<std::uint32_t>(random.below(layout.length_of(c)));
      Bytes bytes(random.below(layout.length_of(c) - from + 1));
      succeed(scan->files->read(c, from, bytes));
      CHECK(text_of(bytes) ==
            std::string_view(all).substr(layout.offset_of(c) + from, bytes.size()));
    }
  }
}

TEST_CASE("what is on disk is told chunk by chunk: any data, and whole files") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 5 * kMinChunkBytes);
  auto files = FileSet::open(sample.manifest, temp / "out", FileSet::Mode::kWrite);
  REQUIRE(files.has_value());
  const auto look = [&] {
    auto found = (*files)->look_at_disk();
    REQUIRE(found.has_value());
    return std::move(*found);
  };
  CHECK(look().any.none());
  CHECK(look().whole.none());
  succeed((*files)->write(3, sample.chunks[3]));
  const FileSet::OnDisk found = look();
  CHECK(found.any.count() == 1);
  CHECK(found.any.test(3));
  CHECK(found.whole.count() == 4);
  CHECK_FALSE(found.whole.test(4));
}

TEST_CASE("a chunk names the file that it begins in") {
  const TempFolder temp;
  const Sample sample = sample_of(make_tree(temp / "tree"));
  auto files = FileSet::open(sample.manifest, temp / "tree", FileSet::Mode::kRead);
  REQUIRE(files.has_value());
  CHECK((*files)->path_of(0) == temp / "tree/a/other");
  CHECK((*files)->path_of(2) == temp / "tree/b/large");
}
