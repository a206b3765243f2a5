// Opening, making and removing beneath a folder, whoever plants what there.
#include "content/rooted.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <catch2/catch.hpp>

#include "tests/content/child.h"
#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

Fd folder_at(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(fd);
  return fd;
}

std::string deep_path(int depth, const std::string& name) {
  std::string path = name;
  for (int i = 1; i < depth; ++i) path += "/" + name;
  return path;
}

// A chain of folders deeper than any path can name, with a file at its end.
void dig(const fs::path& root, int depth) {
  fs::create_directory(root);
  Fd at = folder_at(root);
  for (int i = 0; i < depth; ++i) {
    REQUIRE(mkdirat(at.get(), "down", 0777) == 0);
    at = Fd(openat(at.get(), "down", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(at);
  }
  REQUIRE(Fd(openat(at.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0666)));
}

// The checks hold with openat2 and with the walk that older kernels get.
void refuses_what_is_planted(const fs::path& base, const fs::path& outside) {
  const Fd folder(::open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto code = [&](const std::string& path, int flags) {
    return try_open_beneath(folder.get(), path, flags, 0666).error_number;
  };
  expect(code("sound/file", O_RDONLY) == 0, "a sound file is refused");
  expect(code("sound", O_RDONLY | O_DIRECTORY) == 0, "a sound folder is refused");
  for (const int flags : {O_RDONLY, O_RDWR | O_CREAT}) {
    expect(code("file-link", flags) == ELOOP, "a link to a file is followed");
    expect(code("folder-link/file", flags) == ELOOP, "a link to a folder is followed");
    expect(code("dangling", flags) == ELOOP, "a dangling link is followed");
    expect(code("loop", flags) == ELOOP, "a loop is followed");
    expect(code("folder-link/new", flags) == ELOOP, "a file is made through a link");
    expect(code("sound/file/below", flags) == ENOTDIR, "a file is entered");
    expect(code("../" + outside.filename().string() + "/file", flags) == EXDEV,
           "the way up is open");
    expect(code("fifo", flags) == ENXIO, "a FIFO is opened");
    expect(is_missing_or_other(code("sound", flags)), "a folder is opened as a file");
    expect(code("socket", flags) == ENXIO, "a socket is opened");
  }
  expect(code("fifo", O_WRONLY) == ENXIO, "a FIFO is opened for writing");
  expect(code("folder-link", O_RDONLY | O_DIRECTORY) == ELOOP, "a link to a folder is opened");
  expect(code("missing", O_RDONLY) == ENOENT, "what is missing is not called so");
  expect(code("hard", O_RDONLY) == 0, "a file with two names cannot be read");
  expect(code("hard", O_RDWR) == EMLINK, "a file with two names can be written");
  expect(code(outside.string() + "/file", O_RDONLY) != 0, "an absolute path is opened");
}

void plant(const TempFolder& temp) {
  write_file(temp / "outside/file", "outside");
  write_file(temp / "base/sound/file", "inside");
  fs::create_symlink(temp / "outside/file", temp / "base/file-link");
  fs::create_symlink(temp / "outside", temp / "base/folder-link");
  fs::create_symlink(temp / "outside/none", temp / "base/dangling");
  fs::create_symlink("loop", temp / "base/loop");
  REQUIRE(mkfifo((temp / "base/fifo").c_str(), 0666) == 0);
  fs::create_hard_link(temp / "outside/file", temp / "base/hard");
  const Fd socket_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = temp / "base/socket";
  REQUIRE(path.size() < sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  REQUIRE(bind(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

}  // namespace

TEST_CASE("no link, FIFO, socket or way up is opened, by the kernel's rules or by our own walk") {
  const TempFolder temp;
  plant(temp);
  const Snapshot before = snapshot(temp / "outside");
  CHECK(in_child([&] { refuses_what_is_planted(temp / "base", temp / "outside"); }) == "");
  CHECK(in_child([&] {
          forbid_newer_calls();
          refuses_what_is_planted(temp / "base", temp / "outside");
        }) == "");
  CHECK(snapshot(temp / "outside") == before);
}

TEST_CASE("what cannot be opened is named, with the reason and what to do") {
  const TempFolder temp;
  plant(temp);
  const Fd base = folder_at(temp / "base");
  const auto message = [&](const std::string& path, int flags) {
    return error_of(open_beneath(base.get(), path, flags, 0, "shown")).message;
  };
  CHECK(contains(message("folder-link/file", O_RDONLY), "shown/folder-link/file"));
  CHECK(contains(message("folder-link/file", O_RDONLY), "a symlink stands where"));
  CHECK(message("fifo", O_RDONLY) == "shown/fifo is a FIFO, socket or device, and is left alone");
  CHECK(message("sound", O_RDONLY) == "shown/sound is a folder where a file should be");
  CHECK(contains(message("hard", O_RDWR), "shown/hard is a file with a second name"));
  CHECK(contains(message("none", O_RDONLY), "cannot open shown/none: No such file"));
  CHECK(system_error("write", "x", ENOSPC).code == ErrorCode::kDiskFull);
  CHECK(contains(system_error("write", "x", EDQUOT).message, "free some space"));
  CHECK(contains(system_error("open", "x", EMFILE).message, "ulimit -n"));
}

TEST_CASE("a path of 4,096 bytes and 100 folders is opened, though no system call takes it whole") {
  const TempFolder temp;
  const Fd base = folder_at(temp.path());
  std::string path = deep_path(99, std::string(40, 'x'));
  path += "/" + std::string(4096 - path.size() - 1, 'y');
  REQUIRE(path.size() == 4096);
  succeed(make_folders_beneath(base.get(), path, false, "shown"));
  CHECK(open_beneath(base.get(), path, O_RDWR | O_CREAT, 0666, "shown").has_value());
  CHECK(open_beneath(base.get(), path, O_RDONLY, 0, "shown").has_value());
  succeed(remove_tree_at(base.get(), std::string(40, 'x'), "shown"));
  CHECK(fs::is_empty(temp.path()));
}

TEST_CASE("folders are made once and never through a link, nor is one taken for a folder") {
  const TempFolder temp;
  plant(temp);
  const Fd base = folder_at(temp / "base");
  const Snapshot before = snapshot(temp / "outside");
  const auto make = [&](const std::string& path) {
    return make_folders_beneath(base.get(), path, true, "shown");
  };
  succeed(make("p/q/r"));
  succeed(make("p/q/r"));
  CHECK(fs::is_directory(temp / "base/p/q/r"));
  succeed(make_folders_beneath(base.get(), "s/file", false, "shown"));
  CHECK(fs::is_directory(temp / "base/s"));
  CHECK_FALSE(is_there(temp / "base/s/file"));
  CHECK(contains(error_of(make("folder-link/new")).message, "a symlink stands where"));
  CHECK(contains(error_of(make("folder-link")).message, "a symlink stands where"));
  CHECK(contains(error_of(make("dangling")).message, "a symlink stands where"));
  CHECK(contains(error_of(make("sound/file")).message, "shown/sound/file"));
  CHECK(contains(error_of(make("fifo/x")).message, "shown/fifo"));
  CHECK(snapshot(temp / "outside") == before);
}

TEST_CASE("a tree is removed with its links, but not what they point to") {
  const TempFolder temp;
  plant(temp);
  const Snapshot before = snapshot(temp / "outside");
  const Fd parent = folder_at(temp.path());
  succeed(remove_tree_at(parent.get(), "base", "shown"));
  CHECK_FALSE(is_there(temp / "base"));
  CHECK(snapshot(temp / "outside") == before);
  fs::create_directory_symlink(temp / "outside", temp / "link");
  succeed(remove_tree_at(parent.get(), "link", "shown"));
  CHECK_FALSE(is_there(temp / "link"));
  CHECK(snapshot(temp / "outside") == before);
  succeed(remove_tree_at(parent.get(), "link", "shown"));  // nothing there is fine
}

TEST_CASE("a tree far deeper than descriptors are many is removed") {
  const TempFolder temp;
  dig(temp / "deep", 5000);
  write_file(temp / "deep/.removing-0", "a name that the removal would like");
  write_file(temp / "deep/.removing-1/x", "and another");
  CHECK(in_child([&] {
          const rlimit few{64, 64};
          setrlimit(RLIMIT_NOFILE, &few);
          const Fd parent(::open(temp.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
          const Status removed = remove_tree_at(parent.get(), "deep", "shown");
          expect(removed.has_value(), removed ? "" : removed.error().message);
        }) == "");
  CHECK_FALSE(is_there(temp / "deep"));
}

TEST_CASE("write-protected folders of one's own are removed, another's are not") {
  const TempFolder temp;
  fs::permissions(temp.path(), fs::perms::all);
  CHECK(in_child([&] {
          become_nobody();
          fs::create_directories(temp / "mine/protected/too");
          std::ofstream(temp / "mine/protected/file") << "x";
          fs::permissions(temp / "mine/protected/too",
                          fs::perms::owner_read | fs::perms::owner_exec);
          fs::permissions(temp / "mine/protected", fs::perms::owner_read | fs::perms::owner_exec);
          const Fd parent(::open(temp.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
          const Status removed = remove_tree_at(parent.get(), "mine", "shown");
          expect(removed.has_value(), removed ? "" : removed.error().message);
        }) == "");
  CHECK_FALSE(is_there(temp / "mine"));
  if (geteuid() != 0) {
    WARN("not root: no other user's folder to try");
    return;
  }
  write_file(temp / "theirs/file", "x");
  CHECK(in_child([&] {
          become_nobody();
          const Fd parent(::open(temp.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
          const Status removed = remove_tree_at(parent.get(), "theirs", "shown");
          expect(!removed && contains(removed.error().message, "shown/theirs/file"), "it is gone");
        }) == "");
  CHECK(is_there(temp / "theirs/file"));
}

TEST_CASE("reading past the end of a file says that it is shorter than it should be") {
  const TempFolder temp;
  write_file(temp / "file", "12345");
  const Fd base = folder_at(temp.path());
  auto file = open_beneath(base.get(), "file", O_RDONLY, 0, "");
  REQUIRE(file.has_value());
  Bytes bytes(5);
  succeed(read_all(file->get(), bytes.data(), 5, 0, "file"));
  const Error error = error_of(read_all(file->get(), bytes.data(), 5, 1, "file"));
  CHECK(error.code == ErrorCode::kCorrupt);
  CHECK(contains(error.message, "file is shorter"));
}

TEST_CASE("a descriptor is closed when its owner goes, and handed on when it moves") {
  int number = -1;
  {
    Fd first(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    number = first.get();
    Fd second = std::move(first);
    CHECK_FALSE(first);
    CHECK(second.get() == number);
    Fd third;
    third = std::move(second);
    CHECK(third.get() == number);
    CHECK(fcntl(number, F_GETFD) >= 0);
  }
  CHECK(fcntl(number, F_GETFD) == -1);
}

TEST_CASE("a look follows no symlink, on the way or at the end, and goes as deep as paths may") {
  const TempFolder temp;
  write_file(temp / "outside/secret", "1234");
  write_file(temp / "root/a/file", "12");
  write_file(temp / "root/file", "1");
  fs::create_symlink("../outside", temp / "root/link");
  fs::create_symlink("a/file", temp / "root/to-file");
  const Fd root(open((temp / "root").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Looker looker(root.get());
  struct stat status {};
  CHECK(looker.look("a/file", status) == 0);
  CHECK(status.st_size == 2);
  CHECK(looker.look("link/secret", status) == ELOOP);
  CHECK(looker.look("file", status) == 0);
  CHECK(status.st_size == 1);
  CHECK(looker.look("to-file", status) == 0);
  CHECK(S_ISLNK(status.st_mode));
  CHECK(looker.look("a/none", status) == ENOENT);
  CHECK(looker.look("none/file", status) == ENOENT);
  CHECK(looker.look("file/below", status) == ENOTDIR);
  CHECK(looker.look("../outside/secret", status) != 0);
  CHECK(looker.look("a/file", status) == 0);

  std::string deep;
  for (int i = 0; i < 20; ++i) deep += std::string(250, 'd') + "/";
  deep += "end";
  CHECK(looker.look(deep, status) == ENOENT);
  succeed(make_folders_beneath(root.get(), deep, false, temp.path()));
  CHECK(open_beneath(root.get(), deep, O_WRONLY | O_CREAT, 0600, temp.path()).has_value());
  CHECK(looker.look(deep, status) == 0);
  CHECK(S_ISREG(status.st_mode));
}
