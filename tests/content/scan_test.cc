// What a path becomes, and what is refused.
#include "content/scan.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/content/child.h"
#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

Manifest scanned(const fs::path& path, const ScanOptions& options = {}) {
  auto scan = scan_path(path, options);
  INFO((scan ? "" : scan.error().message));
  REQUIRE(scan.has_value());
  return *scan->manifest;
}

Error refusal(const fs::path& path, const ScanOptions& options = {}) {
  return error_of(scan_path(path, options));
}

// Changes the source once the first chunk has been hashed.
ScanOptions changing(const std::function<void()>& change) {
  ScanOptions options;
  options.job.threads = 1;
  options.job.progress = [change, done = false](std::uint64_t, std::uint64_t) mutable {
    if (!std::exchange(done, true)) change();
  };
  return options;
}

}  // namespace

TEST_CASE("a tree becomes its files, links and empty folders, sorted by bytes") {
  const TempFolder temp;
  const fs::path tree = make_tree(temp / "tree");
  write_file(tree / "a.b", "x");
  write_file(tree / "a-", "x");
  write_file(tree / "\u00e9", "x");
  write_file(tree / "B", "x");
  const Manifest manifest = scanned(tree);
  std::vector<std::string> paths;
  for (const Entry& entry : manifest.entries) paths.push_back(entry.path);
  CHECK(paths == std::vector<std::string>{"B", "a-", "a.b", "a/other", "a/small", "b/c/d/deep",
                                          "b/dangling", "b/large", "empty", "link", "loop",
                                          "nothing/here", "run", "\u00e9"});
  CHECK(manifest.name == "tree");
  succeed(validate_manifest(manifest));
  const auto entry = [&](const std::string& path) {
    for (const Entry& one : manifest.entries)
      if (one.path == path) return one;
    return Entry{};
  };
  CHECK(entry("run").kind == Entry::Kind::kExecutable);
  CHECK(entry("loop").target == "loop");
  CHECK(entry("b/dangling").target == "/nowhere/at/all");
  CHECK(entry("nothing/here").kind == Entry::Kind::kEmptyFolder);
}

TEST_CASE("the same source gives the same manifest, whatever the order on disk and the threads") {
  const TempFolder temp;
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) names.push_back(std::to_string(i * 7919 % 300));
  for (const std::string& name : names)
    write_file(temp / "one/tree" / name, random_text(3000, std::stoull(name)));
  std::reverse(names.begin(), names.end());
  for (const std::string& name : names)
    write_file(temp / "two/tree" / name, random_text(3000, std::stoull(name)));
  const Manifest first = scanned(temp / "one/tree");
  CHECK(scanned(temp / "one/tree") == first);
  CHECK(scanned(temp / "two/tree") == first);
  CHECK(scanned(temp / "one/../one/./tree/") == first);
  for (const unsigned threads : {1u, 2u, 3u, 8u, 100u}) {
    ScanOptions options;
    options.job.threads = threads;
    CHECK(scanned(temp / "one/tree", options) == first);
  }
}

