#include "net/transport.h"

#include <catch2/catch.hpp>

using namespace p2p;
using namespace p2p::net;

namespace {

// Two transports on one loop, and what their handlers heard.
struct Pair {
  Loop loop;
  Secret psk = Secret::random();
  std::vector<Event> server_events, client_events;
  std::function<void()> check = [] {};
  Transport server{loop, config({psk}), [this](const Event& event) { note(server_events, event); }};
  Transport client{loop, config({}), [this](const Event& event) { note(client_events, event); }};

  static TransportConfig config(std::vector<Secret> psks) {
    TransportConfig config;
    config.accepted_psks = std::move(psks);
    return config;
  }
  void note(std::vector<Event>& events, const Event& event) {
    events.push_back(event);
    check();
  }
  // Runs until `done` holds; the ctest timeout is the limit.
  void run_until(std::function<bool()> done) {
    check = [this, done] {
      if (done()) loop.stop();
    };
    if (!done()) loop.run();
  }
};

template <typename T>
const T* find(const std::vector<Event>& events) {
  for (const Event& event : events)
    if (const T* found = std::get_if<T>(&event.what)) return found;
  return nullptr;
}

const Endpoint kAnyPort = *Endpoint::parse("127.0.0.1:0");

}  // namespace

TEST_CASE("both ends of a connection open, know each other's key and exchange messages") {
  init_crypto();
  Pair pair;
  REQUIRE(pair.server.listen(kAnyPort).has_value());
  const ConnectionId id = pair.client.dial(pair.server.local(), pair.psk);
  pair.run_until(
      [&] { return find<Opened>(pair.server_events) && find<Opened>(pair.client_events); });
  CHECK(find<Opened>(pair.client_events)->peer == pair.server.self());
  CHECK(find<Opened>(pair.server_events)->peer == pair.client.self());
  CHECK(find<Opened>(pair.server_events)->remote.address.is_loopback());
  pair.client.send(id, peer::Message(peer::Request{5}));
  pair.run_until([&] { return find<Received>(pair.server_events) != nullptr; });
  CHECK(find<Received>(pair.server_events)->message ==
        WireMessage(peer::Message(peer::Request{5})));
}

TEST_CASE("a dial with the wrong secret ends as refused") {
  init_crypto();
  Pair pair;
  REQUIRE(pair.server.listen(kAnyPort).has_value());
  pair.client.dial(pair.server.local(), Secret::random());
  pair.run_until([&] { return find<Closed>(pair.client_events) != nullptr; });
  CHECK(find<Closed>(pair.client_events)->why.code == ErrorCode::kRefused);
  CHECK(find<Opened>(pair.server_events) == nullptr);
}

TEST_CASE("a dial to a port where nobody listens ends as unreachable and names the address") {
  init_crypto();
  Pair pair;
  Endpoint nobody;
  {
    Transport gone(pair.loop, Pair::config({}), [](const Event&) {});
    REQUIRE(gone.listen(kAnyPort).has_value());
    nobody = gone.local();
  }
  pair.client.dial(nobody, pair.psk);
  pair.run_until([&] { return find<Closed>(pair.client_events) != nullptr; });
  const Error& why = find<Closed>(pair.client_events)->why;
  CHECK(why.code == ErrorCode::kUnreachable);
  CHECK(why.message.find(nobody.to_string()) != std::string::npos);
}

TEST_CASE("what was sent before a close arrives before the other side sees it") {
  init_crypto();
  Pair pair;
  REQUIRE(pair.server.listen(kAnyPort).has_value());
  const ConnectionId id = pair.client.dial(pair.server.local(), pair.psk);
  pair.run_until([&] { return find<Opened>(pair.client_events) != nullptr; });
  pair.client.send(id, peer::Message(peer::Bye{peer::ByeReason::kStopping, "done"}));
  pair.client.close(id);
  pair.run_until(
      [&] { return find<Closed>(pair.server_events) && find<Closed>(pair.client_events); });
  CHECK(find<Received>(pair.server_events) != nullptr);
}

TEST_CASE("a flood of messages arrives whole, pause after pause") {
  init_crypto();
  Pair pair;
  REQUIRE(pair.server.listen(kAnyPort).has_value());
  const ConnectionId id = pair.client.dial(pair.server.local(), pair.psk);
  pair.run_until([&] { return find<Opened>(pair.server_events) != nullptr; });
  // Before Join a connection may hold little in either direction.
  pair.client.send(id, peer::Message(peer::Join{}));
  pair.server.send(pair.server_events.front().connection, peer::Message(peer::Join{}));
  pair.run_until([&] { return find<Received>(pair.client_events) != nullptr; });
  constexpr std::size_t kMessages = 20'000;
  for (std::size_t i = 0; i < kMessages; ++i) pair.client.send(id, peer::Message(peer::Request{5}));
  pair.run_until([&] { return pair.server_events.size() >= kMessages + 2; });
  CHECK(pair.server_events.size() == kMessages + 2);
}
