// Planted links, full and read-only disks, too few descriptors, others' folders, two at one target.
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/content/child.h"
#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

// A tree to fetch, a target, and a folder elsewhere that nothing may touch.
struct Trap {
  Trap() {
    make_tree(temp / "tree");
    write_file(temp / "file", random_text(300'000, 8));
    tree = sample_of(temp / "tree");
    file = sample_of(temp / "file");
    write_file(temp / "outside/file", "outside");
    write_file(temp / "outside/large", "outside too");
    before = snapshot(temp / "outside");
  }
  ~Trap() { CHECK(snapshot(temp / "outside") == before); }

  // Replaces what is there.
  void plant(const fs::path& at, const fs::path& pointing_to) const {
    fs::remove_all(at);
    fs::create_symlink(pointing_to, at);
  }
  fs::path outside() const { return temp / "outside"; }
  fs::path target() const { return temp / "out"; }
  fs::path partial() const { return partial_of(target()); }

  TempFolder temp;
  Sample tree, file;
  Snapshot before;
};

// The first error of a whole fetch; empty where there is none.
std::string fetch_error(const Sample& sample, const fs::path& target) {
  auto store = try_open(sample, target);
  if (!store) return store.error().message;
  for (ChunkIndex i = 0; i < sample.count(); ++i)
    if (Status written = (*store)->write_chunk(i, sample.chunks[i]); !written)
      return written.error().message;
  const Status committed = (*store)->commit();
  return committed ? "" : committed.error().message;
}

bool warns_of_link(const std::string& message, const fs::path& where) {
  INFO(message);
  CHECK(contains(message, where.string()));
  return contains(message, "a symlink stands where a file or folder should be; it is not followed");
}

}  // namespace

TEST_CASE("a partial folder that is a link is not followed") {
  const Trap trap;
  for (const fs::path& to : {trap.outside(), trap.outside() / "file", trap.outside() / "none"})
    for (const Sample& sample : {trap.tree, trap.file}) {
      trap.plant(trap.partial(), to);
      CHECK(warns_of_link(fetch_error(sample, trap.target()), trap.partial()));
      CHECK(fs::is_symlink(trap.partial()));
    }
  fs::remove(trap.partial());
  write_file(trap.partial(), "a file");
  CHECK(contains(fetch_error(trap.file, trap.target()), trap.partial().string()));
  CHECK(read_file(trap.partial()) == "a file");
}

TEST_CASE("partial data that is a link to a file or folder is not followed") {
  const Trap trap;
  for (const Sample& sample : {trap.tree, trap.file}) {
    open_store(sample, trap.target());
    for (const fs::path& to : {trap.outside(), trap.outside() / "file", trap.outside() / "none"}) {
      trap.plant(trap.partial() / "data", to);
      CHECK(warns_of_link(fetch_error(sample, trap.target()), trap.partial() / "data"));
    }
    fs::remove_all(trap.partial());
  }
}

TEST_CASE("a link where a folder or file of the content should be is not followed") {
  const Trap trap;
  const fs::path data = trap.partial() / "data";
  const char* const places[] = {"b",     "b/c", "b/large", "a/small",
                                "empty", "run", "nothing", "nothing/here"};
  for (const std::string place : places)
    for (const fs::path& to : {trap.outside(), trap.outside() / "file", trap.outside() / "none"}) {
      open_store(trap.tree, trap.target());
      fs::create_directories((data / place).parent_path());
      trap.plant(data / place, to);
      CHECK(warns_of_link(fetch_error(trap.tree, trap.target()), data / place));
      fs::remove_all(trap.partial());
    }
}

TEST_CASE("a link swapped in between two writes is not followed") {
  const Trap trap;
  const fs::path data = trap.partial() / "data";
  for (const std::string place : {"b", "b/c", "b/c/d/deep", "a"}) {
    const auto store = open_store(trap.tree, trap.target());
    succeed(store->write_chunk(0, trap.tree.chunks[0]));
    trap.plant(data / place, trap.outside());
    Status status;
    for (ChunkIndex i = 0; i < trap.tree.count() && status; ++i)
      status = store->write_chunk(i, trap.tree.chunks[i]);
    if (status) status = store->commit();
    CHECK(warns_of_link(error_of(status).message, data / place));
    fs::remove_all(trap.partial());
  }
}

TEST_CASE("the partial folder swapped for a link during a fetch leads nowhere") {
  const Trap trap;
  const auto store = open_store(trap.file, trap.target());
  succeed(store->write_chunk(0, trap.file.chunks[0]));
  fs::rename(trap.partial(), trap.temp / "moved");
  trap.plant(trap.partial(), trap.outside());
  write_missing(*store, trap.file);
  succeed(store->checkpoint(Bitfield(trap.file.count(), true)));
  const Status committed = store->commit();
  // The data is in place by then; what cannot be tidied is said.
  CHECK(contains(error_of(committed).message, "is complete and in place, but cannot remove"));
  CHECK(read_file(trap.target()) == read_file(trap.temp / "file"));
}

TEST_CASE("journal, content and lock that are links are not followed") {
  const Trap trap;
  for (const std::string name :
       {"journal", "content", "lock", "replacing", "journal.new", "content.new"})
    for (const fs::path& to : {trap.outside(), trap.outside() / "file", trap.outside() / "none"}) {
      {
        const auto store = open_store(trap.file, trap.target());
        succeed(store->write_chunk(0, trap.file.chunks[0]));
      }
      trap.plant(trap.partial() / name, to);
      auto store = try_open(trap.file, trap.target());
      if (name == "lock") {
        CHECK(warns_of_link(error_of(store).message, trap.partial() / "lock"));
      } else {
        // A folder of unknown content is of no use; an unknown journal is none.
        REQUIRE(store.has_value());
        CHECK((*store)->resumed().count() == (name == "content" ? 0 : 1));
        succeed((*store)->write_chunk(0, trap.file.chunks[0]));
        Bitfield have(trap.file.count());
        have.set(0);
        succeed((*store)->checkpoint(have));
        CHECK(describe(trap.partial() / "journal").rfind("file", 0) == 0);
      }
      fs::remove_all(trap.partial());
    }
}

TEST_CASE("a link at a link's place is replaced, as after a crash in a commit") {
  const Trap trap;
  open_store(trap.tree, trap.target());
  trap.plant(trap.partial() / "data/link", trap.outside());
  fs::create_directories(trap.partial() / "data/loop/folder");
  CHECK(fetch_error(trap.tree, trap.target()) == "");
  CHECK(snapshot(trap.target()) == snapshot(trap.temp / "tree"));
}

TEST_CASE("a file with a second name elsewhere is not written to") {
  const Trap trap;
  open_store(trap.tree, trap.target());
  fs::create_directories(trap.partial() / "data/b");
  fs::create_hard_link(trap.outside() / "large", trap.partial() / "data/b/large");
  CHECK(contains(fetch_error(trap.tree, trap.target()), "(a hard link), and is not written to"));
  fs::remove_all(trap.partial());
  open_store(trap.file, trap.target());
  fs::create_hard_link(trap.outside() / "large", trap.partial() / "data");
  CHECK(fetch_error(trap.file, trap.target()) == "");  // that name was given up
  CHECK(read_file(trap.target()) == read_file(trap.temp / "file"));
}

TEST_CASE("FIFOs and folders planted in the partial folder hang nothing, and are named") {
  const Trap trap;
  const auto plant_fifo = [&](const std::string& name) {
    open_store(trap.tree, trap.target());
    fs::create_directories((trap.partial() / name).parent_path());
    fs::remove(trap.partial() / name);
    REQUIRE(mkfifo((trap.partial() / name).c_str(), 0600) == 0);
  };
  for (const std::string name : {"lock", "data/b/large", "data/empty"}) {
    plant_fifo(name);
    CHECK(fetch_error(trap.tree, trap.target()) ==
          (trap.partial() / name).string() + " is a FIFO, socket or device, and is left alone");
    fs::remove_all(trap.partial());
  }
  for (const std::string name : {"journal", "content"}) {
    plant_fifo(name);
    CHECK(fetch_error(trap.tree, trap.target()) == "");
    fs::remove_all(trap.target());
  }
  open_store(trap.file, trap.target());
  fs::create_directory(trap.partial() / "data");
  CHECK(contains(fetch_error(trap.file, trap.target()), "data is a folder where a file should be"));
}

TEST_CASE(
    "a second fetch to one target is refused while the first is at it, in one process or two") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 100'000), other = file_sample(temp, 100, 2);
  auto first = open_store(sample, temp / "out");
  const std::string message = (temp / "out").string() + " is being fetched by another process";
  for (const bool overwrite : {false, true})
    for (const Sample& second : {sample, other}) {
      const Error error = error_of(try_open(second, temp / "out", overwrite));
      CHECK(error.code == ErrorCode::kExists);
      CHECK(error.message == message);
    }
  CHECK(in_child([&] {
          const auto store = try_open(sample, temp / "out");
          expect(!store && store.error().message == message, "two processes at one target");
        }) == "");
  write_missing(*first, sample);
  first.reset();
  CHECK(open_store(sample, temp / "out")->resumed().all());
}

