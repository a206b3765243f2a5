// A download from its first chunk to its place. Crashes are store_crash_test.cc's, hostile and full
// disks store_hostile_test.cc's.
#include "content/store.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <thread>

#include "tests/content/child.h"
#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

// A manifest made by hand for paths that a walk would not find, each file with its path as text.
Sample sample_of_paths(std::vector<std::string> paths, const std::string& link_target = "") {
  std::sort(paths.begin(), paths.end());
  Manifest manifest;
  manifest.root = Manifest::Root::kFolder;
  manifest.name = "folder";
  Bytes all;
  for (const std::string& path : paths) {
    Entry entry{Entry::Kind::kFile, path, path.size(), ""};
    if (!link_target.empty()) entry = {Entry::Kind::kSymlink, path, 0, link_target};
    if (entry.is_file()) all.insert(all.end(), path.begin(), path.end());
    manifest.entries.push_back(std::move(entry));
  }
  Sample sample;
  for (std::size_t at = 0; at < all.size(); at += manifest.chunk_bytes) {
    const auto end = std::min<std::size_t>(all.size(), at + manifest.chunk_bytes);
    sample.chunks.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(at),
                               all.begin() + static_cast<std::ptrdiff_t>(end));
    manifest.chunk_hashes.push_back(chunk_digest(sample.chunks.back()));
  }
  succeed(validate_manifest(manifest));
  sample.id = content_id_of(encode_manifest(manifest));
  sample.manifest = std::make_shared<const Manifest>(std::move(manifest));
  return sample;
}

}  // namespace

