#include "net/transport.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <future>

#include "tests/net/content_io.h"

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

TEST_CASE("the accepted secrets may change while it listens; who is connected stays") {
  init_crypto();
  for (const unsigned lanes : {0u, 2u}) {
    Pair pair;
    const Secret fresh = Secret::random();
    TransportConfig config = Pair::config({pair.psk});
    config.lanes = lanes;
    Transport server(pair.loop, config,
                     [&](const Event& event) { pair.note(pair.server_events, event); });
    REQUIRE(server.listen(kAnyPort).has_value());
    const ConnectionId old = pair.client.dial(server.local(), pair.psk);
    pair.run_until([&] { return find<Opened>(pair.client_events) != nullptr; });
    server.set_accepted_psks({fresh});
    pair.client_events.clear();
    pair.client.dial(server.local(), fresh);
    pair.run_until([&] { return find<Opened>(pair.client_events) != nullptr; });
    pair.client_events.clear();
    pair.client.dial(server.local(), pair.psk);
    pair.run_until([&] { return find<Closed>(pair.client_events) != nullptr; });
    CHECK(find<Closed>(pair.client_events)->why.code == ErrorCode::kRefused);
    CHECK(pair.client_events.back().connection != old);
    pair.client.send(old, peer::Message(peer::Request{5}));
    pair.run_until([&] { return find<Received>(pair.server_events) != nullptr; });
  }
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

TEST_CASE("a burst is held against the queue's limit only where the other side does not take it") {
  init_crypto();
  Pair pair;
  TransportConfig config = Pair::config({pair.psk});
  config.lanes = 0;
  Transport tracker(pair.loop, config,
                    [&](const Event& event) { pair.note(pair.server_events, event); });
  REQUIRE(tracker.listen(kAnyPort).has_value());
  pair.client.dial(tracker.local(), pair.psk);
  pair.run_until([&] { return find<Opened>(pair.server_events) && !pair.client_events.empty(); });
  tracker::Handout handout;
  handout.peers.resize(kMaxPeersInMessage, {*Endpoint::parse("192.0.2.1:7000")});
  const WireMessage message = tracker::Message(handout);
  // More than may wait, in one turn.
  const std::size_t count = kSmallBudget.send_queue_bytes * 3 / 2 / encode_wire(message).size();
  for (std::size_t i = 0; i < count; ++i)
    tracker.send(pair.server_events.front().connection, message);
  pair.run_until([&] { return pair.client_events.size() == count + 1; });
  CHECK(std::holds_alternative<Received>(pair.client_events.back().what));
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

TEST_CASE("large messages arrive whole, read after read, among small ones") {
  init_crypto();
  Pair pair;
  REQUIRE(pair.server.listen(kAnyPort).has_value());
  const ConnectionId id = pair.client.dial(pair.server.local(), pair.psk);
  std::vector<peer::Message> said{peer::Join{}};
  for (std::uint8_t i = 0; i < 5; ++i) {
    Bytes data(peer::kMaxManifestPartBytes);
    for (std::size_t at = 0; at < data.size(); ++at) data[at] = static_cast<std::uint8_t>(at * i);
    const auto size = static_cast<std::uint32_t>(data.size());
    said.push_back(peer::ManifestPart{5 * size, i * size, std::move(data)});
    said.push_back(peer::Request{i});
  }
  pair.run_until([&] { return find<Opened>(pair.server_events) != nullptr; });
  pair.server.send(pair.server_events.front().connection, peer::Message(peer::Join{}));
  pair.run_until([&] { return find<Received>(pair.client_events) != nullptr; });
  for (const peer::Message& message : said) pair.client.send(id, message);
  pair.run_until([&] { return pair.server_events.size() == said.size() + 1; });
  for (std::size_t i = 0; i < said.size(); ++i) {
    const auto* heard = std::get_if<Received>(&pair.server_events[i + 1].what);
    REQUIRE(heard != nullptr);
    CHECK((heard->message == WireMessage(said[i])));
  }
}

namespace {

// A gate that nobody passes before it is opened: a disk that hangs.
struct Gate {
  std::promise<void> opened;
  std::shared_future<void> passed{opened.get_future()};
};

// Chunks of zeros; reading and writing the first of them hangs.
class HangingDisk : public ChunkReader, public ChunkWriter {
 public:
  explicit HangingDisk(const Gate& gate) : passed_(gate.passed) {}
  Status read(ChunkIndex chunk, std::uint32_t, MutableBytes out) const override {
    if (chunk == 0) passed_.wait();
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    return {};
  }
  Status write_chunk(ChunkIndex, ByteView) override {
    passed_.wait();
    return {};
  }

 private:
  std::shared_future<void> passed_;
};

constexpr std::size_t kDiskChunks = 3;

std::shared_ptr<const ContentIo> io_with(std::shared_ptr<HangingDisk> disk, bool writes) {
  return test::chunks_of_zeros(kDiskChunks, kMinChunkBytes, std::move(disk), writes);
}

template <typename T>
std::size_t count(const std::vector<Event>& events) {
  return static_cast<std::size_t>(std::count_if(events.begin(), events.end(), [](const Event& e) {
    return std::holds_alternative<T>(e.what);
  }));
}

// A pair with two connections, the client's ids in the order of their dials. Both sides have said
// Join.
struct Joined : Pair {
  std::vector<ConnectionId> at_client, at_server;

  Joined() {
    init_crypto();
    REQUIRE(server.listen(kAnyPort).has_value());
    for (std::size_t i = 0; i < 2; ++i) {
      at_client.push_back(client.dial(server.local(), psk));
      run_until([&] { return count<Opened>(server_events) == i + 1; });
      for (const Event& event : server_events)
        if (std::holds_alternative<Opened>(event.what)) last_opened = event.connection;
      at_server.push_back(last_opened);
      client.send(at_client[i], peer::Message(peer::Join{}));
    }
    run_until(
        [&] { return count<Received>(server_events) == 2 && count<Opened>(client_events) == 2; });
  }
  // The client asks for the chunk, and the server sends it.
  void transfer(std::size_t connection, ChunkIndex chunk) {
    client.send(at_client[connection], peer::Message(peer::Request{chunk}));
    server.send_chunk(at_server[connection], chunk);
  }
  ConnectionId last_opened = 0;
};

}  // namespace

TEST_CASE("a disk that hangs while a chunk is read holds up neither messages nor what is written") {
  Gate gate, open;
  open.opened.set_value();
  Joined pair;
  const auto slow = std::make_shared<HangingDisk>(gate);
  for (ConnectionId id : pair.at_server) pair.server.attach(id, io_with(slow, false));
  pair.client.attach(pair.at_client[0], io_with(std::make_shared<HangingDisk>(open), true));
  pair.transfer(0, 0);
  const std::size_t before = count<Received>(pair.client_events);
  for (ConnectionId id : pair.at_server) pair.server.send(id, peer::Message(peer::Request{1}));
  pair.run_until([&] { return count<Received>(pair.client_events) == before + 2; });
  CHECK(count<ChunkSent>(pair.server_events) == 0);
  gate.opened.set_value();
  pair.run_until([&] { return count<ChunkSent>(pair.server_events) == 1; });
}

TEST_CASE(
    "a disk that hangs while a chunk is written holds up neither what else comes in nor goes out") {
  Gate gate, open;
  open.opened.set_value();
  Joined pair;
  for (std::size_t i = 0; i < 2; ++i) {
    pair.server.attach(pair.at_server[i], io_with(std::make_shared<HangingDisk>(open), true));
    pair.client.attach(pair.at_client[i], io_with(std::make_shared<HangingDisk>(gate), true));
  }
  pair.transfer(0, 1);
  pair.run_until([&] { return count<ChunkData>(pair.client_events) >= 1; });
  // While it hangs: another chunk on another connection, messages, and chunks the other way.
  pair.transfer(1, 2);
  pair.server.send(pair.at_server[0], peer::Message(peer::Request{1}));
  pair.run_until([&] { return find<Received>(pair.client_events) != nullptr; });
  pair.client.send_chunk(pair.at_client[0], 1);
  pair.run_until([&] {
    return count<ChunkSent>(pair.server_events) == 2 &&
           count<ChunkVerified>(pair.server_events) == 1;
  });
  CHECK(count<ChunkVerified>(pair.client_events) == 0);
  gate.opened.set_value();
  pair.run_until([&] { return count<ChunkVerified>(pair.client_events) == 2; });
}

TEST_CASE("a connection that closes while its chunk is written tells of the chunk first") {
  Gate gate, open;
  open.opened.set_value();
  Joined pair;
  pair.server.attach(pair.at_server[0], io_with(std::make_shared<HangingDisk>(open), false));
  pair.client.attach(pair.at_client[0], io_with(std::make_shared<HangingDisk>(gate), true));
  pair.transfer(0, 1);
  pair.run_until([&] { return count<ChunkSent>(pair.server_events) == 1; });
  pair.server.close(pair.at_server[0]);
  pair.run_until([&] { return count<ChunkData>(pair.client_events) >= 1; });
  CHECK(count<Closed>(pair.client_events) == 0);
  gate.opened.set_value();
  pair.run_until([&] { return count<Closed>(pair.client_events) == 1; });
  CHECK(count<ChunkVerified>(pair.client_events) == 1);
}