TEST_CASE("a file becomes one entry with its name; a link given is what it points to") {
  const TempFolder temp;
  write_file(temp / "file", random_text(100'000, 1), true);
  fs::create_symlink("file", temp / "link");
  const Manifest manifest = scanned(temp / "file");
  CHECK(manifest.root == Manifest::Root::kFile);
  CHECK(manifest.name == "file");
  CHECK(manifest.entries.front().kind == Entry::Kind::kExecutable);
  CHECK(manifest.chunk_hashes.size() == 2);
  CHECK(scanned(temp / "link") == manifest);
}

TEST_CASE("empty files and folders become contents without chunks") {
  const TempFolder temp;
  write_file(temp / "empty", "");
  write_file(temp / "files/a", "");
  fs::create_directory(temp / "nothing");
  for (const char* name : {"empty", "files", "nothing"})
    CHECK(scanned(temp / name).chunk_hashes.empty());
  CHECK(scanned(temp / "nothing").entries.empty());
}

TEST_CASE("the chunk size is as given, if it is one") {
  const TempFolder temp;
  write_file(temp / "file", random_text(500'000, 1));
  ScanOptions options;
  options.chunk_bytes = 128 * 1024;
  CHECK(scanned(temp / "file", options).chunk_hashes.size() == 4);
  for (const std::uint32_t bad : {0u, 1u, 65'535u, 65'537u, 1u << 23, 1u << 31}) {
    options.chunk_bytes = bad;
    CHECK(refusal(temp / "file", options).code == ErrorCode::kUsage);
  }
}

TEST_CASE("FIFOs, sockets and devices are refused by name, without waiting for them") {
  const TempFolder temp;
  write_file(temp / "tree/a", "x");
  const auto refused = [&](const fs::path& path) {
    for (const fs::path& given : {path, path.parent_path()}) {
      const Error error = refusal(given);
      CHECK(error.code == ErrorCode::kIo);
      CHECK(contains(error.message, path.string() + " is a FIFO, socket or device"));
    }
    fs::remove(path);
  };
  REQUIRE(mkfifo((temp / "tree/fifo").c_str(), 0666) == 0);
  refused(temp / "tree/fifo");
  const Fd socket_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (temp / "tree/socket").string().copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(bind(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  refused(temp / "tree/socket");
  if (mknod((temp / "tree/device").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0)
    refused(temp / "tree/device");
  else
    WARN("no device: making one takes root");
  CHECK(contains(refusal("/dev/null").message, "/dev/null is a FIFO, socket or device"));
}

TEST_CASE("names that could not be fetched are refused by name, and where they are") {
  const TempFolder temp;
  for (const std::string name : {"a\\b", "new\nline", "\xff\xfe", "\u202etxt.exe", "C:x"}) {
    write_file(temp / "tree/sub" / name, "x");
    const Error error = refusal(name == "C:x" ? temp / "tree/sub" : temp / "tree");
    CHECK(error.code == ErrorCode::kMalformed);
    CHECK(contains(error.message, "cannot seed " + (temp / "tree/sub").string()));
    fs::remove_all(temp / "tree");
  }
  fs::path deep = temp / "tree";
  for (int i = 0; i < 100; ++i) deep /= "d";
  write_file(deep / "file", "x");
  CHECK(contains(refusal(temp / "tree").message, "folders deep"));
  fs::remove_all(temp / "tree");
  fs::create_directory(temp / "tree");
  fs::create_symlink("a\nb", temp / "tree/link");
  CHECK(contains(refusal(temp / "tree").message, (temp / "tree/link").string()));
  CHECK(contains(refusal(temp / "none").message, "cannot find " + (temp / "none").string()));
  CHECK(refusal("/").code == ErrorCode::kMalformed);
}

TEST_CASE("a file that cannot be read is named before all the others are hashed") {
  const TempFolder temp;
  fs::permissions(temp.path(), fs::perms::owner_all | fs::perms::others_all);
  write_file(temp / "tree/a", random_text(100, 1));
  write_file(temp / "tree/b", random_text(10'000'000, 1));
  fs::permissions(temp / "tree/a", fs::perms::none);
  CHECK(in_child([&] {
          become_nobody();
          std::uint64_t hashed = 0;
          ScanOptions options;
          options.job.threads = 1;
          options.job.progress = [&](std::uint64_t done, std::uint64_t) { hashed = done; };
          const auto scan = scan_path(temp / "tree", options);
          expect(!scan && scan.error().code == ErrorCode::kIo, "it is scanned");
          expect(contains(scan.error().message, (temp / "tree/a").string() + ": Permission denied"),
                 scan.error().message);
          expect(hashed < 1'000'000, "all is hashed first");
        }) == "");
  fs::permissions(temp / "tree/a", fs::perms::owner_all);
  fs::create_directory(temp / "tree/locked");
  fs::permissions(temp / "tree/locked", fs::perms::none);
  CHECK(in_child([&] {
          become_nobody();
          const auto scan = scan_path(temp / "tree", {});
          expect(!scan && contains(scan.error().message, (temp / "tree/locked").string()),
                 "a locked folder is scanned");
        }) == "");
  fs::permissions(temp / "tree/locked", fs::perms::owner_all);
}

TEST_CASE("a file that changes, shrinks or goes while it is hashed is named") {
  const TempFolder temp;
  const auto tried = [&](const std::string& harmed,
                         const std::function<void(const fs::path&)>& change) {
    write_file(temp / "tree/a", random_text(100'000, 1));
    write_file(temp / "tree/b", random_text(100'000, 2));
    const fs::path path = temp / "tree" / harmed;
    const Error error = refusal(temp / "tree", changing([&] { change(path); }));
    CHECK(error.code == ErrorCode::kCorrupt);
    CHECK(contains(error.message, path.string()));
    fs::remove_all(temp / "tree");
  };
  for (const std::string name : {"a", "b"}) {
    tried(name, [](const fs::path& path) { std::ofstream(path, std::ios::app) << "more"; });
    tried(name, [](const fs::path& path) { fs::resize_file(path, 10); });
    tried(name, [](const fs::path& path) { fs::remove(path); });
    tried(name, [](const fs::path& path) {
      const std::string text = read_file(path);
      fs::remove(path);
      write_file(path, text);
    });
  }
}

TEST_CASE("an interrupted scan says so") {
  const TempFolder temp;
  write_file(temp / "file", random_text(1'000'000, 1));
  std::stop_source stop;
  ScanOptions options = changing([&] { stop.request_stop(); });
  options.job.stop = stop.get_token();
  CHECK(refusal(temp / "file", options).code == ErrorCode::kInterrupted);
}

TEST_CASE("sizes that are too large, or overflow together, are refused before anything is hashed") {
  const TempFolder temp;
  const auto sparse = [&](const std::string& name, off_t bytes) {
    write_file(temp / "tree" / name, "");
    return truncate((temp / "tree" / name).c_str(), bytes) == 0;
  };
  constexpr off_t kHuge = std::numeric_limits<off_t>::max() / 4096 * 4096;
  if (!sparse("a", kHuge) || !sparse("b", kHuge) || !sparse("c", kHuge)) {
    WARN("skipped: no sparse files of 8 EiB here");
    return;
  }
  CHECK(refusal(temp / "tree").code == ErrorCode::kLimit);
  CHECK(contains(refusal(temp / "tree").message, "bytes"));
  fs::remove_all(temp / "tree");
  REQUIRE(sparse("a", off_t{1} << 40));
  ScanOptions options;
  options.chunk_bytes = kMinChunkBytes;
  CHECK(contains(refusal(temp / "tree", options).message, "choose a larger --chunk-size"));
}

TEST_CASE("a source is taken up again if it is what the manifest says, and served from there") {
  const TempFolder temp;
  const Sample tree = sample_of(make_tree(temp / "tree")), file = file_sample(temp, 200'000);
  const auto tree_files = open_checked_source(tree.manifest, temp / "tree", {});
  REQUIRE(tree_files.has_value());
  CHECK(reads_all(**tree_files, tree));
  const auto file_files = open_checked_source(file.manifest, temp / "source-1", {});
  REQUIRE(file_files.has_value());
  CHECK(reads_all(**file_files, file));
  write_file(temp / "source-1", "changed");
  Bytes bytes(10);
  CHECK(error_of((*file_files)->read(0, 0, bytes)).code == ErrorCode::kCorrupt);
}

TEST_CASE(
    "a source that is not what the manifest says is refused, and the first difference named") {
  const TempFolder temp;
  const Sample tree = sample_of(make_tree(temp / "tree")), file = file_sample(temp, 400'000);
  const auto differs = [](const Sample& sample, const fs::path& path, const std::string& part) {
    const Error error = error_of(open_checked_source(sample.manifest, path, {}));
    CHECK(error.code == ErrorCode::kCorrupt);
    INFO(error.message);
    CHECK(contains(error.message, path.string() + " is not what the link names: "));
    return contains(error.message, part);
  };
  CHECK(differs(tree, temp / "source-1", "one is a file, the other a folder"));
  CHECK(differs(file, temp / "tree", "one is a file, the other a folder"));
  std::string text = read_file(temp / "source-1");
  text[2 * kMinChunkBytes] ^= 1;
  text[4 * kMinChunkBytes] ^= 1;
  write_file(temp / "other", text);
  CHECK(differs(file, temp / "other", "2 of 7 chunks differ, the first is chunk 2"));
  write_file(temp / "longer", read_file(temp / "source-1") + "x");
  CHECK(differs(file, temp / "longer", "has 400001 bytes instead of 400000"));
  write_file(temp / "tree/b/large", random_text(300'000, 55));
  CHECK(differs(tree, temp / "tree",
                "the first is chunk 1, which begins in " + (temp / "tree/b/c/d/deep").string()));
  fs::resize_file(temp / "tree/b/large", 10);
  CHECK(differs(tree, temp / "tree", (temp / "tree/b/large").string() + " has 10 bytes"));
  fs::remove(temp / "tree/empty");
  CHECK(differs(tree, temp / "tree", (temp / "tree/empty").string()));
  write_file(temp / "none", "");
  const Sample nothing = sample_of(temp / "none");
  REQUIRE(mkfifo((temp / "fifo").c_str(), 0600) == 0);
  CHECK(differs(nothing, temp / "fifo", "is no file any more"));
}
