#include "peer/upload_queue.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <vector>

#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;

namespace {

constexpr Duration kPatience = std::chrono::seconds(20);
const Time kStart{};

// All slots are open from the start.
UploadQueue make_queue(std::uint32_t slots, ChunkIndex chunks, std::uint64_t seed = 1) {
  return UploadQueue({slots, slots}, kPatience, Bitfield(chunks, true), Random(seed));
}

}  // namespace

TEST_CASE("no more chunks are under way than there are slots") {
  UploadQueue queue = make_queue(4, 100);
  UploadClient client;
  const Bitfield nothing(100);
  for (ChunkIndex chunk = 0; chunk < 10; ++chunk)
    CHECK(queue.push(client, chunk, nothing) == UploadQueue::Pushed::kQueued);
  for (ChunkIndex chunk = 0; chunk < 4; ++chunk) CHECK(queue.start(kStart)->chunk == chunk);
  CHECK_FALSE(queue.start(kStart).has_value());
  CHECK(queue.finish(client, 2, true, kStart).has_value());
  CHECK_FALSE(queue.finish(client, 2, true, kStart).has_value());
  CHECK(queue.start(kStart)->chunk == 4);
  CHECK_FALSE(queue.start(kStart).has_value());
}

TEST_CASE("a newcomer gets the next slot though others queue hundreds") {
  UploadQueue queue = make_queue(1, 1000);
  UploadClient busy, other, newcomer;
  const Bitfield nothing(1000);
  for (ChunkIndex chunk = 0; chunk < 200; ++chunk) {
    queue.push(busy, chunk, nothing);
    queue.push(other, chunk, nothing);
  }
  for (int i = 0; i < 6; ++i) {
    const auto start = queue.start(kStart);
    queue.finish(*start->client, start->chunk, true, kStart);
  }
  auto under_way = queue.start(kStart);
  queue.push(newcomer, 7, nothing);
  queue.finish(*under_way->client, under_way->chunk, true, kStart);
  CHECK(queue.start(kStart)->client == &newcomer);
}

TEST_CASE("those who were served take turns, whatever the length of their queues") {
  UploadQueue queue = make_queue(1, 1000);
  UploadClient clients[3];
  const Bitfield nothing(1000);
  for (ChunkIndex chunk = 0; chunk < 200; ++chunk) queue.push(clients[0], chunk, nothing);
  for (ChunkIndex chunk = 0; chunk < 20; ++chunk) {
    queue.push(clients[1], chunk, nothing);
    queue.push(clients[2], chunk, nothing);
  }
  std::map<UploadClient*, int> served;
  for (int i = 0; i < 30; ++i) {
    const auto start = queue.start(kStart);
    ++served[start->client];
    queue.finish(*start->client, start->chunk, true, kStart);
  }
  for (UploadClient& client : clients) CHECK(served[&client] == 10);
}

TEST_CASE("each chunk is given away once before any is given twice") {
  const std::uint64_t seed = 5;
  CAPTURE(seed);
  const ChunkIndex chunks = 100;
  UploadQueue queue = make_queue(2, chunks, seed);
  UploadClient clients[5];
  const Bitfield nothing(chunks);
  std::map<ChunkIndex, int> given;
  for (int round = 0; round < 3; ++round) {
    for (ChunkIndex i = 0; i < chunks; ++i) {
      UploadClient& client = clients[i % 5];
      queue.push(client, kAnyChunk, nothing);
      const auto start = queue.start(kStart);
      REQUIRE(start->chosen);
      ++given[start->chunk];
      queue.finish(client, start->chunk, true, kStart);
    }
    for (ChunkIndex chunk = 0; chunk < chunks; ++chunk) CHECK(given[chunk] == round + 1);
  }
}