TEST_CASE("another target in the same folder is no concern of ours") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 100'000);
  const auto one = open_store(sample, temp / "one"), two = open_store(sample, temp / "two");
  write_missing(*one, sample);
  write_missing(*two, sample);
  succeed(one->commit());
  succeed(two->commit());
  CHECK(read_file(temp / "one") == read_file(temp / "two"));
}

TEST_CASE("somebody else's partial folder is refused: they could change what is in it") {
  if (geteuid() != 0) {
    WARN("skipped: not root, so no second user");
    return;
  }
  const TempFolder temp;
  fs::permissions(temp.path(), fs::perms::all);
  const Sample sample = file_sample(temp, 100'000);
  CHECK(in_child([&] {
          become_nobody();
          fs::create_directory(partial_of(temp / "out"));
          fs::permissions(partial_of(temp / "out"), fs::perms::all);
        }) == "");
  CHECK(contains(error_of(try_open(sample, temp / "out")).message, "belongs to another user"));
  CHECK(fs::is_empty(partial_of(temp / "out")));
}

TEST_CASE("a disk without room for the content is found full at the start") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 3'000'000);
  fs::create_directory(temp / "disk");
  CHECK(in_child([&] {
          mount_memory(temp / "disk", "size=1m");
          const auto store = try_open(sample, temp / "disk/out");
          expect(!store, "it is opened");
          expect(store.error().code == ErrorCode::kDiskFull, store.error().message);
          expect(contains(store.error().message, "2.86 MiB are missing"), store.error().message);
          expect(fs::is_empty(temp / "disk"), "something is left behind");
        }) == "");
}

