// What is found again after a download was dropped, killed at any moment, or had its journal
// harmed.
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "content/journal.h"
#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

Bitfield first_chunks(const Sample& sample, ChunkIndex count) {
  Bitfield chunks(sample.count());
  for (ChunkIndex i = 0; i < count; ++i) chunks.set(i);
  return chunks;
}

// Writes the first chunks and drops the store, with or without a checkpoint of them.
void leave_behind(const Sample& sample, const fs::path& target, ChunkIndex count, bool journal) {
  const auto store = open_store(sample, target);
  for (ChunkIndex i = 0; i < count; ++i) succeed(store->write_chunk(i, sample.chunks[i]));
  if (journal) succeed(store->checkpoint(first_chunks(sample, count)));
}

fs::path journal_of(const fs::path& target) { return partial_of(target) / "journal"; }

Bitfield journalled(const Sample& sample, const fs::path& target) {
  const std::string text = read_file(journal_of(target));
  auto journal = decode_journal(bytes_of(text), sample.id, sample.count());
  return journal ? *journal : Bitfield(sample.count());
}

void flip_byte(const fs::path& path, std::uint64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 0x40));
  REQUIRE(file.good());
}

bool has_bits(const Bitfield& all, const Bitfield& some) { return !some.has_any_not_in(all); }

// Every chunk that the store says it has can be read and is right.
bool is_honest(const Store& store, const Sample& sample) {
  const Bitfield& resumed = store.resumed();
  for (ChunkIndex i = resumed.next_set(0); i < resumed.size(); i = resumed.next_set(i + 1)) {
    Bytes bytes(sample.chunks[i].size());
    if (!store.read(i, 0, bytes) || bytes != sample.chunks[i]) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("dropped after any chunk, with or without a checkpoint, all that was written is found") {
  const TempFolder temp;
  make_tree(temp / "tree");
  file_sample(temp, 400'000);
  for (const std::string source : {"tree", "source-1"}) {
    const Sample sample = sample_of(temp / source);
    const fs::path target = temp / ("out-" + source);
    for (ChunkIndex count = 0; count <= sample.count(); ++count)
      for (const bool journal : {false, true}) {
        leave_behind(sample, target, count, journal);
        {
          const auto store = open_store(sample, target);
          CHECK(store->resumed() == first_chunks(sample, count));
          CHECK(is_honest(*store, sample));
        }
        fs::remove_all(partial_of(target));
      }
    leave_behind(sample, target, sample.count() / 2, true);
    fetch_to(sample, target);
    CHECK(snapshot(target) == snapshot(temp / source));
  }
}

TEST_CASE("a chunk that was written over in several sittings is found like any other") {
  const TempFolder temp;
  const Sample sample = sample_of(make_tree(temp / "tree"));
  for (ChunkIndex i = sample.count(); i-- > 0;) {
    const auto store = open_store(sample, temp / "out");
    CHECK(store->resumed().count() == sample.count() - 1 - i);
    succeed(store->write_chunk(i, sample.chunks[i]));
    if (i % 2) {
      Bitfield have = store->resumed();
      have.set(i);
      succeed(store->checkpoint(have));
    }
  }
  CHECK(open_store(sample, temp / "out")->resumed().all());
}

TEST_CASE("a chunk damaged on disk is not taken up, unless the journal vouches for it") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 400'000);
  leave_behind(sample, temp / "out", 2, true);
  {
    const auto store = open_store(sample, temp / "out");
    succeed(store->write_chunk(2, sample.chunks[2]));
    succeed(store->write_chunk(3, sample.chunks[3]));
  }
  flip_byte(partial_of(temp / "out") / "data", 2 * kMinChunkBytes + 17);
  const auto store = open_store(sample, temp / "out");
  Bitfield expected = first_chunks(sample, 4);
  expected.reset(2);
  CHECK(store->resumed() == expected);
  write_missing(*store, sample);
  succeed(store->commit());
  CHECK(read_file(temp / "out") == read_file(temp / "source-1"));
}

TEST_CASE("data that somebody cut or removed is not taken up, even if the journal names it") {
  const TempFolder temp;
  const Sample file = file_sample(temp, 400'000);
  leave_behind(file, temp / "out", 4, true);
  fs::resize_file(partial_of(temp / "out") / "data", 2 * kMinChunkBytes + 17);
  CHECK(open_store(file, temp / "out")->resumed() == first_chunks(file, 2));
  fs::remove(partial_of(temp / "out") / "data");
  CHECK(open_store(file, temp / "out")->resumed().none());

  const Sample tree = sample_of(make_tree(temp / "tree"));
  leave_behind(tree, temp / "tree-out", tree.count(), true);
  fs::remove(partial_of(temp / "tree-out") / "data/a/other");  // one of several in the first chunk
  const auto store = open_store(tree, temp / "tree-out");
  CHECK(store->resumed().count() == tree.count() - 1);
  CHECK_FALSE(store->resumed().test(0));
  write_missing(*store, tree);
  succeed(store->commit());
  CHECK(snapshot(temp / "tree-out") == snapshot(temp / "tree"));
}

TEST_CASE("what is removed or cut before the commit is never made up for with zeros") {
  const TempFolder temp;
  const Sample tree = sample_of(make_tree(temp / "tree"));
  const auto store = open_store(tree, temp / "out");
  write_missing(*store, tree);
  succeed(store->checkpoint(Bitfield(tree.count(), true)));
  const fs::path data = partial_of(temp / "out") / "data";
  fs::resize_file(data / "b/large", 1000);
  Error error = error_of(store->commit());
  CHECK(error.code == ErrorCode::kCorrupt);
  CHECK(contains(error.message, (data / "b/large").string()));
  fs::remove(data / "b/large");
  error = error_of(store->commit());
  CHECK(error.code == ErrorCode::kCorrupt);
  CHECK(contains(error.message, "run the same command again"));
  CHECK_FALSE(is_there(temp / "out"));
}

TEST_CASE("a longer file from elsewhere in the partial data is cut to its length") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 100'000);
  leave_behind(sample, temp / "out", 2, false);
  std::ofstream(partial_of(temp / "out") / "data", std::ios::app) << "more";
  fetch_to(sample, temp / "out");
  CHECK(read_file(temp / "out") == read_file(temp / "source-1"));
}

TEST_CASE("however the journal is harmed, all data is found by its hashes") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 400'000);
  const fs::path target = temp / "out";
  leave_behind(sample, target, 4, true);
  const fs::path journal = journal_of(target);
  const std::string good = read_file(journal);
  const auto found_with = [&](const std::string& bytes) {
    write_file(journal, bytes);
    return open_store(sample, target)->resumed() == first_chunks(sample, 4);
  };
  CHECK(found_with(good));
  CHECK(found_with(""));
  CHECK(found_with(std::string(good.size(), '\0')));
  CHECK(found_with(good + "x"));
  CHECK(found_with(std::string(1 << 20, 'x')));
  for (std::size_t length = 0; length < good.size(); ++length)
    CHECK(found_with(good.substr(0, length)));
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string flipped = good;
    flipped[at] ^= 1;
    CHECK(found_with(flipped));
  }
  ContentId other;
  other.bytes.fill(7);
  const Bytes foreign = encode_journal(other, Bitfield(sample.count(), true));
  CHECK(found_with(std::string(text_of(foreign))));
  const Bytes of_more = encode_journal(sample.id, Bitfield(sample.count() + 1, true));
  CHECK(found_with(std::string(text_of(of_more))));
  fs::remove(journal);
  fs::create_directory(journal);
  CHECK(open_store(sample, target)->resumed() == first_chunks(sample, 4));
}