TEST_CASE("a chunk is repeated only to whom nothing else can be given") {
  const ChunkIndex chunks = 10;
  UploadQueue queue = make_queue(1, chunks);
  UploadClient one, two;
  // `one` lacks just 3 and 4: it gets both, though 4 was given to `two` before.
  Bitfield most(chunks, true);
  most.reset(3);
  most.reset(4);
  Bitfield lacks_4(chunks, true);
  lacks_4.reset(4);
  queue.push(two, kAnyChunk, lacks_4);
  CHECK(queue.start(kStart)->chunk == 4);
  queue.finish(two, 4, true, kStart);
  for (ChunkIndex expected : {3u, 4u}) {
    queue.push(one, kAnyChunk, most);
    const auto start = queue.start(kStart);
    CHECK(start->chunk == expected);
    queue.finish(one, start->chunk, true, kStart);
  }
  queue.push(one, kAnyChunk, most);
  CHECK(queue.start(kStart)->chunk == kAnyChunk);  // nothing is left for it
}

TEST_CASE("a chosen chunk is not one that the asker has, asked for, or turned down") {
  const ChunkIndex chunks = 4;
  UploadQueue queue = make_queue(1, chunks);
  UploadClient client;
  queue.push(client, 2, bits(chunks, {0}));
  queue.push(client, kAnyChunk, bits(chunks, {0}));
  CHECK(queue.start(kStart)->chunk == 2);
  queue.finish(client, 2, true, kStart);
  const auto first = queue.start(kStart);
  CHECK((first->chunk == 1 || first->chunk == 3));
  CHECK(queue.cancel(client, first->chunk) == UploadQueue::Cancelled::kStop);
  queue.finish(client, first->chunk, false, kStart);
  queue.push(client, kAnyChunk, bits(chunks, {0}));
  const auto second = queue.start(kStart);
  CHECK(second->chunk == 4 - first->chunk);
}

TEST_CASE("chunks are chosen in reading order, and two givers start at different places") {
  const ChunkIndex chunks = 1000;
  std::set<ChunkIndex> starts;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    UploadQueue queue = make_queue(1, chunks, seed);
    UploadClient client;
    ChunkIndex last = 0;
    for (int i = 0; i < 20; ++i) {
      queue.push(client, kAnyChunk, Bitfield(chunks));
      const ChunkIndex chunk = queue.start(kStart)->chunk;
      if (i == 0) starts.insert(chunk);
      if (i > 0) CHECK(chunk == (last + 1) % chunks);
      last = chunk;
      queue.finish(client, chunk, true, kStart);
    }
  }
  CHECK(starts.size() >= 9);
}

TEST_CASE("a chunk whose send came to nothing is the first to be given again") {
  const ChunkIndex chunks = 50;
  UploadQueue queue = make_queue(4, chunks);
  UploadClient leaver, stayer;
  queue.push(leaver, kAnyChunk, Bitfield(chunks));
  const ChunkIndex lost = queue.start(kStart)->chunk;
  queue.remove(leaver);
  std::set<ChunkIndex> given;
  for (ChunkIndex i = 0; i < chunks; ++i) {
    queue.push(stayer, kAnyChunk, Bitfield(chunks));
    given.insert(queue.start(kStart)->chunk);
    queue.finish(stayer, *given.rbegin(), true, kStart);
    for (const UploadClient::Send& send : std::vector(stayer.sends))
      queue.finish(stayer, send.chunk, true, kStart);
  }
  CHECK(given.size() == chunks);
  CHECK(given.contains(lost));
}

TEST_CASE("duplicates and too many requests are told apart") {
  UploadQueue queue = make_queue(1, 1000);
  UploadClient client;
  const Bitfield nothing(1000);
  CHECK(queue.push(client, 5, nothing) == UploadQueue::Pushed::kQueued);
  CHECK(queue.push(client, 5, nothing) == UploadQueue::Pushed::kDuplicate);
  queue.start(kStart);
  CHECK(queue.push(client, 5, nothing) == UploadQueue::Pushed::kDuplicate);
  for (std::size_t i = 1; i < kMaxQueuedRequests; ++i)
    CHECK(queue.push(client, kAnyChunk, nothing) == UploadQueue::Pushed::kQueued);
  CHECK(queue.push(client, kAnyChunk, nothing) == UploadQueue::Pushed::kTooMany);
}

