#include "net/line_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "tests/support/temp_folder.h"

using namespace p2p;

namespace {

// Answers each line with "you said: LINE"; "bye" is answered by the end.
class Echo {
 public:
  explicit Echo(const std::filesystem::path& path) {
    net::LineHandlers handlers;
    handlers.on_line = [this](net::LineClientId client, std::string_view line) {
      server_->send(client, "you said: " + std::string(line));
      if (line == "flood")
        for (int i = 0; i < 100; ++i) server_->send(client, std::string(100'000, 'x'));
      if (line == "bye") server_->close(client);
    };
    handlers.on_closed = [this](net::LineClientId) { ++closed_; };
    auto made = net::LineServer::listen(loop_, path, std::move(handlers));
    REQUIRE(made.has_value());
    server_ = *std::move(made);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Echo() {
    loop_.post([this] {
      server_.reset();
      loop_.stop();
    });
    thread_.join();
  }
  int closed() const { return closed_; }

 private:
  net::Loop loop_;
  std::unique_ptr<net::LineServer> server_;
  std::atomic<int> closed_ = 0;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(const std::filesystem::path& path)
      : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  ~Client() { close(fd_); }
  void say(const std::string& text) {
    for (std::size_t sent = 0; sent < text.size();) {
      const ssize_t count = send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (count < 0) return;  // cut off
      sent += static_cast<std::size_t>(count);
    }
  }
  // Until the line's end; what there is at the end of the connection.
  std::string line() {
    std::string text;
    char byte;
    while (read(fd_, &byte, 1) == 1 && byte != '\n') text += byte;
    return text;
  }

 private:
  int fd_;
};

}  // namespace

TEST_CASE("lines are answered in their order, however they are cut") {
  const test::TempFolder folder;
  const Echo echo(folder.path() / "s");
  Client client(folder.path() / "s");
  client.say("one\ntwo\nthr");
  CHECK(client.line() == "you said: one");
  CHECK(client.line() == "you said: two");
  client.say("ee\n\n");
  CHECK(client.line() == "you said: three");
  CHECK(client.line() == "you said: ");
}

TEST_CASE("what was said before the end still arrives") {
  const test::TempFolder folder;
  const Echo echo(folder.path() / "s");
  Client client(folder.path() / "s");
  client.say("bye\n");
  CHECK(client.line() == "you said: bye");
  CHECK(client.line().empty());
}

TEST_CASE("a line longer than may be ends its connection, and no other") {
  const test::TempFolder folder;
  const Echo echo(folder.path() / "s");
  Client long_winded(folder.path() / "s"), other(folder.path() / "s");
  long_winded.say(std::string(net::kMaxLineBytes, 'x') + "\n");
  CHECK(long_winded.line() == "you said: " + std::string(net::kMaxLineBytes, 'x'));
  long_winded.say(std::string(net::kMaxLineBytes + 1, 'x'));
  CHECK(long_winded.line().empty());
  other.say("still here\n");
  CHECK(other.line() == "you said: still here");
}

TEST_CASE("who reads nothing is cut off") {
  const test::TempFolder folder;
  const Echo echo(folder.path() / "s");
  Client client(folder.path() / "s"), other(folder.path() / "s");
  client.say("flood\n");
  other.say("hello\n");
  CHECK(other.line() == "you said: hello");
  while (echo.closed() == 0) std::this_thread::yield();
}

TEST_CASE("more clients than may be are turned away") {
  const test::TempFolder folder;
  const Echo echo(folder.path() / "s");
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t i = 0; i < net::kMaxLineClients; ++i) {
    clients.push_back(std::make_unique<Client>(folder.path() / "s"));
    clients.back()->say("hello\n");
    REQUIRE(clients.back()->line() == "you said: hello");
  }
  Client late(folder.path() / "s");
  CHECK(late.line().empty());
}

TEST_CASE("a socket is for its user and group, replaces a dead one, and nothing else") {
  const test::TempFolder folder;
  const std::filesystem::path path = folder.path() / "s";
  net::Loop loop;
  {
    Echo echo(path);
    struct stat status {};
    REQUIRE(stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0660);
    const auto second = net::LineServer::listen(loop, path, {});
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().code == ErrorCode::kExists);
  }
  CHECK_FALSE(std::filesystem::exists(path));
  // What a killed one leaves.
  const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  REQUIRE(bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  close(dead);
  CHECK(net::LineServer::listen(loop, path, {}).has_value());
  FILE* const file = std::fopen(path.c_str(), "w");
  std::fclose(file);
  CHECK_FALSE(net::LineServer::listen(loop, path, {}).has_value());
  CHECK_FALSE(net::LineServer::listen(loop, std::string(200, 'x'), {}).has_value());
}
