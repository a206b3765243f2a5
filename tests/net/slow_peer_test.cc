// Peers that begin and do not go on: nobody else waits for them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>

#include "net/transport.h"
#include "tests/net/content_io.h"
#include "tests/net/hostile_peer.h"

using namespace p2p;
using namespace p2p::net;
using test::HostilePeer;

namespace {

// More of the largest chunks than a swarm's window and neighbours ever leave unfinished.
constexpr std::size_t kSlow = 40;

}  // namespace

TEST_CASE("connections that each stop in the middle of a large chunk hold up no other") {
  init_crypto();
  const auto io =
      test::chunks_of_zeros(kSlow + 1, kMaxChunkBytes, std::make_shared<test::NoDisk>());
  const Secret psk = Secret::random();
  Loop loop;
  std::size_t begun = 0;
  bool verified = false;
  std::vector<ConnectionId> opened;
  TransportConfig config;
  config.accepted_psks = {psk};
  Transport transport(loop, std::move(config), [&](const Event& event) {
    // Each peer is asked for a chunk of its own, in the order in which they came.
    if (std::holds_alternative<Opened>(event.what)) {
      transport.attach(event.connection, io);
      transport.send(event.connection,
                     peer::Message(peer::Request{static_cast<ChunkIndex>(opened.size())}));
      opened.push_back(event.connection);
    }
    begun += std::holds_alternative<ChunkData>(event.what);
    verified |= std::holds_alternative<ChunkVerified>(event.what);
    if (verified) loop.stop();
  });
  REQUIRE(transport.listen(*Endpoint::parse("127.0.0.1:0")).has_value());

  std::vector<std::unique_ptr<HostilePeer>> peers;
  std::thread script([&, where = transport.local()] {
    for (std::size_t i = 0; i <= kSlow; ++i) {
      HostilePeer& peer = *peers.emplace_back(std::make_unique<HostilePeer>(where, psk));
      const auto chunk = peer.expect<peer::Request>().chunk;
      const Bytes part(i < kSlow ? 1000 : kMaxDataPayloadBytes);
      const std::uint32_t end = i < kSlow ? 1000 : kMaxChunkBytes;
      for (std::uint32_t at = 0; at < end; at += static_cast<std::uint32_t>(part.size()))
        peer.say_data(chunk, at, part);
    }
  });
  loop.run();  // the ctest timeout is the limit
  script.join();
  CHECK(begun > kSlow);
  CHECK(opened.size() == kSlow + 1);
}
