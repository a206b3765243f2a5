#include "net/udp_socket.h"

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <vector>

using namespace p2p;
using namespace p2p::net;

namespace {

Endpoint loopback() { return *Endpoint::parse("127.0.0.1:0"); }

// What a socket got, until it got as much as is waited for.
struct Receiver {
  explicit Receiver(Loop& the_loop, std::size_t wanted_count = 1)
      : loop(the_loop),
        wanted(wanted_count),
        socket(loop, [this](const Endpoint& from, MutableBytes datagram) {
          senders.push_back(from);
          datagrams.emplace_back(datagram.begin(), datagram.end());
          if (datagrams.size() == wanted) loop.stop();
        }) {}
  Loop& loop;
  std::size_t wanted;
  std::vector<Endpoint> senders;
  std::vector<Bytes> datagrams;
  UdpSocket socket;
};

// A loop that was not stopped within this time hangs.
struct Deadline {
  explicit Deadline(Loop& loop) : timer(loop, [&loop, this] { passed = true, loop.stop(); }) {
    timer.arm(Loop::now() + std::chrono::seconds(30));
  }
  bool passed = false;
  Timer timer;
};

int takes_no_more(uv_udp_t*, const uv_buf_t[], unsigned, const sockaddr*) { return UV_EAGAIN; }

}  // namespace

TEST_CASE("a datagram comes with the address it was sent from, and can be answered") {
  Loop loop;
  Deadline deadline(loop);
  Receiver asker(loop);
  std::optional<UdpSocket> answerer;
  answerer.emplace(loop, [&](const Endpoint& from, MutableBytes datagram) {
    datagram[0] ^= 0xff;  // it may be overwritten
    CHECK(answerer->send(from, datagram));
  });
  REQUIRE(asker.socket.bind(loopback()));
  REQUIRE(answerer->bind(loopback()));
  REQUIRE(asker.socket.send(answerer->local(), Bytes{0x0f, 2, 3}));
  loop.run();
  REQUIRE(!deadline.passed);
  CHECK(asker.datagrams == std::vector<Bytes>{{0xf0, 2, 3}});
  CHECK(asker.senders == std::vector<Endpoint>{answerer->local()});
  CHECK(asker.socket.counts().sent == 1);
  CHECK(asker.socket.counts().received == 1);
}

TEST_CASE("a socket on [::] takes and sends both kinds of addresses") {
  Loop loop;
  Deadline deadline(loop);
  Receiver both(loop, 1);
  UdpSocket probe(loop, [](const Endpoint&, MutableBytes) {});
  if (!probe.bind(*Endpoint::parse("[::1]:0"))) {
    WARN("this system has no IPv6");
    return;
  }
  REQUIRE(both.socket.bind(*Endpoint::parse("[::]:0")));
  for (const char* text : {"127.0.0.1:0", "[::1]:0"}) {
    Receiver other(loop, 1);
    REQUIRE(other.socket.bind(*Endpoint::parse(text)));
    Endpoint there = other.socket.local();
    there.port = both.socket.local().port;
    REQUIRE(other.socket.send(there, Bytes{1}));
    loop.run();
    REQUIRE(!deadline.passed);
    CHECK(both.senders.back() == other.socket.local());
    REQUIRE(both.socket.send(both.senders.back(), Bytes{2}));
    loop.run();
    REQUIRE(!deadline.passed);
    CHECK(other.senders == std::vector<Endpoint>{there});
    both.wanted += 1;
  }
}

