// What a second scan hashes again, and what becomes of records on disk.
#include "content/hash_cache.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

// A moment at which all that was written until now has settled.
std::int64_t later_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::nanoseconds(now).count() + 2 * kUnsettledNs;
}

// Counts what is read by what is reported as hashed.
struct Scanned {
  std::shared_ptr<const Manifest> manifest;
  std::shared_ptr<HashRecord> record;
  std::uint64_t hashed_bytes = 0;
  std::uint64_t reported_bytes = 0;
};

Scanned scan(const fs::path& path, std::shared_ptr<const HashRecord> known = nullptr,
             std::function<std::int64_t()> clock = later_ns) {
  Scanned result;
  ScanOptions options;
  options.chunk_bytes = kMinChunkBytes;
  options.known = std::move(known);
  options.wall_clock_ns = std::move(clock);
  options.job.progress = [&](std::uint64_t done, std::uint64_t) { result.reported_bytes = done; };
  auto found = scan_path(path, options);
  INFO((found ? "" : found.error().message));
  REQUIRE(found.has_value());
  result.manifest = found->manifest;
  result.record = std::make_shared<HashRecord>(std::move(found->record));
  result.hashed_bytes = found->hashed_bytes;
  CHECK(result.hashed_bytes == result.reported_bytes);
  return result;
}

// Scans again with the record, and checks that the result is what a scan without it gives. The
// bytes that were hashed for it.
std::uint64_t hashed_again(const fs::path& path, const Scanned& before) {
  const Scanned again = scan(path, before.record);
  CHECK(*again.manifest == *scan(path).manifest);
  return again.hashed_bytes;
}

