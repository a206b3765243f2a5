#include "net/http_server.h"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <future>
#include <mutex>

#include "tests/net/http_client.h"

using namespace p2p;
using namespace p2p::net;
using namespace p2p::test;
using namespace std::chrono_literals;

namespace {

// Answers each request by what it asked.
void echo(const HttpRequest& request, HttpReply reply) {
  reply.send(200, "text/plain", request.path + "?" + request.query, {{"Etag", "\"1\""}});
}

// `total` bytes, counted; each the low byte of its offset.
struct Counting : HttpBody {
  explicit Counting(std::uint64_t bytes) : total(bytes) {}
  ~Counting() override { gone.set_value(); }
  HttpPull read(MutableBytes out, const std::function<void()>&) override {
    const std::uint64_t first = *given;
    if (first == total) return {HttpPull::What::kEnd};
    const auto size = std::min<std::uint64_t>(out.size(), total - first);
    for (std::uint64_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(first + i);
    *given += size;
    return HttpPull::of(size);
  }
  const std::uint64_t total;
  const std::shared_ptr<std::atomic<std::uint64_t>> given =
      std::make_shared<std::atomic<std::uint64_t>>(0);
  std::promise<void> gone;
};

// Gives what it is fed, when it is.
struct Fed : HttpBody {
  ~Fed() override { gone.set_value(); }
  HttpPull read(MutableBytes out, const std::function<void()>& wake) override {
    const std::lock_guard lock(mutex);
    if (failed) return {HttpPull::What::kFailed};
    if (waiting.empty()) {
      wake_up = wake;
      asked_early.set_value();
      asked_early = {};
      return {HttpPull::What::kLater};
    }
    std::copy(waiting.begin(), waiting.end(), out.begin());
    return HttpPull::of(std::exchange(waiting, {}).size());
  }
  void feed(const std::string& text) {
    std::function<void()> wake;
    {
      const std::lock_guard lock(mutex);
      waiting += text;
      wake = wake_up;
    }
    if (wake) wake();
  }
  void fail() {
    std::function<void()> wake;
    {
      const std::lock_guard lock(mutex);
      failed = true;
      wake = wake_up;
    }
    if (wake) wake();
  }
  std::mutex mutex;
  std::string waiting;
  bool failed = false;
  std::function<void()> wake_up;
  std::promise<void> asked_early, gone;
};

HttpServer::Handler streams(std::shared_ptr<HttpBody> body, std::optional<std::uint64_t> length) {
  return [body = std::move(body), length](const HttpRequest&, HttpReply reply) mutable {
    reply.stream(200, {{"Content-Type", "text/plain"}}, length, std::move(body));
  };
}

HttpLimits quick() {
  HttpLimits limits;
  limits.header_time = limits.idle_time = limits.stall_time = 300ms;
  return limits;
}

}  // namespace

TEST_CASE(
    "a request is handed to the loop with its path decoded, and what is answered comes back") {
  HttpFixture server(echo);
  const HttpAnswer answer = ask(server.at(), "/a%20b?x=%20");
  CHECK(answer.status == 200);
  CHECK(answer.body == "/a b?x=%20");
  CHECK(answer.header("Content-Length") == "10");
  CHECK(answer.header("Content-Type") == "text/plain");
  CHECK(answer.header("Etag") == "\"1\"");
  CHECK(answer.header("X-Content-Type-Options") == "nosniff");
  CHECK(answer.header("Transfer-Encoding") == "");
}

TEST_CASE("HEAD is answered as GET is, without the body") {
  HttpFixture server(echo);
  const HttpAnswer answer = ask(server.at(), "/abc", "", "HEAD");
  CHECK(answer.status == 200);
  CHECK(answer.header("Content-Length") == "5");
  CHECK(answer.body == "");
}

TEST_CASE("HEAD of a body that is streamed reads nothing of it") {
  auto body = std::make_shared<Counting>(1000);
  HttpFixture server(streams(body, 1000));
  const HttpAnswer answer = ask(server.at(), "/", "", "HEAD");
  CHECK(answer.header("Content-Length") == "1000");
  CHECK(answer.body == "");
  CHECK(*body->given == 0);
}

TEST_CASE("one connection is asked again and again") {
  HttpFixture server(echo);
  HttpClient client(server.at());
  for (int i = 0; i < 3; ++i) {
    client.send("GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    REQUIRE(client.read_head().starts_with("HTTP/1.1 200 "));
    CHECK(client.read_body(3) == "/" + std::to_string(i) + "?");
  }
}

TEST_CASE("requests sent one behind the other are answered in order") {
  HttpFixture server(echo);
  HttpClient client(server.at());
  client.send(
      "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n");
  client.read_head();
  CHECK(client.read_body(3) == "/a?");
  client.read_head();
  CHECK(client.read_body(3) == "/b?");
}

TEST_CASE("a reply may come later, from another thread") {
  std::thread later;
  HttpFixture server([&](const HttpRequest&, HttpReply reply) {
    later = std::thread([shared = std::make_shared<HttpReply>(std::move(reply))] {
      shared->text(404, "not here");
    });
  });
  const HttpAnswer answer = ask(server.at(), "/");
  later.join();
  CHECK(answer.status == 404);
  CHECK(answer.body == "not here\n");
}

TEST_CASE("a reply that is dropped is a 500, so that no client waits for ever") {
  HttpFixture server([](const HttpRequest&, HttpReply) {});
  CHECK(ask(server.at(), "/").status == 500);
}

TEST_CASE("only GET and HEAD are answered, and no body is taken") {
  HttpFixture server(echo);
  const HttpAnswer answer = ask(server.at(), "/", "", "POST");
  CHECK(answer.status == 405);
  CHECK(answer.header("Allow") == "GET, HEAD");
  for (const char* method : {"DELETE", "BREW", "get"})
    CHECK(ask(server.at(), "/", "", method).status == 405);
  for (const char* method : {"GET", "POST", "PUT"}) {
    CHECK(ask(server.at(), "/", "Content-Length: 5\r\n", method).status == 413);
    CHECK(ask(server.at(), "/", "Content-Length: -5\r\n", method).status == 400);
  }
}

TEST_CASE("a request that is not well-formed is a 400, and the connection ends") {
  HttpFixture server(echo);
  for (const std::string bytes :
       {"nonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/x\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nConnection: close\r\n\r\n"}) {
    CAPTURE(bytes);
    HttpClient client(server.at());
    client.send(bytes);
    CHECK(client.read_all().starts_with("HTTP/1.1 400 "));
  }
}

TEST_CASE("an address that is too long is a 414, headers that are too long a 431") {
  HttpLimits limits;
  limits.target_bytes = 100;
  limits.header_bytes = 300;
  HttpFixture server(echo, limits);
  CHECK(ask(server.at(), "/" + std::string(99, 'a')).status == 200);
  CHECK(ask(server.at(), "/" + std::string(100, 'a')).status == 414);
  CHECK(ask(server.at(), "/", "A: " + std::string(200, 'a') + "\r\n").status == 200);
  CHECK(ask(server.at(), "/", "A: " + std::string(300, 'a') + "\r\n").status == 431);
}

TEST_CASE("a request without an end is not read for ever") {
  HttpFixture server(echo);
  HttpClient client(server.at());
  client.send("GET / HTTP/1.1\r\nA: " + std::string(1 << 20, 'a'));
  CHECK(client.read_head().starts_with("HTTP/1.1 400 "));
}

TEST_CASE("who asks by a name that is not this host's is sent away") {
  HttpLimits limits;
  limits.host_names = {"tracker.example"};
  HttpFixture server(echo, limits);
  const auto status = [&](const std::string& host) {
    HttpClient client(server.at());
    client.send("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
    return client.read_head().substr(9, 3);
  };
  CHECK(status("evil.example") == "421");
  CHECK(status("tracker.example:9090") == "200");
  CHECK(status("127.0.0.1") == "200");
}

TEST_CASE("headers that come too slowly are cut, even where each byte comes in time") {
  HttpFixture server(echo, quick());
  HttpClient client(server.at());
  std::atomic<bool> cut = false;
  std::thread slow([&] {
    const std::string request =
        "GET / HTTP/1.1\r\nHost: localhost\r\nA: " + std::string(10'000, 'a');
    for (std::size_t i = 0; i < request.size() && !cut; ++i) {
      client.send(request.substr(i, 1));
      std::this_thread::sleep_for(5ms);  // the rate of a slow client, not a wait for anything
    }
  });
  CHECK(client.is_cut());
  cut = true;
  slow.join();
}

TEST_CASE("a connection that asks nothing is cut, at first and after an answer") {
  HttpFixture server(echo, quick());
  HttpClient silent(server.at()), once(server.at());
  CHECK(silent.is_cut());
  once.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  once.read_head();
  CHECK(once.is_cut());
}

TEST_CASE("one connection too many pushes out who has waited longest without a request") {
  HttpLimits limits;
  limits.connections = 3;
  HttpFixture server(echo, limits);
  std::deque<HttpClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(server.at());
    clients.back().send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    clients.back().read_head();
    clients.back().read_body(2);
  }
  CHECK(ask(server.at(), "/").status == 200);
  CHECK(clients[0].is_cut());
  clients[2].send("GET /2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(clients[2].read_head().starts_with("HTTP/1.1 200 "));
}

TEST_CASE("where all connections are busy, one more is cut") {
  HttpLimits limits;
  limits.connections = 1;
  auto body = std::make_shared<Fed>();
  auto asked = body->asked_early.get_future();
  HttpFixture server(streams(body, 4), limits);
  HttpClient busy(server.at());
  busy.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  asked.wait();
  HttpClient refused(server.at());
  CHECK(refused.is_cut());
  body->feed("done");
  busy.read_head();
  CHECK(busy.read_body(4) == "done");
}

TEST_CASE("a large body is streamed whole, with its length and no chunks") {
  constexpr std::size_t kBytes = 5 * kHttpBlockBytes + 123;
  HttpFixture server(streams(std::make_shared<Counting>(kBytes), kBytes));
  const HttpAnswer answer = ask(server.at(), "/");
  CHECK(answer.header("Content-Length") == std::to_string(kBytes));
  CHECK(answer.header("Transfer-Encoding") == "");
  REQUIRE(answer.body.size() == kBytes);
  bool same = true;
  for (std::size_t i = 0; i < kBytes; ++i)
    same &= static_cast<std::uint8_t>(answer.body[i]) == static_cast<std::uint8_t>(i);
  CHECK(same);
}

TEST_CASE("a body of unknown length comes until its end") {
  HttpFixture server(streams(std::make_shared<Counting>(3), std::nullopt));
  const HttpAnswer answer = ask(server.at(), "/");
  CHECK(answer.header("Transfer-Encoding") == "chunked");
  CHECK(answer.body == std::string("3\r\n\0\1\2\r\n0\r\n\r\n", 13));
}

TEST_CASE("a body that has nothing yet goes on when it wakes") {
  auto body = std::make_shared<Fed>();
  auto first = body->asked_early.get_future();
  HttpFixture server(streams(body, 6));
  HttpClient client(server.at());
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  client.read_head();
  first.wait();
  body->feed("abc");
  CHECK(client.read_body(3) == "abc");
  body->feed("def");
  CHECK(client.read_body(3) == "def");
}

TEST_CASE("a body that fails, or ends early, is seen to be short") {
  auto body = std::make_shared<Fed>();
  HttpFixture server(streams(body, 100));
  HttpClient client(server.at());
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  client.read_head();
  body->feed("abc");
  CHECK(client.read_body(3) == "abc");
  body->fail();
  CHECK(client.read_all() == "");

  HttpFixture early(streams(std::make_shared<Counting>(10), 100));
  HttpClient other(early.at());
  other.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(other.read_head().find("Content-Length: 100") != std::string::npos);
  CHECK(other.read_all().size() <= 10);
}

TEST_CASE("a client that goes lets its body go, though nothing is sent") {
  auto body = std::make_shared<Fed>();
  auto gone = body->gone.get_future();
  auto asked = body->asked_early.get_future();
  HttpFixture server(streams(std::exchange(body, nullptr), 100));
  HttpClient client(server.at());
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  asked.wait();
  client.close();
  CHECK(gone.wait_for(20s) == std::future_status::ready);
}

TEST_CASE("a client that never reads holds two blocks, and is cut when it has stalled too long") {
  constexpr std::uint64_t kBytes = 1ull << 32;
  auto body = std::make_shared<Counting>(kBytes);
  const auto given = body->given;
  auto gone = body->gone.get_future();
  HttpFixture server(streams(std::move(body), kBytes), quick());
  HttpClient client(server.at(), 4096);
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  REQUIRE(gone.wait_for(20s) == std::future_status::ready);
  CHECK(client.is_cut());
  // What the system takes for a socket, and two blocks.
  CHECK(*given < 16 * 1024 * 1024);
}

TEST_CASE("whole bodies that nobody takes are bounded together") {
  HttpLimits limits;
  limits.unsent_bytes = 40 * 1024 * 1024;
  HttpFixture server(
      [](const HttpRequest& request, HttpReply reply) {
        reply.send(200, "text/plain",
                   std::string(request.path == "/large" ? 30 * 1024 * 1024 : 10, 'a'));
      },
      limits);
  HttpClient stuck(server.at(), 4096);
  stuck.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
  stuck.read_head();
  CHECK(ask(server.at(), "/large").status == 503);
  CHECK(ask(server.at(), "/small").status == 200);
  stuck.close();
  int status = 0;
  for (int i = 0; i < 200 && status != 200; ++i) status = ask(server.at(), "/large").status;
  CHECK(status == 200);
}

TEST_CASE("a server that ends cuts its clients, and a late reply or wake does nothing") {
  auto body = std::make_shared<Fed>();
  auto asked = body->asked_early.get_future();
  std::shared_ptr<HttpReply> late;
  HttpFixture server([&](const HttpRequest& request, HttpReply reply) {
    if (request.path == "/late")
      late = std::make_shared<HttpReply>(std::move(reply));
    else
      reply.stream(200, {}, 100, body);
  });
  HttpClient streaming(server.at()), waiting(server.at());
  waiting.send("GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n");
  streaming.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  asked.wait();
  bool held = false;
  while (!held) server.on_loop([&] { held = late != nullptr; });
  server.end_server();
  CHECK(streaming.is_cut());
  CHECK(waiting.is_cut());
  body->feed("too late");
  late->text(200, "too late");
}

TEST_CASE("an address that is taken is an error that names it") {
  HttpFixture server(echo);
  Loop loop;
  const auto second = HttpServer::start(loop, server.at(), echo);
  REQUIRE(!second);
  CHECK(second.error().message.find(server.at().to_string()) != std::string::npos);
  CHECK(second.error().message.find("in use") != std::string::npos);
}

TEST_CASE("a client that there was no descriptor for is answered when there is one again") {
  HttpFixture server(echo);
  HttpClient earlier(server.at());
  earlier.send("GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  REQUIRE(earlier.read_head().starts_with("HTTP/1.1 200"));
  REQUIRE(earlier.read_body(3) == "/1?");
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  // One more descriptor, which the client's socket is.
  const int free = dup(0);
  close(free);
  const rlimit short_limit{static_cast<rlim_t>(free) + 1, limit.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &short_limit) == 0);
  HttpClient client(server.at());
  client.send("GET /2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  // When this is answered, the server has tried to take the other.
  earlier.send("GET /3 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const std::string meanwhile = earlier.read_head();
  setrlimit(RLIMIT_NOFILE, &limit);
  CHECK(meanwhile.starts_with("HTTP/1.1 200"));
  CHECK(client.read_head().starts_with("HTTP/1.1 200"));
  CHECK(client.read_body(3) == "/2?");
}