TEST_CASE("who does not read loses its slots after a while, and gets no other") {
  UploadQueue queue = make_queue(2, 100);
  UploadClient stuck, good;
  const Bitfield nothing(100);
  for (ChunkIndex chunk = 0; chunk < 50; ++chunk) queue.push(stuck, chunk, nothing);
  Time now = kStart;
  CHECK(queue.start(now)->client == &stuck);
  CHECK(queue.start(now)->client == &stuck);
  queue.push(good, 1, nothing);
  CHECK_FALSE(queue.start(now).has_value());
  CHECK(queue.next_timeout() <= now + kPatience);
  now += kPatience;
  queue.on_timeout(now);
  CHECK(queue.start(now)->client == &good);
  CHECK_FALSE(queue.start(now).has_value());  // the free slot is not for the stuck one
  CHECK(queue.next_timeout() > now);
  // It reads at last.
  queue.finish(stuck, 0, true, now);
  queue.finish(stuck, 1, true, now);
  CHECK(queue.start(now)->client == &stuck);
}

TEST_CASE("the load that one is told is what the others wait for") {
  UploadQueue queue = make_queue(1, 100);
  UploadClient a, b;
  const Bitfield nothing(100);
  for (ChunkIndex chunk = 0; chunk < 3; ++chunk) queue.push(a, chunk, nothing);
  queue.push(b, 9, nothing);
  queue.start(kStart);
  CHECK(queue.load_beside(a) == 1);
  CHECK(queue.load_beside(b) == 3);
  queue.remove(a);
  CHECK(queue.load_beside(b) == 0);
}

TEST_CASE("one more slot opens for each few whole sends, up to the most") {
  const ChunkIndex chunks = 1000;
  UploadQueue queue({1, 3}, kPatience, Bitfield(chunks, true), Random(1));
  UploadClient clients[5];
  for (UploadClient& client : clients)
    for (ChunkIndex chunk = 0; chunk < 60; ++chunk) queue.push(client, chunk, Bitfield(chunks));
  std::vector<UploadQueue::Start> under_way;
  const auto start_all = [&] {
    while (const auto start = queue.start(kStart)) under_way.push_back(*start);
    return under_way.size();
  };
  const auto finish_one = [&](bool whole) {
    queue.finish(*under_way.front().client, under_way.front().chunk, whole, kStart);
    under_way.erase(under_way.begin());
  };
  CHECK(start_all() == 1);
  // What did not go out whole counts for nothing.
  for (std::uint32_t i = 0; i < 3 * UploadQueue::kSendsPerSlot; ++i) {
    finish_one(false);
    CHECK(start_all() == 1);
  }
  for (std::uint32_t sent = 1; sent <= 6 * UploadQueue::kSendsPerSlot; ++sent) {
    finish_one(true);
    CAPTURE(sent);
    CHECK(start_all() == std::min<std::size_t>(1 + sent / UploadQueue::kSendsPerSlot, 3));
  }
}

namespace {

// Three that wait with three requests each, who has the most chunks first.
struct Unequal {
  explicit Unequal(UploadQueue& queue) {
    far.held = 900;
    middle.held = 500;
    behind.held = 3;
    const Bitfield nothing(1000);
    for (UploadClient* client : {&far, &middle, &behind})
      for (ChunkIndex chunk = 0; chunk < 3; ++chunk) queue.push(*client, chunk, nothing);
  }
  UploadClient far, middle, behind;
};

}  // namespace

TEST_CASE("who has the fewest chunks is served first, however late it asks") {
  UploadQueue queue = make_queue(1, 1000);
  Unequal clients(queue);
  auto& [far, middle, behind] = clients;
  for (UploadClient* expected : {&behind, &behind, &behind, &middle, &middle, &middle, &far}) {
    const auto start = queue.start(kStart);
    CHECK(start->client == expected);
    queue.finish(*start->client, start->chunk, true, kStart);
  }
}