// Writes over what is there, in place, and sets the time of the last write back.
void overwrite_and_hide(const fs::path& path, std::string_view text) {
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  const timespec times[] = {status.st_atim, status.st_mtim};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

// Returns when a write gets another time than one just before: the times of files move in steps.
void wait_a_tick() {
  const TempFolder temp;
  const auto time_of_write = [&] {
    write_file(temp / "probe", "");
    struct stat status {};
    REQUIRE(stat((temp / "probe").c_str(), &status) == 0);
    return std::pair(status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
  };
  const auto first = time_of_write();
  while (time_of_write() == first) std::this_thread::yield();
}

constexpr std::uint64_t kChunk = kMinChunkBytes;

}  // namespace

TEST_CASE("what has not changed is not hashed again") {
  const TempFolder temp;
  write_file(temp / "file", random_text(10 * kChunk + 5, 1));
  const Scanned before = scan(temp / "file");
  CHECK(before.hashed_bytes == 10 * kChunk + 5);
  CHECK(hashed_again(temp / "file", before) == 0);
  CHECK(*scan(temp / "file", before.record).record == *before.record);
}

TEST_CASE("a write of the same size is noticed, also with its time set back") {
  const TempFolder temp;
  const fs::path path = temp / "file";
  write_file(path, random_text(3 * kChunk, 1));
  const Scanned before = scan(path);
  wait_a_tick();
  SECTION("plainly") { write_file(path, random_text(3 * kChunk, 2)); }
  SECTION("with its time set back") { overwrite_and_hide(path, "other"); }
  CHECK(hashed_again(path, before) == 3 * kChunk);
}

TEST_CASE("another file under the same name is noticed, also with the same times") {
  const TempFolder temp;
  const fs::path path = temp / "file";
  write_file(path, random_text(3 * kChunk, 1));
  const Scanned before = scan(path);
  write_file(temp / "other", random_text(3 * kChunk, 2));
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  const timespec times[] = {status.st_atim, status.st_mtim};
  REQUIRE(utimensat(AT_FDCWD, (temp / "other").c_str(), times, 0) == 0);
  fs::rename(temp / "other", path);
  CHECK(hashed_again(path, before) == 3 * kChunk);
}

TEST_CASE("a touch, or another length, is a change") {
  const TempFolder temp;
  const fs::path path = temp / "file";
  write_file(path, random_text(3 * kChunk, 1));
  const Scanned before = scan(path);
  wait_a_tick();
  SECTION("touch") {
    REQUIRE(utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0);
    CHECK(hashed_again(path, before) == 3 * kChunk);
  }
  SECTION("longer") {
    write_file(path, random_text(3 * kChunk + 1, 1));
    CHECK(hashed_again(path, before) == 3 * kChunk + 1);
  }
  SECTION("shorter") {
    write_file(path, random_text(2 * kChunk + 1, 1));
    CHECK(hashed_again(path, before) == 2 * kChunk + 1);
  }
}

TEST_CASE("what was written just before the scan is hashed again, as it may be written once more") {
  const TempFolder temp;
  write_file(temp / "file", random_text(3 * kChunk, 1));
  const auto now = [] { return later_ns() - 2 * kUnsettledNs; };
  const Scanned before = scan(temp / "file", nullptr, now);
  CHECK(hashed_again(temp / "file", before) == 3 * kChunk);
}

TEST_CASE("of a folder, the chunks that a changed file is in are hashed, and those moved by it") {
  const TempFolder temp;
  const fs::path tree = temp / "tree";
  for (char name = 'a'; name < 'k'; ++name)
    write_file(tree / std::string(1, name), random_text(2 * kChunk, static_cast<unsigned>(name)));
  write_file(tree / "empty", "");
  const Scanned before = scan(tree);
  CHECK(hashed_again(tree, before) == 0);
  wait_a_tick();
  SECTION("one of the same size") {
    write_file(tree / "c", random_text(2 * kChunk, 99));
    CHECK(hashed_again(tree, before) == 2 * kChunk);
  }
  SECTION("a longer one moves those after it") {
    write_file(tree / "i", random_text(2 * kChunk + 1, 99));
    CHECK(hashed_again(tree, before) == 4 * kChunk + 1);
  }
  SECTION("one gone") {
    fs::remove(tree / "i");
    CHECK(hashed_again(tree, before) == 2 * kChunk);
  }
  SECTION("one more at the end, and one that is empty in the middle") {
    write_file(tree / "z", "new");
    write_file(tree / "bb", "");
    CHECK(hashed_again(tree, before) == 3);
  }
  SECTION("two that change places") {
    fs::rename(tree / "c", tree / "t");
    fs::rename(tree / "f", tree / "c");
    fs::rename(tree / "t", tree / "f");
    CHECK(hashed_again(tree, before) == 4 * kChunk);
  }
}

TEST_CASE("chunks that run over file boundaries are known only if all their files are") {
  const TempFolder temp;
  const fs::path tree = temp / "tree";
  for (int i = 0; i < 100; ++i)
    write_file(tree / std::to_string(100 + i), random_text(5000, static_cast<unsigned>(i)));
  const Scanned before = scan(tree);
  wait_a_tick();
  // Bytes 65,000 to 70,000: on both sides of the first boundary.
  write_file(tree / "113", random_text(5000, 999));
  CHECK(hashed_again(tree, before) == 2 * kChunk);
}

TEST_CASE("a known source that changes while it is served is still noticed") {
  const TempFolder temp;
  write_file(temp / "file", random_text(3 * kChunk, 1));
  ScanOptions options;
  options.chunk_bytes = kMinChunkBytes;
  options.known = scan(temp / "file").record;
  const auto known = scan_path(temp / "file", options);
  REQUIRE(known.has_value());
  CHECK(known->hashed_bytes == 0);
  Bytes bytes(kChunk);
  succeed(known->files->read(0, 0, bytes));
  wait_a_tick();
  overwrite_and_hide(temp / "file", "x");
  write_file(temp / "file", random_text(3 * kChunk, 2));
  CHECK(known->files->read(0, 0, bytes).error().code == ErrorCode::kCorrupt);
}

TEST_CASE("a record with another chunk size is of no use") {
  const TempFolder temp;
  write_file(temp / "file", random_text(4 * kChunk, 1));
  ScanOptions options;
  options.chunk_bytes = 2 * kMinChunkBytes;
  options.known = scan(temp / "file").record;
  const auto other = scan_path(temp / "file", options);
  REQUIRE(other.has_value());
  CHECK(other->hashed_bytes == 4 * kChunk);
}

TEST_CASE("a record survives the disk, and a harmed one is none") {
  const TempFolder temp;
  write_file(temp / "file", random_text(3 * kChunk, 1));
  const HashRecord record = *scan(temp / "file").record;
  const auto key = HashCache::key_of(temp / "file", 0);
  REQUIRE(key.has_value());
  const HashCache cache(temp / "hashes");
  CHECK_FALSE(cache.load(*key));
  succeed(cache.save(*key, record));
  CHECK(mode_of(temp / "hashes") == 0700);
  const fs::path path = fs::directory_iterator(temp / "hashes")->path();
  CHECK(mode_of(path) == 0600);
  REQUIRE(cache.load(*key));
  CHECK(*cache.load(*key) == record);
  CHECK(cache.load(*key)->stamps.front().ctime_ns == record.stamps.front().ctime_ns);

  const std::string whole = read_file(path);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string harmed = whole;
    harmed[i] = static_cast<char>(harmed[i] ^ 1);
    write_file(path, harmed);
    CHECK_FALSE(cache.load(*key));
    write_file(path, whole.substr(0, i));
    CHECK_FALSE(cache.load(*key));
  }
  write_file(path, whole + "x");
  CHECK_FALSE(cache.load(*key));
  // Under another name, and as something else.
  const auto other = HashCache::key_of(temp.path(), 0);
  write_file(temp / "hashes" / (other->hex() + ".hashes"), whole);
  CHECK_FALSE(cache.load(*other));
  fs::remove(path);
  write_file(temp / "elsewhere", whole);
  fs::create_symlink(temp / "elsewhere", path);
  CHECK_FALSE(cache.load(*key));
  succeed(cache.save(*key, record));
  CHECK(cache.load(*key));
}

