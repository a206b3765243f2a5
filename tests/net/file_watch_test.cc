#include "net/file_watch.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <optional>

#include "tests/support/temp_folder.h"

using namespace p2p;
using namespace p2p::net;

namespace {

constexpr Duration kPeriod = std::chrono::milliseconds(2);

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

// Runs the loop until the watch says that something changed. False: it said nothing for long.
struct Watched {
  explicit Watched(std::filesystem::path path)
      : deadline(loop, [this] { loop.stop(); }),
        watch(
            loop, std::move(path),
            [this] {
              ++changes;
              loop.stop();
            },
            kPeriod) {}
  bool changed(Duration patience = std::chrono::seconds(30)) {
    const int before = changes;
    deadline.arm(Loop::now() + patience);
    loop.run();
    deadline.arm(kNever);
    return changes > before;
  }

  Loop loop;
  int changes = 0;
  Timer deadline;
  FileWatch watch;
};

}  // namespace

TEST_CASE("a file that is written, renamed over, removed or made is noticed each time") {
  test::TempFolder folder;
  const std::filesystem::path path = folder / "key";
  write(path, "one");
  Watched watched(path);
  write(path, "longer");
  CHECK(watched.changed());
  // Of equal size, as keys are.
  write(folder / "new", "LONGER");
  std::filesystem::rename(folder / "new", path);
  CHECK(watched.changed());
  write(folder / "new", "third!");
  std::filesystem::rename(folder / "new", path);
  CHECK(watched.changed());
  std::filesystem::remove(path);
  CHECK(watched.changed());
  write(path, "again");
  CHECK(watched.changed());
}

TEST_CASE("a symlink that is turned to another file is a change") {
  test::TempFolder folder;
  write(folder / "a", "a");
  write(folder / "b", "b");
  std::filesystem::create_symlink("a", folder / "key");
  Watched watched(folder / "key");
  std::filesystem::create_symlink("b", folder / "turned");
  std::filesystem::rename(folder / "turned", folder / "key");
  CHECK(watched.changed());
}

TEST_CASE("a file that stays, or is not there, is no change") {
  test::TempFolder folder;
  write(folder / "key", "one");
  Watched watched(folder / "key"), missing(folder / "missing");
  // Many periods, and looks: they go on, since a change afterwards is noticed.
  CHECK(!watched.changed(50 * kPeriod));
  CHECK(!missing.changed(50 * kPeriod));
  write(folder / "key", "two!");
  CHECK(watched.changed());
  write(folder / "missing", "");
  CHECK(missing.changed());
}

TEST_CASE("a watch may be destroyed in its own callback, and while it looks") {
  test::TempFolder folder;
  write(folder / "key", "one");
  Loop loop;
  std::optional<FileWatch> watch;
  bool called = false;
  watch.emplace(
      loop, folder / "key",
      [&] {
        called = true;
        watch.reset();
        loop.stop();
      },
      kPeriod);
  write(folder / "key", "longer");
  loop.run();
  CHECK(called);
  CHECK(!watch);

  // At a look: period zero looks in every turn of the loop.
  int turns = 0;
  watch.emplace(
      loop, folder / "key", [] {}, Duration::zero());
  Timer turn(loop, [&] {
    if (++turns == 20) {
      watch.reset();
      loop.stop();
    } else {
      turn.arm(Loop::now());
    }
  });
  turn.arm(Loop::now());
  loop.run();
  CHECK(turns == 20);
}
