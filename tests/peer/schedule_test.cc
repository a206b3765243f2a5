// One swarm, its neighbours played by the test: how much is asked and sent at once, and in which
// order.
#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>
#include <vector>

#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr ChunkIndex kCount = 100;

Bitfield everything() { return Bitfield(kCount, true); }
Bitfield nothing() { return Bitfield(kCount); }
Probe seeder(SwarmConfig config = steady_config()) { return Probe(kCount, everything(), config); }
Probe fetcher(SwarmConfig config) { return Probe(kCount, nothing(), config); }

}  // namespace

TEST_CASE("a fetcher asks for few chunks at first, and for more as chunks come in") {
  Probe probe = fetcher({.first_window_chunks = 2, .min_window_chunks = 5});
  probe.join(1, everything());
  for (ChunkIndex chunk = 0; chunk < 6 * RequestWindow::kChunksPerStep; ++chunk) {
    CAPTURE(chunk);
    const std::size_t window = std::min<std::size_t>(2 + chunk / RequestWindow::kChunksPerStep, 5);
    CHECK(probe.said<Request>(1).size() - chunk == window);
    probe.now += seconds(1);
    probe.say(1, Give{chunk, 0});
    probe.deliver(1, chunk);
  }
}

TEST_CASE("who has less than its neighbours asks for up to twice as much, within its memory") {
  const auto asked_beside = [](ChunkIndex held, std::uint64_t max_chunks) {
    Probe probe = fetcher({.first_window_chunks = 4,
                           .min_window_chunks = 4,
                           .max_window_bytes = max_chunks * kTestChunkBytes});
    Bitfield some(kCount);
    for (ChunkIndex chunk = 0; chunk < held; ++chunk) some.set(chunk);
    probe.join(1, some);
    return probe.said<Request>(1).size();
  };
  CHECK(asked_beside(60, 100) == 8);
  CHECK(asked_beside(99, 100) == 8);
  CHECK(asked_beside(60, 6) == 6);
  CHECK(asked_beside(60, 3) == 3);
  // A complete neighbour is no measure: it did not have to catch up.
  CHECK(asked_beside(100, 100) == 4);
}

TEST_CASE("who is not behind the mean of its neighbours keeps to the window") {
  Bitfield half(kCount);
  for (ChunkIndex chunk = 0; chunk < 50; ++chunk) half.set(chunk);
  Bitfield other_half(kCount);
  for (ChunkIndex chunk = 50; chunk < kCount; ++chunk) other_half.set(chunk);
  Probe probe(kCount, half, {.first_window_chunks = 4, .min_window_chunks = 4});
  probe.join(1, other_half);
  CHECK(probe.said<Request>(1).size() == 4);
  // 2 raises the mean, until it goes.
  Bitfield most(kCount, true);
  most.reset(0);
  probe.join(2, most);
  const auto asked = [&] { return probe.said<Request>(1).size() + probe.said<Request>(2).size(); };
  CHECK(asked() == 8);
  probe.swarm.on_disconnected(2, probe.now);
  probe.drain();
  const std::size_t before = probe.said<Request>(1).size();
  probe.deliver(1, probe.said<Request>(1).at(0).chunk);
  CHECK(probe.said<Request>(1).size() <= before + 1);
}

TEST_CASE("who owes us a chunk is asked for another only where others have far more to do") {
  const auto second_asked = [](std::uint32_t load) {
    Probe probe = fetcher({.first_window_chunks = 2, .min_window_chunks = 2});
    probe.join(1, nothing());
    probe.join(2, nothing());
    probe.join(3, bits(kCount, {90, 91}));  // takes the whole window while 1 and 2 tell
    probe.say(1, Have{{0, 1}, 0});
    probe.say(2, Have{{2, 3}, load});
    probe.deliver(3, probe.said<Request>(3).at(0).chunk);
    CHECK(probe.said<Request>(1).size() == 1);
    probe.deliver(3, probe.said<Request>(3).at(1).chunk);
    return probe.said<Request>(1).size() == 2 ? 1 : 2;
  };
  CHECK(second_asked(1) == 2);
  CHECK(second_asked(4) == 2);
  CHECK(second_asked(6) == 1);
}

TEST_CASE("of two that ask the one with fewer chunks is served first") {
  Probe probe = seeder(steady_config(1));
  Bitfield half(kCount);
  for (ChunkIndex chunk = 0; chunk < 50; ++chunk) half.set(chunk);
  probe.join(1, half);
  probe.join(2, half);
  probe.join(3, bits(kCount, {1, 2, 3}));
  for (ConnectionId connection : {1, 2, 3})
    for (ChunkIndex chunk : {80, 81}) probe.say(connection, Request{chunk});
  std::vector<ConnectionId> served;
  for (std::size_t i = 0; i < 6; ++i) {
    const auto sends = probe.all<SendChunk>();
    REQUIRE(sends.size() == i + 1);
    served.push_back(sends.back().connection);
    probe.swarm.on_chunk_sent(sends.back().connection, sends.back().chunk, probe.now);
    probe.drain();
  }
  // 1 was alone when it asked; then the newcomer has both of its chunks, and the others take turns.
  CHECK(served == std::vector<ConnectionId>{1, 3, 3, 2, 1, 2});
}