TEST_CASE("a disk that fills up is said to be full, and the fetch goes on when there is room") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 900'000);
  fs::create_directory(temp / "disk");
  CHECK(in_child([&] {
          mount_memory(temp / "disk", "size=1m");
          {
            auto store = try_open(sample, temp / "disk/out");
            expect(store.has_value(), store ? "" : store.error().message);
            std::ofstream(temp / "disk/filler") << std::string(700'000, 'x');
            Status status;
            for (ChunkIndex i = 0; i < sample.count() && status; ++i)
              status = (*store)->write_chunk(i, sample.chunks[i]);
            expect(!status, "it takes more than there is");
            expect(status.error().code == ErrorCode::kDiskFull, status.error().message);
            expect(
                contains(status.error().message, (partial_of(temp / "disk/out") / "data").string()),
                status.error().message);
            expect(contains(status.error().message, "what was fetched is kept"), "no advice");
            const Status journal = (*store)->checkpoint(Bitfield(sample.count()));
            expect(!journal && journal.error().code == ErrorCode::kDiskFull, "a journal fits");
          }
          fs::remove(temp / "disk/filler");
          auto store = try_open(sample, temp / "disk/out");
          expect(store.has_value(), store ? "" : store.error().message);
          expect((*store)->resumed().count() >= 3, "nothing is resumed");
          for (ChunkIndex i = 0; i < sample.count(); ++i)
            expect((*store)->write_chunk(i, sample.chunks[i]).has_value(), "no room again");
          expect((*store)->commit().has_value(), "commit");
          expect(reads_all(**store, sample), "differs");
        }) == "");
}