TEST_CASE("a record whose numbers do not fit each other is none, whatever its checksum") {
  const Digest key = chunk_digest({});
  HashRecord record{kMinChunkBytes, {{kChunk, 1, 2, 3}}, {Digest{}}};
  CHECK(decode_hash_record(encode_hash_record(record, key), key).has_value());
  SECTION("too few chunks") { record.chunk_hashes.clear(); }
  SECTION("too many") { record.chunk_hashes.emplace_back(); }
  SECTION("no chunk size") { record.chunk_bytes = 12345; }
  SECTION("sizes beyond all bounds") {
    record.stamps.front().size_bytes = UINT64_MAX;
    record.stamps.push_back({kChunk + 1, 1, 2, 3});
  }
  CHECK(decode_hash_record(encode_hash_record(record, key), key).error().code ==
        ErrorCode::kMalformed);
}

TEST_CASE("records that were used longest ago make room") {
  const TempFolder temp;
  const HashRecord record{kMinChunkBytes, {{kChunk, 1, 2, 3}}, {Digest{}}};
  const auto key = [](unsigned char i) { return chunk_digest(ByteView(&i, 1)); };
  const std::uint64_t each = encode_hash_record(record, key(0)).size();
  SECTION("by number") {
    const HashCache cache(temp / "hashes", {each * 100, 3});
    for (unsigned char i = 0; i < 5; ++i) {
      succeed(cache.save(key(i), record));
      wait_a_tick();
      if (i > 0) cache.touch(key(1));
      wait_a_tick();
    }
    for (unsigned char i = 0; i < 5; ++i)
      CHECK(cache.load(key(i)).has_value() == (i == 1 || i >= 3));
  }
  SECTION("by size, what is not ours too") {
    const HashCache cache(temp / "hashes", {each * 3, 100});
    fs::create_directory(temp / "hashes");
    write_file(temp / "hashes/left-behind.new", std::string(each, 'x'));
    for (unsigned char i = 0; i < 5; ++i) {
      wait_a_tick();
      succeed(cache.save(key(i), record));
    }
    for (unsigned char i = 0; i < 5; ++i) CHECK(cache.load(key(i)).has_value() == (i >= 2));
    CHECK_FALSE(is_there(temp / "hashes/left-behind.new"));
  }
  SECTION("one that is too large alone is not kept") {
    const HashCache cache(temp / "hashes", {each - 1, 100});
    succeed(cache.save(key(0), record));
    CHECK_FALSE(is_there(temp / "hashes"));
  }
}

TEST_CASE("a cache that cannot be written says so, and is empty") {
  const TempFolder temp;
  write_file(temp / "hashes", "no folder");
  const HashCache cache(temp / "hashes");
  CHECK_FALSE(cache.save(chunk_digest({}), {kMinChunkBytes, {{1, 1, 2, 3}}, {Digest{}}}));
  CHECK_FALSE(cache.load(chunk_digest({})));
}

TEST_CASE("two writers at once leave one whole record") {
  const TempFolder temp;
  const HashCache cache(temp / "hashes");
  const HashRecord record{kMinChunkBytes, {{kChunk, 1, 2, 3}}, {Digest{}}};
  const Digest key = chunk_digest({});
  const auto write = [&] {
    for (int i = 0; i < 100; ++i)
      if (!HashCache(temp / "hashes").save(key, record)) return false;
    return true;
  };
  const pid_t child = fork();
  if (child == 0) _exit(write() ? 0 : 1);
  CHECK(write());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(cache.load(key));
}
