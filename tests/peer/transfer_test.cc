// What the swarm makes of data as the shell tells of it: kept, thrown away, waiting for the disk.
#include <catch2/catch.hpp>

#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::seconds;

TEST_CASE("data that was thrown away does not fulfil a live request: another source is asked") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  REQUIRE(probe.said<Request>(1).size() == 1);
  probe.swarm.on_dropped_data(1, 1, kTestChunkBytes, probe.now);
  probe.drain();
  probe.join(2, bits(2, {1}));
  CHECK(probe.said<Request>(2).empty());
  probe.wait(seconds(10));
  CHECK(probe.said<Request>(2).size() == 1);
}

TEST_CASE("who is given time and again for what it rejected is stuck in the end") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.swarm.on_dropped_data(1, 1, kTestChunkBytes, probe.now);
  probe.wait(seconds(25));
  CHECK(probe.bye(1) == "no byte of what was requested");
}

TEST_CASE("the bytes of a cancelled chunk end its request, thrown away or not") {
  const bool kept = GENERATE(true, false);
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.join(2, bits(2, {1}));
  const ConnectionId first = probe.said<Request>(1).empty() ? 2 : 1;
  probe.wait(seconds(10));
  probe.deliver(3 - first, 1);
  REQUIRE(probe.said<Cancel>(first).size() == 1);
  if (kept)
    probe.swarm.on_data(first, 1, kTestChunkBytes, probe.now);
  else
    probe.swarm.on_dropped_data(first, 1, kTestChunkBytes, probe.now);
  // A Cancel without an answer would end the connection.
  probe.wait(seconds(80));
  CHECK(probe.bye(first).empty());
}

TEST_CASE("while chunks that wait for the disk fill the window, nothing more is asked for") {
  constexpr ChunkIndex kCount = 40;
  Probe probe(kCount, Bitfield(kCount));
  probe.swarm.set_unwritten(4);  // all of steady_config's window
  probe.join(1, Bitfield(kCount, true));
  CHECK(probe.said<Request>(1).empty());
  probe.swarm.set_unwritten(3);
  probe.swarm.on_chunk_verified(9, 0, probe.now);  // of a connection that is gone
  probe.drain();
  CHECK(probe.said<Request>(1).size() == 4);
}