TEST_CASE("a second send to who has the fewest waits until everyone is being sent one") {
  UploadQueue queue = make_queue(4, 1000);
  Unequal clients(queue);
  auto& [far, middle, behind] = clients;
  for (UploadClient* expected : {&behind, &middle, &far, &behind})
    CHECK(queue.start(kStart)->client == expected);
}

namespace {

// Chunk 1 is with ten neighbours, chunk 2 with six, the others with none.
Availability few_and_many(ChunkIndex chunks) {
  Availability availability(chunks);
  for (int i = 0; i < 10; ++i) availability.add(1);
  for (int i = 0; i < 6; ++i) availability.add(2);
  return availability;
}

}  // namespace

TEST_CASE("what few have is sent first, whoever asked for it and when") {
  UploadQueue queue = make_queue(1, 1000);
  const Availability availability = few_and_many(1000);
  const Bitfield nothing(1000);
  UploadClient first, second;
  second.held = 1;
  for (ChunkIndex chunk : {1, 2, 3}) queue.push(first, chunk, nothing);
  for (ChunkIndex chunk : {1, 4}) queue.push(second, chunk, nothing);
  std::vector<ChunkIndex> sent;
  while (const auto start = queue.start(kStart, &availability)) {
    sent.push_back(start->chunk);
    queue.finish(*start->client, start->chunk, true, kStart);
  }
  CHECK(sent == std::vector<ChunkIndex>{3, 4, 2, 1, 1});
}

TEST_CASE("who is behind is served before others get what few have") {
  UploadQueue queue = make_queue(1, 1000);
  const Availability availability = few_and_many(1000);
  const Bitfield nothing(1000);
  UploadClient ahead, behind;
  ahead.held = 20;
  behind.held = 10;
  queue.push(ahead, 3, nothing);
  queue.push(behind, 1, nothing);
  const auto start = queue.start(kStart, &availability);
  CHECK(start->client == &behind);
  CHECK(start->chunk == 1);
}

TEST_CASE("who is furthest behind comes first also beside one that has nearly all") {
  UploadQueue queue = make_queue(1, 1000);
  const Availability availability = few_and_many(1000);
  const Bitfield nothing(1000);
  UploadClient rich, some, none;
  rich.held = 900;
  some.held = 10;
  queue.push(rich, 4, nothing);
  queue.push(some, 3, nothing);
  queue.push(none, 1, nothing);
  CHECK(queue.start(kStart, &availability)->client == &none);
}

TEST_CASE("who is not complete serves requests for any chunk last") {
  UploadQueue queue = make_queue(1, 1000);
  const Availability availability = few_and_many(1000);
  const Bitfield nothing(1000);
  UploadClient honest, greedy;
  for (ChunkIndex chunk : {1, 2}) queue.push(honest, chunk, nothing);
  for (int i = 0; i < 4; ++i) queue.push(greedy, kAnyChunk, nothing);
  for (int i = 0; i < 2; ++i) {
    const auto start = queue.start(kStart, &availability);
    CHECK(start->client == &honest);
    queue.finish(*start->client, start->chunk, true, kStart);
    honest.got = 0;  // it is as needy as before
  }
}

TEST_CASE("who never says what it got is not served before those who do") {
  UploadQueue queue = make_queue(1, 1000);
  const Bitfield nothing(1000);
  UploadClient silent, open;
  open.held = 3;
  for (ChunkIndex chunk = 0; chunk < 10; ++chunk) queue.push(silent, chunk, nothing);
  for (ChunkIndex chunk = 0; chunk < 10; ++chunk) queue.push(open, chunk, nothing);
  std::map<UploadClient*, int> served;
  for (int i = 0; i < 10; ++i) {
    const auto start = queue.start(kStart);
    ++served[start->client];
    queue.finish(*start->client, start->chunk, true, kStart);
  }
  CHECK(served[&silent] <= 7);
  CHECK(served[&open] >= 3);
}