TEST_CASE("a journal that names chunks without data is not believed") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 400'000);
  leave_behind(sample, temp / "out", 2, true);
  const Bytes boast = encode_journal(sample.id, Bitfield(sample.count(), true));
  write_file(journal_of(temp / "out"), text_of(boast));
  CHECK(open_store(sample, temp / "out")->resumed() == first_chunks(sample, 2));
}

TEST_CASE("chunks of zeros are found, be they data or holes, with and without a journal") {
  const TempFolder temp;
  write_file(temp / "zeros",
             std::string(150'000, '\0') + random_text(100'000, 1) + std::string(150'000, '\0'));
  write_file(temp / "tree/a", std::string(1000, '\0'));
  write_file(temp / "tree/b", std::string(200'000, '\0'));
  for (const std::string source : {"zeros", "tree"})
    for (const bool journal : {false, true}) {
      const Sample sample = sample_of(temp / source);
      const fs::path target = temp / ("out-" + source);
      leave_behind(sample, target, sample.count(), journal);
      CHECK(open_store(sample, target)->resumed().all());
      // As a file system does that stores zeros as holes.
      for (const auto& entry : fs::recursive_directory_iterator(partial_of(target)))
        if (entry.is_regular_file() && entry.file_size() > 512 && source == "tree") {
          fs::resize_file(entry.path(), 0);
          fs::resize_file(entry.path(), entry.path().filename() == "a" ? 1000 : 200'000);
        }
      CHECK(open_store(sample, target)->resumed().all());
      fs::remove_all(partial_of(target));
    }
}

TEST_CASE("a partial folder of another content is emptied, and nothing outside is touched") {
  const TempFolder temp;
  const Sample first = sample_of(make_tree(temp / "first", 1));
  const Sample second = file_sample(temp, 300'000, 2);
  const fs::path partial = partial_of(temp / "out");
  write_file(temp / "outside/file", "outside");
  leave_behind(first, temp / "out", first.count(), true);
  fs::create_directory_symlink(temp / "outside", partial / "data/planted");
  fs::create_directory_symlink(temp / "outside", partial / "journal.new");
  const Snapshot before = snapshot(temp / "outside");
  {
    const auto store = open_store(second, temp / "out");
    CHECK(store->resumed().none());
    CHECK_FALSE(is_there(partial / "data"));
    CHECK_FALSE(is_there(partial / "journal"));
    write_missing(*store, second);
  }
  CHECK(open_store(first, temp / "out")->resumed().none());
  CHECK(snapshot(temp / "outside") == before);
  fetch_to(second, temp / "out");
  CHECK(read_file(temp / "out") == read_file(temp / "source-2"));
}

TEST_CASE("a fetch that cannot begin leaves nothing behind, and keeps what an earlier one left") {
  const TempFolder temp;
  Sample huge = file_sample(temp, 300'000);
  Manifest manifest = *huge.manifest;
  manifest.chunk_bytes = kMaxChunkBytes;
  manifest.entries[0].size_bytes = kMaxContentBytes;
  manifest.chunk_hashes.assign(kMaxChunks, Digest{});
  huge.manifest = std::make_shared<const Manifest>(std::move(manifest));
  const Error error = error_of(try_open(huge, temp / "out"));
  CHECK(error.code == ErrorCode::kDiskFull);
  CHECK(contains(error.message, "no room for " + (temp / "out").string()));
  CHECK_FALSE(is_there(partial_of(temp / "out")));

  const Sample sample = file_sample(temp, 300'000);
  leave_behind(sample, temp / "out", 3, false);
  write_file(temp / "out", "in the way");
  CHECK(error_of(try_open(sample, temp / "out")).code == ErrorCode::kExists);
  fs::remove(temp / "out");
  CHECK(open_store(sample, temp / "out")->resumed().count() == 3);
}

TEST_CASE("an interrupted search for what is there says so, and loses nothing") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 300'000);
  leave_behind(sample, temp / "out", 3, false);
  StoreOptions options;
  std::stop_source stop;
  stop.request_stop();
  options.resume_job.stop = stop.get_token();
  CHECK(error_of(Store::open(sample.manifest, sample.id, temp / "out", options)).code ==
        ErrorCode::kInterrupted);
  CHECK(open_store(sample, temp / "out")->resumed().count() == 3);
}

namespace {

// What a child that is going to be killed has told so far, in memory that both see.
struct Told {
  std::atomic<std::uint32_t> written{0};  // chunks, in order
  std::atomic<std::uint32_t> checkpointed{0};
  std::atomic<bool> committed{false};
};

struct SharedTold {
  SharedTold() {
    void* memory =
        mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    told = new (memory) Told;
  }
  ~SharedTold() { munmap(told, sizeof(Told)); }
  Told* told;
};

// A whole download, in the child. Not one of Catch's checks works there.
void fetch_and_tell(const Sample& sample, const fs::path& target, bool overwrite, Told& told) {
  auto store = try_open(sample, target, overwrite);
  if (!store) _exit(2);
  Bitfield have = (*store)->resumed();
  for (ChunkIndex i = 0; i < sample.count(); ++i) {
    if (!have.test(i) && !(*store)->write_chunk(i, sample.chunks[i])) _exit(3);
    have.set(i);
    told.written = i + 1;
    if (i % 3 != 1) continue;
    if (!(*store)->checkpoint(have)) _exit(4);
    told.checkpointed = i + 1;
  }
  if (!(*store)->commit()) _exit(5);
  told.committed = true;
  _exit(0);
}

// Runs the body in a child up to its n-th stop at a system call (each has two, before and after: an
// odd number stops before one), and kills it there. Whether it got that far; nothing where tracing
// is not allowed.
std::optional<bool> kill_at(int stop, const std::function<void()>& body) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
    raise(SIGSTOP);
    body();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 99) return std::nullopt;
  for (int i = 0; i < stop; ++i) {
    // The tracer hands on no signal: none is expected.
    REQUIRE(ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) {
      CHECK(WEXITSTATUS(status) == 0);
      return false;
    }
    REQUIRE(WIFSTOPPED(status));
  }
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, &status, 0) == child);
  return true;
}

// A sanitizer makes a fork slow: then not every system call is tried.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kEvery = 7;
#else
constexpr int kEvery = 1;
#endif

struct CrashPlan {
  std::string source;  // in the folder of the test
  std::string old;     // made at the target before: "", "file", "folder"
};

void prepare_target(const fs::path& target, const CrashPlan& plan) {
  fs::remove_all(target);
  fs::remove_all(partial_of(target));
  if (plan.old == "file") write_file(target, random_text(200'000, 77));
  if (plan.old == "folder") {
    write_file(target / "b/large", "not the new one");
    write_file(target / "extra", "not of the new content");
    fs::create_symlink("extra", target / "a");
  }
}

// What must hold after the child was killed.
void check_after_kill(const Sample& sample, const fs::path& target, const Snapshot& old,
                      const Snapshot& whole, const Told& told) {
  const Snapshot now = snapshot(target);
  const bool in_place = now == whole;
  CHECK((in_place || now == old));
  if (told.committed) CHECK(in_place);
  if (!in_place || is_there(partial_of(target))) {
    auto store = open_store(sample, target, true);
    CHECK(is_honest(*store, sample));
    if (!in_place) {
      CHECK(has_bits(store->resumed(), first_chunks(sample, told.written)));
      CHECK(has_bits(store->resumed(), journalled(sample, target)));
      CHECK(has_bits(journalled(sample, target), first_chunks(sample, told.checkpointed)));
    }
    write_missing(*store, sample);
    succeed(store->commit());
  }
  CHECK(snapshot(target) == whole);
  CHECK_FALSE(is_there(partial_of(target)));
}

}  // namespace

TEST_CASE(
    "killed at any system call, nothing that was told is lost, and the target is old or new") {
  const TempFolder temp;
  make_tree(temp / "tree");
  file_sample(temp, 300'000);
  const CrashPlan plans[] = {{"source-1", ""},
                             {"tree", ""},
                             {"source-1", "file"},
                             {"source-1", "folder"},
                             {"tree", "folder"}};
  for (const CrashPlan& plan : plans) {
    const Sample sample = sample_of(temp / plan.source);
    const Snapshot whole = snapshot(temp / plan.source);
    const fs::path target = temp / "out";
    std::optional<bool> killed = true;
    for (int stop = 1; killed == true; stop += 2 * kEvery) {
      INFO(plan.source << " over " << plan.old << ", killed at stop " << stop);
      prepare_target(target, plan);
      const Snapshot old = snapshot(target);
      const SharedTold shared;
      killed =
          kill_at(stop, [&] { fetch_and_tell(sample, target, !plan.old.empty(), *shared.told); });
      if (!killed) break;
      check_after_kill(sample, target, old, whole, *shared.told);
    }
    if (!killed) WARN("skipped: a process may not trace its child here");
    fs::remove_all(target);
  }
}

TEST_CASE(
    "killed with SIGKILL while it writes, all that it told of is found; the lock is no hindrance") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 3'000'000);
  for (std::uint32_t wanted = 1; wanted < sample.count(); wanted += 7) {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      auto store = try_open(sample, temp / "out");
      if (!store) _exit(2);
      for (std::uint32_t i = sample.count(); i-- > 0;) {
        if (!(*store)->write_chunk(i, sample.chunks[i])) _exit(3);
        if (write(ends[1], &i, sizeof i) != sizeof i) _exit(4);
      }
      pause();
    }
    close(ends[1]);
    Bitfield told(sample.count());
    std::uint32_t chunk = 0;
    while (told.count() < wanted && read(ends[0], &chunk, sizeof chunk) == sizeof chunk)
      told.set(chunk);
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    while (read(ends[0], &chunk, sizeof chunk) == sizeof chunk) told.set(chunk);
    close(ends[0]);
    CHECK(told.count() >= wanted);
    const auto store = open_store(sample, temp / "out");
    CHECK(has_bits(store->resumed(), told));
    CHECK(is_honest(*store, sample));
  }
  fetch_to(sample, temp / "out");
  CHECK(read_file(temp / "out") == read_file(temp / "source-1"));
}

TEST_CASE("processes that fetch to one target over and over never harm each other's work") {
  const TempFolder temp;
  const Sample sample = sample_of(make_tree(temp / "tree"));
  const Snapshot whole = snapshot(temp / "tree");
  constexpr int kProcesses = 4;
  constexpr int kFetches = 40;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int done = 0; done < kFetches;) {
        auto store = try_open(sample, temp / "out", true);
        if (!store) {
          if (store.error().code == ErrorCode::kExists) continue;
          [[maybe_unused]] auto n =
              write(2, store.error().message.data(), store.error().message.size());
          _exit(2);
        }
        for (ChunkIndex i = 0; i < sample.count(); ++i)
          if (!(*store)->resumed().test(i) && !(*store)->write_chunk(i, sample.chunks[i])) _exit(3);
        if (Status committed = (*store)->commit(); !committed) {
          [[maybe_unused]] auto n =
              write(2, committed.error().message.data(), committed.error().message.size());
          _exit(4);
        }
        if (!reads_all(**store, sample) && p < 0) _exit(5);
        ++done;
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  CHECK(snapshot(temp / "out") == whole);
  CHECK_FALSE(is_there(partial_of(temp / "out")));
}