TEST_CASE("a place that cannot be written is refused by name") {
  const TempFolder temp;
  const Sample sample = file_sample(temp, 1000);
  fs::create_directory(temp / "disk");
  CHECK(in_child([&] {
          mount_memory(temp / "disk", "size=1m");
          remount_read_only(temp / "disk");
          const auto store = try_open(sample, temp / "disk/out");
          expect(!store, "it is opened");
          expect(contains(store.error().message, partial_of(temp / "disk/out").string()) &&
                     contains(store.error().message, "choose a place that can be written"),
                 store.error().message);
        }) == "");
  fs::permissions(temp.path(), fs::perms::owner_all | fs::perms::others_read |
                                   fs::perms::others_exec | fs::perms::group_read |
                                   fs::perms::group_exec);
  CHECK(in_child([&] {
          if (geteuid() != 0) fs::permissions(temp.path(), fs::perms(0555));
          become_nobody();
          const auto store = try_open(sample, temp / "out");
          expect(!store, "it is opened");
          expect(contains(store.error().message,
                          partial_of(temp / "out").string() + ": Permission denied"),
                 store.error().message);
        }) == "");
  fs::permissions(temp.path(), fs::perms::owner_all);
}

TEST_CASE("a fetch does with few descriptors; with too few it says so, and loses nothing") {
  const TempFolder temp;
  for (std::size_t i = 0; i < 100; ++i)
    write_file(temp / "tree" / std::to_string(i), random_text(5000, i));
  const Sample sample = sample_of(temp / "tree");
  {
    const auto store = open_store(sample, temp / "out");
    for (ChunkIndex i = 0; i < 4; ++i) succeed(store->write_chunk(i, sample.chunks[i]));
  }
  const auto allow = [](int descriptors) {
    const rlimit limit{static_cast<rlim_t>(descriptors), 4096};
    setrlimit(RLIMIT_NOFILE, &limit);
  };
  CHECK(in_child([&] {
          const int used = dup(0);  // the lowest that is free
          Result<std::unique_ptr<Store>> store = Error{};
          for (int limit = used; !store; ++limit) {
            expect(limit < used + 20, "never enough");
            allow(limit);
            store = try_open(sample, temp / "out");
            if (!store) expect(contains(store.error().message, "ulimit -n"), store.error().message);
          }
          expect((*store)->resumed().count() == 4, "something is lost");
          for (ChunkIndex i = 0; i < sample.count(); ++i)
            expect((*store)->write_chunk(i, sample.chunks[i]).has_value(), "write with few");
          expect(reads_all(**store, sample), "read with few");
          allow(used);
          const Status none = (*store)->checkpoint(Bitfield(sample.count(), true));
          expect(!none && contains(none.error().message, "ulimit -n"), "a checkpoint with none");
          const Status commit = (*store)->commit();
          expect(!commit && contains(commit.error().message, "ulimit -n"), "a commit with none");
          allow(1024);
          expect((*store)->commit().has_value(), "commit");
        }) == "");
  CHECK(snapshot(temp / "out") == snapshot(temp / "tree"));
}
