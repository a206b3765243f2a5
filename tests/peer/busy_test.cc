// Which neighbours a swarm says are in the middle of a chunk.
#include <catch2/catch.hpp>

#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_CASE("a neighbour is busy while a chunk flows from it, for so long") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {0, 1}));
  CHECK_FALSE(probe.swarm.is_busy_with(1, probe.now));
  const auto asked = probe.said<Request>(1);
  REQUIRE_FALSE(asked.empty());
  ChunkIndex chunk = asked[0].chunk;
  if (chunk == kAnyChunk) probe.say(1, Give{chunk = 0, 0});
  probe.swarm.on_data(1, chunk, 1000, probe.now);
  probe.drain();
  CHECK(probe.swarm.is_busy_with(1, probe.now));
  CHECK_FALSE(probe.swarm.is_busy_with(2, probe.now));
  probe.wait(seconds(2));
  CHECK_FALSE(probe.swarm.is_busy_with(1, probe.now));
  // However steadily it trickles.
  Duration after{};
  for (; after < minutes(20); after += milliseconds(500)) {
    probe.wait(milliseconds(500));
    probe.swarm.on_data(1, chunk, 1, probe.now);
    probe.drain();
    if (!probe.swarm.is_busy_with(1, probe.now)) break;
  }
  CHECK(after > minutes(9));
  CHECK(after < minutes(10));
}

TEST_CASE("a neighbour is busy while it is sent a chunk, until it loses its slot") {
  Probe probe(100, Bitfield(100, true));
  probe.join(1, Bitfield(100));
  probe.say(1, Request{3});
  CHECK(probe.swarm.is_busy_with(1, probe.now));
  // It reads nothing, and another waits.
  probe.join(2, Bitfield(100));
  for (ChunkIndex chunk = 0; chunk < 10; ++chunk) probe.say(2, Request{chunk});
  probe.wait(seconds(70));
  CHECK_FALSE(probe.swarm.is_busy_with(1, probe.now));
}

TEST_CASE("who never says what it got is not busy for ever") {
  Probe probe(100, Bitfield(100, true));
  probe.join(1, Bitfield(100));
  ChunkIndex chunk = 0;
  for (; chunk < 60; ++chunk) {
    probe.say(1, Request{chunk});
    if (!probe.swarm.is_busy_with(1, probe.now)) break;
    probe.swarm.on_chunk_sent(1, chunk, probe.now);
    probe.drain();
  }
  CHECK(chunk > 8);
  CHECK(chunk < 60);
}