TEST_CASE("who is complete from the start sends more at once than who fetches") {
  const SwarmConfig config{.first_slots = 1, .upload_slots = 3, .seeder_slots = 5};
  Bitfield most(kCount, true);
  most.reset(0);
  for (const auto& [have, slots] : {std::pair{everything(), 5u}, {most, 3u}}) {
    Probe probe(kCount, have, config);
    probe.join(1, nothing());
    for (ChunkIndex chunk = 1; chunk < kCount; ++chunk) probe.say(1, Request{chunk});
    const std::size_t sent = 5 * UploadQueue::kSendsPerSlot;
    for (std::size_t i = 0; i < sent; ++i) {
      probe.swarm.on_chunk_sent(1, probe.all<SendChunk>().at(i).chunk, probe.now);
      probe.drain();
    }
    CHECK(probe.all<SendChunk>().size() - sent == slots);
  }
}

TEST_CASE("slots open one by one as chunks are sent") {
  Probe probe = seeder({.first_slots = 1, .upload_slots = 2, .seeder_slots = 3});
  probe.join(1, nothing());
  for (ChunkIndex chunk = 0; chunk < 40; ++chunk) probe.say(1, Request{chunk});
  for (std::size_t sent = 0; sent < 20; ++sent) {
    const auto sends = probe.all<SendChunk>();
    CHECK(sends.size() - sent == std::min<std::size_t>(1 + sent / UploadQueue::kSendsPerSlot, 3));
    probe.swarm.on_chunk_sent(1, sends[sent].chunk, probe.now);
    probe.drain();
  }
}

TEST_CASE(
    "the load that is told is for each slot of a fetcher, so that a seeder is asked for more") {
  const SwarmConfig config{.first_slots = 12, .upload_slots = 6, .seeder_slots = 12};
  Probe big = seeder(config);
  big.join(1, nothing());
  big.join(2, nothing());
  for (ChunkIndex chunk = 0; chunk < 8; ++chunk) big.say(1, Request{chunk});
  big.say(2, Request{kAnyChunk});
  CHECK(big.said<Give>(2).at(0).load == 4);

  Bitfield most(kCount, true);
  most.reset(0);
  Probe small(kCount, most, {.first_slots = 6, .upload_slots = 6, .seeder_slots = 12});
  small.join(1, nothing());
  small.join(2, nothing());
  for (ChunkIndex chunk = 1; chunk <= 4; ++chunk) small.say(1, Request{chunk});
  small.say(2, Request{kAnyChunk});
  CHECK(small.said<Give>(2).at(0).load == 4);
}

TEST_CASE("a swarm is starved while it lacks chunks and nothing is asked of anybody") {
  Probe probe(3, bits(3, {0}));
  CHECK(probe.swarm.hunger() == Hunger::kStarved);  // nobody is there
  probe.join(1, bits(3, {0}));
  CHECK(probe.swarm.hunger() == Hunger::kStarved);  // nobody has more
  probe.say(1, Have{{1}, 0});
  CHECK(probe.swarm.hunger() == Hunger::kFed);
  probe.deliver(1, 1);
  CHECK(probe.swarm.hunger() == Hunger::kStarved);
  probe.join(2, bits(3, {1, 2}));
  CHECK(probe.swarm.hunger() == Hunger::kFed);
  probe.swarm.on_disconnected(2, probe.now);
  CHECK(probe.swarm.hunger() == Hunger::kStarved);
  probe.join(3, bits(3, {2}));
  probe.deliver(3, 2);
  CHECK(probe.swarm.complete());
  CHECK(probe.swarm.hunger() == Hunger::kFed);
  CHECK(seeder().swarm.hunger() == Hunger::kFed);
}

TEST_CASE("a swarm is hungry while far less comes in than once did") {
  Probe probe = fetcher(steady_config());
  probe.join(1, everything());
  ChunkIndex next = 0;
  const auto deliver = [&](ChunkIndex count, Duration each) {
    for (; count > 0; --count) {
      probe.wait(each);
      probe.say(1, Give{next, 0});
      probe.deliver(1, next++);
    }
  };
  deliver(30, milliseconds(50));
  CHECK(probe.swarm.hunger() == Hunger::kFed);
  deliver(10, milliseconds(500));
  CHECK(probe.swarm.hunger() == Hunger::kHungry);
  deliver(30, milliseconds(50));
  CHECK(probe.swarm.hunger() == Hunger::kFed);
  // It need not be told by a chunk that comes: time does.
  probe.wait(seconds(5));
  CHECK(probe.swarm.hunger() == Hunger::kHungry);
}