TEST_CASE("the greatest datagram arrives whole; a longer one, and none in its place, does not") {
  Loop loop;
  Deadline deadline(loop);
  Receiver receiver(loop, 2);
  REQUIRE(receiver.socket.bind(loopback()));
  UdpSocket sender(loop, [](const Endpoint&, MutableBytes) {});
  REQUIRE(sender.bind(loopback()));
  REQUIRE(sender.send(receiver.socket.local(), Bytes(kMaxDatagramBytes, 7)));
  // Not every program keeps to the limit.
  uv_udp_t raw;
  uv_udp_init(loop.raw(), &raw);
  sockaddr_in address{};
  uv_ip4_addr("127.0.0.1", receiver.socket.local().port, &address);
  Bytes longer(kMaxDatagramBytes + 1, 8);
  const uv_buf_t buffer =
      uv_buf_init(reinterpret_cast<char*>(longer.data()), static_cast<unsigned>(longer.size()));
  REQUIRE(uv_udp_try_send(&raw, &buffer, 1, reinterpret_cast<sockaddr*>(&address)) ==
          static_cast<int>(longer.size()));
  uv_close(reinterpret_cast<uv_handle_t*>(&raw), nullptr);
  REQUIRE(sender.send(receiver.socket.local(), Bytes{}));
  loop.run();
  REQUIRE(!deadline.passed);
  CHECK(receiver.datagrams == std::vector<Bytes>{Bytes(kMaxDatagramBytes, 7), Bytes()});
  CHECK(receiver.socket.counts().received_longer == 1);
}

TEST_CASE("what the system does not take waits, up to the limit, and then goes out in order") {
  Loop loop;
  Deadline deadline(loop);
  constexpr std::size_t kFit = kMaxUdpQueuedBytes / kMaxDatagramBytes;
  Receiver receiver(loop, kFit);
  REQUIRE(receiver.socket.bind(loopback()));
  UdpSocket sender(
      loop, [](const Endpoint&, MutableBytes) {}, takes_no_more);
  REQUIRE(sender.bind(loopback()));
  for (int round = 1; round <= 2; ++round) {
    for (std::size_t i = 0; i < kFit; ++i)
      REQUIRE(sender.send(receiver.socket.local(),
                          Bytes(kMaxDatagramBytes, static_cast<std::uint8_t>(i))));
    CHECK(!sender.send(receiver.socket.local(), Bytes(kMaxDatagramBytes)));
    CHECK(sender.counts().dropped_full == static_cast<std::uint64_t>(round));
    loop.run();
    REQUIRE(!deadline.passed);
    REQUIRE(receiver.datagrams.size() == round * kFit);
    for (std::size_t i = 0; i < kFit; ++i)
      REQUIRE(receiver.datagrams[i + (round - 1) * kFit].front() == i);
    receiver.wanted += kFit;
  }
  CHECK(sender.counts().sent == 2 * kFit);
  CHECK(sender.counts().dropped_error == 0);
}

TEST_CASE("a datagram that cannot be sent is dropped and counted") {
  Loop loop;
  UdpSocket sender(loop, [](const Endpoint&, MutableBytes) {});
  REQUIRE(sender.bind(loopback()));
  CHECK(!sender.send(*Endpoint::parse("[::1]:9"), Bytes{1}));  // bound to an IPv4 address
  CHECK(sender.counts().dropped_error == 1);
  CHECK(sender.counts().sent == 0);
}

TEST_CASE("an address that is taken, or of no interface here, is an error that names it") {
  Loop loop;
  UdpSocket first(loop, [](const Endpoint&, MutableBytes) {});
  REQUIRE(first.bind(loopback()));
  for (const Endpoint& where : {first.local(), *Endpoint::parse("192.0.2.1:0")}) {
    UdpSocket second(loop, [](const Endpoint&, MutableBytes) {});
    const Status bound = second.bind(where);
    REQUIRE(!bound);
    CHECK(bound.error().code == ErrorCode::kIo);
    CHECK(bound.error().message.find(where.to_string()) != std::string::npos);
  }
}

TEST_CASE("a socket may be destroyed in its own callback, and with datagrams that wait") {
  Loop loop;
  Deadline deadline(loop);
  std::unique_ptr<UdpSocket> receiver;
  receiver = std::make_unique<UdpSocket>(loop, [&](const Endpoint&, MutableBytes) {
    receiver.reset();
    loop.stop();
  });
  REQUIRE(receiver->bind(loopback()));
  auto sender = std::make_unique<UdpSocket>(
      loop, [](const Endpoint&, MutableBytes) {}, takes_no_more);
  REQUIRE(sender->bind(loopback()));
  for (int i = 0; i < 10; ++i) REQUIRE(sender->send(receiver->local(), Bytes{1}));
  sender.reset();
  loop.run();
  REQUIRE(!deadline.passed);
  CHECK(receiver == nullptr);
}
