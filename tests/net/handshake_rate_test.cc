// How often one address may connect, and how often it may be connected. The rates here are such
// that no token comes back in the time of a test.
#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>

#include "net/log.h"
#include "net/transport.h"
#include "tests/net/hostile_peer.h"

using namespace p2p;
using namespace p2p::net;
using namespace p2p::test;

namespace {

constexpr RateLimit kHundredAndNoMore{0.001, 100};

TransportConfig config_of(bool limits_loopback, RateLimit handshakes = kHundredAndNoMore) {
  init_crypto();
  set_log_level(LogLevel::kError);
  TransportConfig config;
  config.lanes = 0;
  config.handshakes = handshakes;
  config.limits_loopback = limits_loopback;
  return config;
}

// A transport that listens, on a loop and thread of its own.
class Listening {
 public:
  explicit Listening(TransportConfig config) {
    config.accepted_psks = {psk};
    transport_.emplace(loop_, std::move(config), [this](const Event& event) {
      opened += std::holds_alternative<Opened>(event.what) ? 1 : 0;
      ++events;
    });
    REQUIRE(transport_->listen(*Endpoint::parse("127.0.0.1:0")).has_value());
    where = transport_->local();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Listening() { stop(); }
  // What it counted may be looked at then.
  void stop() {
    if (!thread_.joinable()) return;
    loop_.post([this] { loop_.stop(); });
    thread_.join();
  }

  Secret psk = Secret::random();
  Endpoint where;
  std::size_t opened = 0, events = 0;

 private:
  Loop loop_;
  std::optional<Transport> transport_;
  std::thread thread_;
};

bool is_told_busy(Socket& socket) {
  return socket.receive(16) == handshake_refusal(HandshakeRefusal::kBusy) &&
         socket.receive(16).empty();
}

}  // namespace

TEST_CASE("the 101st connection of a burst is closed unheard, and other addresses get in") {
  Listening server(config_of(true));
  std::vector<Socket> burst;
  for (int i = 0; i < 100; ++i) burst.push_back(Socket::dial(server.where));
  for (int i = 0; i < 200; ++i) {
    Socket above = Socket::dial(server.where);
    REQUIRE(is_told_busy(above));
  }
  Socket other = Socket::dial(server.where, *IpAddress::parse("127.0.0.2"));
  CHECK_FALSE(other.ends_within(std::chrono::milliseconds(0)));
  // The last of the burst is served: garbage is closed, without a word.
  REQUIRE(burst.back().send(bytes_of("GET / HTTP/1.1\r\n\r\n")));
  CHECK(burst.back().receive_to_end() == 0);
  REQUIRE(other.send(bytes_of("GET / HTTP/1.1\r\n\r\n")));
  CHECK(other.receive_to_end() == 0);
  server.stop();
  // Those above the rate were none.
  CHECK(server.events == 2);
}

TEST_CASE("a whole handshake counts as one of the rate, and who is in stays in") {
  Listening server(config_of(true, {0.001, 2}));
  HostilePeer first(server.where, server.psk), second(server.where, server.psk);
  Socket above = Socket::dial(server.where);
  CHECK(is_told_busy(above));
  CHECK_FALSE(first.socket().ends_within(std::chrono::milliseconds(0)));
  server.stop();
  CHECK(server.opened == 2);
}

TEST_CASE("whoever is turned away for its rate is told to come again, not that it is refused") {
  Loop loop;
  std::vector<Error> ends;
  Secret psk = Secret::random();
  TransportConfig config = config_of(true, {0.001, 1});
  config.accepted_psks = {psk};
  Transport server(loop, config, [](const Event&) {});
  REQUIRE(server.listen(*Endpoint::parse("127.0.0.1:0")).has_value());
  Transport client(loop, config_of(true), [&](const Event& event) {
    if (const auto* closed = std::get_if<Closed>(&event.what)) {
      ends.push_back(closed->why);
      loop.stop();
    }
  });
  client.dial(server.local(), psk);
  client.dial(server.local(), psk);
  loop.run();
  REQUIRE(ends.size() == 1);
  CHECK(ends.front().code == ErrorCode::kUnreachable);
  CHECK(ends.front().message.find("busy") != std::string::npos);
}

TEST_CASE("an address that has as many connections open as it may is turned away until one ends") {
  TransportConfig config = config_of(true, {});
  config.connections_per_address = 3;
  Listening server(config);
  std::vector<std::unique_ptr<HostilePeer>> open;
  for (int i = 0; i < 3; ++i)
    open.push_back(std::make_unique<HostilePeer>(server.where, server.psk));
  Socket above = Socket::dial(server.where);
  CHECK(is_told_busy(above));
  Socket other = Socket::dial(server.where, *IpAddress::parse("127.0.0.2"));
  CHECK_FALSE(other.ends_within(std::chrono::milliseconds(0)));
  open.pop_back();
  // The server hears of the end before or after the next one comes.
  for (bool is_in = false; !is_in;) {
    Socket next = Socket::dial(server.where);
    is_in = !next.ends_within(std::chrono::milliseconds(20));
  }
  server.stop();
  CHECK(server.opened == 3);
}

TEST_CASE("an address never has more than half of all connections") {
  TransportConfig config = config_of(true, {});
  config.connections_per_address = 100;
  config.max_connections = 4;
  Listening server(config);
  HostilePeer first(server.where, server.psk), second(server.where, server.psk);
  Socket above = Socket::dial(server.where);
  CHECK(is_told_busy(above));
}

TEST_CASE("loopback has neither rate nor number unless it is asked for") {
  TransportConfig config = config_of(false);
  config.connections_per_address = 10;
  Listening server(config);
  std::vector<Socket> many;
  for (int i = 0; i < 300; ++i) many.push_back(Socket::dial(server.where));
  REQUIRE(many.back().send(bytes_of("GET / HTTP/1.1\r\n\r\n")));
  CHECK(many.back().receive_to_end() == 0);
}

TEST_CASE("an address that is turned away is told of with a flag only where there is one") {
  const IpAddress address = *IpAddress::parse("192.0.2.1");
  const std::string seeder =
      turned_away_text(address, "has 7 connections open", TransportConfig{}.limits_flag);
  CHECK(seeder ==
        "192.0.2.1 has 7 connections open: those above are turned away, and told that they may "
        "come again");
  CHECK(turned_away_text(address, "does much", "--handshakes-per-second") ==
        "192.0.2.1 does much: those above are turned away, and told that they may come again "
        "(many hosts behind one address? --handshakes-per-second lets in more)");
}

TEST_CASE("by default a thousand peers behind one address are let in at once") {
  RateLimiter limiter(TransportConfig{}.handshakes);
  const IpAddress gateway = *IpAddress::parse("192.0.2.1");
  for (int i = 0; i < 1000; ++i) REQUIRE(limiter.allow(gateway, Time{}));
  CHECK_FALSE(limiter.allow(gateway, Time{}));
  CHECK(limiter.allow(gateway, Time{} + std::chrono::milliseconds(50)));
}