TEST_CASE("a file and a folder of everything come out as they went in") {
  const TempFolder temp;
  make_tree(temp / "tree");
  write_file(temp / "file", random_text(200'001, 3));
  write_file(temp / "program", random_text(70'000, 4), true);
  fs::create_directory(temp / "out");
  for (const std::string name : {"tree", "file", "program"}) {
    const Sample sample = sample_of(temp / name);
    fetch_to(sample, temp / "out" / "." / (name + "-new"));
    CHECK(snapshot(temp / "out" / (name + "-new")) == snapshot(temp / name));
    CHECK_FALSE(is_there(partial_of(temp / "out" / (name + "-new"))));
    CHECK(sample_of(temp / "out" / (name + "-new")).manifest->entries == sample.manifest->entries);
  }
}

TEST_CASE("chunks may be written in any order, and be read before the rest is there") {
  const TempFolder temp;
  const Sample sample = sample_of(make_tree(temp / "tree"));
  const auto store = open_store(sample, temp / "out");
  CHECK(store->target() == temp / "out");
  for (ChunkIndex i = sample.count(); i-- > 0;) {
    succeed(store->write_chunk(i, sample.chunks[i]));
    const std::uint32_t offset = static_cast<std::uint32_t>(sample.chunks[i].size()) / 3;
    Bytes part(sample.chunks[i].size() - offset);
    succeed(store->read(i, offset, part));
    CHECK(std::equal(part.begin(), part.end(), sample.chunks[i].begin() + offset));
  }
  CHECK_FALSE(is_there(temp / "out"));
  succeed(store->commit());
  CHECK(snapshot(temp / "out") == snapshot(temp / "tree"));
}

TEST_CASE("contents without chunks are complete at once: empty file, empty files, empty folder") {
  const TempFolder temp;
  write_file(temp / "empty", "");
  write_file(temp / "program", "", true);
  write_file(temp / "files/a/b", "");
  write_file(temp / "files/c", "", true);
  fs::create_directories(temp / "folders/x/y");
  fs::create_directories(temp / "nothing");
  for (const std::string name : {"empty", "program", "files", "folders", "nothing"}) {
    const Sample sample = sample_of(temp / name);
    const auto store = open_store(sample, temp / (name + "-new"));
    CHECK(store->resumed().all());
    succeed(store->checkpoint(store->resumed()));
    succeed(store->commit());
    CHECK(snapshot(temp / (name + "-new")) == snapshot(temp / name));
  }
}

TEST_CASE("what is at the target is kept, unless it is to be overwritten") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 100'000);
  fs::create_directories(temp / "folder/inside");
  write_file(temp / "file", "old");
  fs::create_symlink("nowhere", temp / "dangling");
  fs::create_symlink("folder", temp / "link");
  REQUIRE(mkfifo((temp / "fifo").c_str(), 0600) == 0);
  for (const std::string name : {"folder", "file", "dangling", "link", "fifo"}) {
    const Snapshot before = snapshot(temp / name);
    const Error error = error_of(try_open(sample, temp / name));
    CHECK(error.code == ErrorCode::kExists);
    CHECK(contains(error.message, (temp / name).string() + " is there already"));
    CHECK(contains(error.message, "--overwrite"));
    CHECK(snapshot(temp / name) == before);
    CHECK_FALSE(is_there(partial_of(temp / name)));
  }
  const Error special = error_of(try_open(sample, temp / "fifo", true));
  CHECK(special.code == ErrorCode::kExists);
  CHECK(contains(special.message, (temp / "fifo").string() + " is a FIFO, socket or device"));
  CHECK_FALSE(is_there(partial_of(temp / "fifo")));
}

TEST_CASE("overwriting puts a file or folder where a file, folder or link was, and follows none") {
  const TempFolder temp;
  make_tree(temp / "tree");
  write_file(temp / "file", random_text(100'000, 2));
  write_file(temp / "elsewhere/kept", "kept");
  for (const std::string source : {"tree", "file"}) {
    const Sample sample = sample_of(temp / source);
    write_file(temp / "out/over-file", "old");
    write_file(temp / "out/over-folder/deep/old", "old");
    fs::create_directories(temp / "out/over-empty");
    fs::create_directory_symlink(temp / "elsewhere", temp / "out/over-link");
    fs::create_symlink("nowhere", temp / "out/over-dangling");
    for (const auto& entry : fs::directory_iterator(temp / "out")) INFO(entry.path().string());
    for (const std::string name :
         {"over-file", "over-folder", "over-empty", "over-link", "over-dangling"}) {
      fetch_to(sample, temp / "out" / name, true);
      CHECK(snapshot(temp / "out" / name) == snapshot(temp / source));
    }
    CHECK(std::distance(fs::directory_iterator(temp / "out"), {}) == 5);
    fs::remove_all(temp / "out");
  }
  CHECK(read_file(temp / "elsewhere/kept") == "kept");
}

TEST_CASE("the old target stays whole until the new one is in its place") {
  const TempFolder temp;
  const Sample sample = sample_of(make_tree(temp / "tree"));
  make_tree(temp / "out", 99);
  const Snapshot old = snapshot(temp / "out");
  const auto store = open_store(sample, temp / "out", true);
  write_missing(*store, sample);
  succeed(store->checkpoint(Bitfield(sample.count(), true)));
  CHECK(snapshot(temp / "out") == old);
  succeed(store->commit());
  CHECK(snapshot(temp / "out") == snapshot(temp / "tree"));
}

TEST_CASE(
    "a target that appears during the fetch is kept, and the fetch can be ended elsewhere or over "
    "it") {
  const TempFolder temp;
  make_tree(temp / "tree");
  file_sample(temp, 100'000);
  for (const std::string source : {"tree", "source-1"}) {
    const Sample sample = sample_of(temp / source);
    const fs::path target = temp / ("out-" + source);
    auto store = open_store(sample, target);
    write_missing(*store, sample);
    write_file(target, "somebody else's");
    const Error error = error_of(store->commit());
    CHECK(error.code == ErrorCode::kExists);
    CHECK(contains(error.message, target.string()));
    CHECK(read_file(target) == "somebody else's");
    store.reset();
    store = open_store(sample, target, true);
    CHECK(store->resumed().all());
    succeed(store->commit());
    CHECK(snapshot(target) == snapshot(temp / source));
  }
}

TEST_CASE("a commit that failed can be tried again") {
  const TempFolder temp;
  const Sample sample = sample_of(make_tree(temp / "tree"));
  const auto store = open_store(sample, temp / "out");
  write_missing(*store, sample);
  write_file(temp / "out", "in the way");
  CHECK(error_of(store->commit()).code == ErrorCode::kExists);
  CHECK(reads_all(*store, sample));
  fs::remove(temp / "out");
  succeed(store->commit());
  succeed(store->commit());
  CHECK(snapshot(temp / "out") == snapshot(temp / "tree"));
}

TEST_CASE("without the newer system calls it all works, too") {
  const TempFolder temp;
  make_tree(temp / "tree");
  write_file(temp / "file", random_text(100'000, 2), true);
  const Sample tree = sample_of(temp / "tree"), file = sample_of(temp / "file");
  const std::string failed = in_child([&] {
    forbid_newer_calls();
    for (const Sample& sample : {tree, file}) {
      const Snapshot wanted = snapshot(&sample == &tree ? temp / "tree" : temp / "file");
      const bool folder = sample.manifest->root == Manifest::Root::kFolder;
      const Snapshot expected = snapshot(folder ? temp / "tree" : temp / "file");
      for (const std::string before : {"nothing", "file", "folder", "late"}) {
        const fs::path target = temp / ("out-" + before + (folder ? "1" : "2"));
        if (before == "file") std::ofstream(target) << "old";
        if (before == "folder") fs::create_directories(target / "old/folder");
        auto store = try_open(sample, target, before == "file" || before == "folder");
        expect(store.has_value(), store ? "" : store.error().message);
        for (ChunkIndex i = 0; i < sample.count(); ++i)
          expect((*store)->write_chunk(i, sample.chunks[i]).has_value(), "write");
        if (before == "late") std::ofstream(target) << "late";
        const Status committed = (*store)->commit();
        if (before == "late") {
          expect(!committed && committed.error().code == ErrorCode::kExists, "late: overwritten");
          expect(read_file(target) == "late", "late: changed");
        } else {
          expect(committed.has_value(), committed ? "" : committed.error().message);
          expect(snapshot(target) == expected, before + ": differs");
          expect(!is_there(partial_of(target)), before + ": leaves something behind");
          expect(reads_all(**store, sample), before + ": cannot be read on");
        }
      }
    }
  });
  CHECK(failed == "");
}

TEST_CASE("names of 255 bytes and of any valid UTF-8 are kept, at the target and in the content") {
  const TempFolder temp;
  const std::vector<std::string> names = {std::string(255, 'n'),
                                          std::string(243, 'p'),
                                          "-rf",
                                          "\u00e9",
                                          "\u4f60\u597d",
                                          "\U0001f600",
                                          "a b'\"$`*?",
                                          "lock",
                                          "data",
                                          "journal",
                                          "foo... bar",
                                          " ",
                                          "~"};
  const Sample sample = sample_of_paths(names);
  for (const std::string& name : names) {
    INFO(name);
    const auto first = open_store(sample, temp / name);
    CHECK(error_of(try_open(sample, temp / name)).code == ErrorCode::kExists);
    write_missing(*first, sample);
    succeed(first->commit());
    for (const std::string& inner : names) CHECK(read_file(temp / name / inner) == inner);
  }
  CHECK(std::distance(fs::directory_iterator(temp.path()), {}) ==
        static_cast<std::ptrdiff_t>(names.size()));
  const Error error = error_of(try_open(sample, temp / std::string(256, 'n')));
  CHECK(contains(error.message, "File name too long"));
}

TEST_CASE("a path of 100 folders and 4,096 bytes is written, found again and put in place") {
  const TempFolder temp;
  std::string path;
  for (int i = 0; i < 99; ++i) path += std::string(40, 'd') + "/";
  path += std::string(4096 - path.size(), 'f');
  const Sample sample = sample_of_paths({path});
  {
    const auto store = open_store(sample, temp / "out");
    write_missing(*store, sample);
  }
  const auto store = open_store(sample, temp / "out");
  CHECK(store->resumed().all());
  succeed(store->commit());
  CHECK(reads_all(*store, sample));
  const Sample links = sample_of_paths({path, std::string(99, 'x')}, "target");
  fetch_to(links, temp / "links");
  CHECK(sample_of(temp / "links").manifest->entries == links.manifest->entries);
  const Sample again = sample_of(temp / "out");
  CHECK(again.manifest->entries == sample.manifest->entries);
}

TEST_CASE("modes follow the umask, and who may read a program may run it") {
  const TempFolder temp;
  write_file(temp / "tree/folder/file", "file");
  write_file(temp / "tree/program", "program", true);
  fs::create_directories(temp / "tree/empty");
  write_file(temp / "single", "program", true);
  const Sample tree = sample_of(temp / "tree"), single = sample_of(temp / "single");
  struct {
    mode_t umask, file, program;
  } const kinds[] = {{022, 0644, 0755}, {077, 0600, 0700}, {027, 0640, 0750}, {0, 0666, 0777}};
  for (const auto& kind : kinds) {
    const mode_t before = umask(kind.umask);
    const fs::path out = temp / ("out" + std::to_string(kind.umask));
    const fs::path alone = temp / ("alone" + std::to_string(kind.umask));
    fetch_to(tree, out);
    fetch_to(single, alone);
    umask(before);
    CHECK(mode_of(out) == (0777 & ~kind.umask));
    CHECK(mode_of(out / "folder") == (0777 & ~kind.umask));
    CHECK(mode_of(out / "empty") == (0777 & ~kind.umask));
    CHECK(mode_of(out / "folder/file") == kind.file);
    CHECK(mode_of(out / "program") == kind.program);
    CHECK(mode_of(alone) == kind.program);
  }
}

TEST_CASE("the partial folder is for its owner alone") {
  const TempFolder temp;
  const mode_t before = umask(0);
  const auto store = open_store(file_sample(temp, 10), temp / "out");
  umask(before);
  CHECK(mode_of(partial_of(temp / "out")) == 0700);
}

TEST_CASE("a target without a name is refused, and one without a folder for it, too") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 10);
  for (const char* name : {"", "/", ".", "..", "a/", "a/.", "a/.."}) {
    const Error error = error_of(try_open(sample, name));
    CHECK(error.code == ErrorCode::kUsage);
    CHECK(contains(error.message, "is no name for a file or folder"));
  }
  CHECK(contains(error_of(try_open(sample, temp / "none/out")).message, (temp / "none").string()));
}

TEST_CASE("names that the file system cannot tell apart are refused, both named, where it is so") {
  const TempFolder temp;
  const Sample sample = sample_of_paths({"a/File", "a/file", "\u00e9", "e\u0301"});
  StoreOptions options;
  options.tells_names_apart = [](const fs::path&) { return false; };
  const Error error = error_of(Store::open(sample.manifest, sample.id, temp / "out", options));
  CHECK(error.code == ErrorCode::kMalformed);
  CHECK(contains(error.message, "'a/File' and 'a/file'"));
  CHECK(fs::is_empty(temp.path()));
  options.tells_names_apart = [&](const fs::path& folder) {
    CHECK(folder == partial_of(temp / "out"));
    return true;
  };
  CHECK(Store::open(sample.manifest, sample.id, temp / "out", options).has_value());
  fetch_to(sample, temp / "tried");  // this one tells them apart
  for (const std::string name : {"a/File", "a/file", "\u00e9", "e\u0301"})
    CHECK(read_file(temp / "tried" / name) == name);
}

TEST_CASE(
    "several threads write and read different chunks at once, and a checkpoint comes between") {
  const TempFolder temp;
  for (int i = 0; i < 200; ++i)  // more than there are descriptors
    write_file(temp / "tree" / std::to_string(i),
               random_text(20'000, static_cast<std::uint64_t>(i)));
  const Sample sample = sample_of(temp / "tree");
  const auto store = open_store(sample, temp / "out");
  constexpr unsigned kThreads = 4;
  std::vector<int> wrong(kThreads, 0);
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (ChunkIndex i = t; i < sample.count(); i += kThreads) {
          Bytes bytes(sample.chunks[i].size());
          if (!store->write_chunk(i, sample.chunks[i]) || !store->read(i, 0, bytes) ||
              bytes != sample.chunks[i])
            ++wrong[t];
        }
      });
    succeed(store->checkpoint(Bitfield(sample.count())));
  }
  CHECK(wrong == std::vector<int>(kThreads, 0));
  int wrong_reads = 0;
  {
    std::jthread reader([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) wrong_reads += !reads_all(*store, sample);
    });
    succeed(store->commit());
  }
  CHECK(wrong_reads == 0);
  CHECK(snapshot(temp / "out") == snapshot(temp / "tree"));
}

TEST_CASE("after its place is taken a content is read on, with more files than descriptors") {
  const TempFolder temp;
  for (std::size_t i = 0; i < 3 * kMaxOpenFiles; ++i)
    write_file(temp / "tree" / std::to_string(i), random_text(2000, i));
  const Sample tree = sample_of(temp / "tree"), file = file_sample(temp, 200'000);
  for (const Sample& sample : {tree, file})
    for (const bool overwrite : {false, true}) {
      const fs::path target = temp / ("out" + sample.id.short_hex());
      const auto store = open_store(sample, target, overwrite);
      write_missing(*store, sample);
      succeed(store->commit());
      CHECK(reads_all(*store, sample));
      CHECK(reads_all(*store, sample));
    }
}

TEST_CASE("what is changed, cut or removed after it came into place is not served any more") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 200'000);
  const auto broken = [&](const std::function<void(const fs::path&)>& harm) {
    const auto store = open_store(sample, temp / "out", true);
    write_missing(*store, sample);
    succeed(store->commit());
    harm(temp / "out");
    Bytes bytes(100);
    const Error error = error_of(store->read(0, 0, bytes));
    CHECK(contains(error.message, "source changed: " + (temp / "out").string()));
    CHECK_FALSE(is_there(partial_of(temp / "out")));
    return error.code == ErrorCode::kCorrupt;
  };
  CHECK(broken([](const fs::path& path) { write_file(path, "other"); }));
  CHECK(broken([](const fs::path& path) { fs::resize_file(path, 1000); }));
  CHECK(broken([](const fs::path& path) { fs::remove(path); }));
  CHECK(broken([](const fs::path& path) {
    fs::remove(path);
    fs::create_directory(path);
  }));
}

TEST_CASE("20,000 small files are scanned, fetched, resumed and put in place in a few seconds") {
  const TempFolder temp;
  for (int i = 0; i < 20'000; ++i) {
    const fs::path path = temp / "tree" / std::to_string(i % 100) / std::to_string(i);
    write_file(path, "number " + std::to_string(i), i % 7 == 0);
  }
  const auto start = std::chrono::steady_clock::now();
  const Sample sample = sample_of(temp / "tree");
  {
    const auto store = open_store(sample, temp / "out");
    write_missing(*store, sample);
  }
  fetch_to(sample, temp / "out");
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
  CHECK(snapshot(temp / "out") == snapshot(temp / "tree"));
}
