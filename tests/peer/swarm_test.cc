// One swarm, its neighbours played by the test: the rules of the protocol, one by one.
#include <catch2/catch.hpp>
#include <set>

#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr ChunkIndex kCount = 100;

Probe seeder(SwarmConfig config = steady_config()) {
  return Probe(kCount, Bitfield(kCount, true), config);
}
Probe fetcher(SwarmConfig config = steady_config()) {
  return Probe(kCount, Bitfield(kCount), config);
}
Bitfield everything() { return Bitfield(kCount, true); }
Bitfield nothing() { return Bitfield(kCount); }

// Of two complete neighbours the first to come has the whole window; after this each has some.
void share_choices(Probe& probe) {
  for (ChunkIndex chunk : {90, 91}) {
    probe.say(1, Give{chunk, 0});
    probe.deliver(1, chunk);
  }
  REQUIRE(probe.said<Request>(2).size() >= 1);
}

}  // namespace

TEST_CASE("a new neighbour is sent Chunks, and nothing before it has sent its own") {
  Probe probe = fetcher();
  probe.swarm.on_connected(1, PeerId{}, probe.now);
  probe.drain();
  REQUIRE(probe.actions.size() == 1);
  CHECK(probe.said<Chunks>(1).at(0).have == nothing());
  probe.join(2, everything());
  const auto asked = probe.said<Request>(2);
  REQUIRE_FALSE(asked.empty());
  probe.join(3, nothing());
  probe.say(2, Give{3, 0});
  probe.deliver(2, 3);
  probe.wait(milliseconds(5));
  CHECK(probe.said<Have>(3).size() == 1);
  CHECK(probe.all<SendMessage>(1).size() == 1);
  // What it missed follows when it is ready.
  probe.say(1, Chunks{bits(kCount, {9})});
  CHECK(probe.said<Have>(1).at(0).chunks == std::vector<ChunkIndex>{3});
}

TEST_CASE("no more chunks are outstanding than the window holds") {
  Probe probe = fetcher();
  probe.join(1, everything());
  probe.join(2, everything());
  CHECK(probe.said<Request>(1).size() + probe.said<Request>(2).size() == 4);
}

TEST_CASE("a complete neighbour is asked for any chunk, and by name when few are left") {
  Probe probe = fetcher();
  probe.join(1, everything());
  for (const Request& request : probe.said<Request>(1)) CHECK(request.chunk == kAnyChunk);
  CHECK(probe.all<ReceiveChunk>().empty());
  for (ChunkIndex chunk = 0; chunk < kCount; ++chunk) {
    probe.say(1, Give{chunk, 0});
    CHECK(probe.all<ReceiveChunk>(1).back().chunk == chunk);
    probe.deliver(1, chunk);
  }
  CHECK(probe.all<Completed>().size() == 1);
  CHECK(probe.bye_reason(1) == ByeReason::kBothComplete);
  CHECK(probe.said<Request>(1).size() == kCount);

  Bitfield most = everything();
  for (ChunkIndex chunk : {3, 30, 60}) most.reset(chunk);
  Probe late(kCount, most);
  late.join(1, everything());
  std::set<ChunkIndex> asked;
  for (const Request& request : late.said<Request>(1)) asked.insert(request.chunk);
  CHECK(asked == std::set<ChunkIndex>{3, 30, 60});
}

TEST_CASE("what an incomplete neighbour lacks is not asked of it") {
  Probe probe = fetcher();
  probe.join(1, bits(kCount, {4, 40}));
  std::set<ChunkIndex> asked;
  for (const Request& request : probe.said<Request>(1)) asked.insert(request.chunk);
  CHECK(asked == std::set<ChunkIndex>{4, 40});
  probe.say(1, Have{{41}, 0});
  CHECK(probe.said<Request>(1).back().chunk == 41);
}

TEST_CASE("the next request goes to the neighbour with the least load") {
  Probe probe = fetcher();
  probe.swarm.on_connected(1, PeerId{}, probe.now);
  probe.swarm.on_connected(2, PeerId{}, probe.now);
  probe.say(1, Chunks{nothing()});
  probe.say(1, Have{{}, 50});
  probe.say(2, Chunks{bits(kCount, {0, 1, 2, 3, 4, 5, 6, 7})});
  probe.say(1, Have{{0, 1, 2, 3, 4, 5, 6, 7}, 50});
  CHECK(probe.said<Request>(1).empty());
  CHECK(probe.said<Request>(2).size() == 4);
  probe.say(1, Have{{}, 0});
  probe.say(2, Have{{}, 50});
  probe.deliver(2, probe.said<Request>(2).at(0).chunk);
  CHECK(probe.said<Request>(1).size() == 1);
}

TEST_CASE("a slow neighbour's share falls by its rate") {
  const ChunkIndex count = 2000;
  Probe probe(count, Bitfield(count));
  Bitfield most(count, true);
  most.reset(0);
  probe.join(1, most);
  probe.join(2, most);
  std::size_t done[3] = {};
  std::vector<Time> free(3, probe.now);
  // 1 serves a chunk each 10 ms, 2 each 200 ms.
  for (int step = 0; step < 3000; ++step) {
    probe.wait(milliseconds(1));
    for (ConnectionId neighbour : {1, 2}) {
      const auto asked = probe.said<Request>(neighbour);
      const Duration service = milliseconds(neighbour == 1 ? 10 : 200);
      if (done[neighbour] == asked.size()) {
        free[neighbour] = probe.now + service;
      } else if (probe.now >= free[neighbour]) {
        free[neighbour] += service;
        probe.deliver(neighbour, asked[done[neighbour]++].chunk);
      }
    }
  }
  CHECK(done[2] >= 3);
  CHECK(done[1] > 8 * done[2]);
}

TEST_CASE("a Give for a chunk that we have or have asked elsewhere is cancelled at once") {
  Probe probe = fetcher();
  probe.join(1, everything());
  probe.join(2, everything());
  share_choices(probe);
  probe.say(1, Give{5, 0});
  CHECK(probe.all<ReceiveChunk>(1).back().chunk == 5);
  probe.say(2, Give{5, 0});
  CHECK(probe.said<Cancel>(2).at(0).chunk == 5);
  CHECK(probe.all<DropChunk>(2).size() == 1);
  CHECK(probe.all<ReceiveChunk>(2).empty());
  probe.deliver(1, 5);
  probe.say(2, Reject{5, RejectReason::kCancelled});
  REQUIRE(probe.said<Request>(2).size() >= 2);
  probe.say(2, Give{5, 0});
  CHECK(probe.said<Cancel>(2).size() == 2);
  CHECK(probe.bye(2).empty());
}

TEST_CASE("a Give that nobody asked for, or out of range, ends the connection") {
  Probe probe = fetcher();
  probe.join(1, bits(kCount, {1}));
  probe.say(1, Give{1, 0});
  CHECK(probe.bye(1) == "chunk 1 was not asked for");
  probe.join(2, everything());
  probe.say(2, Give{kCount, 0});
  CHECK(probe.bye(2) == "chunk 100 is out of range");
  probe.join(3, everything());
  for (ChunkIndex chunk = 10; chunk < 15; ++chunk) probe.say(3, Give{chunk, 0});
  CHECK(probe.bye(3) == "chunk 14 was not asked for");
}

// The first ask would wait for ever: the second is cancelled, and its data dropped.
TEST_CASE("a Give of a chunk that is given already ends the connection, and frees the chunk") {
  Probe probe = fetcher();
  probe.join(1, everything());
  probe.say(1, Give{7, 0});
  CHECK(probe.bye(1).empty());
  probe.say(1, Give{7, 0});
  CHECK(probe.bye(1) == "chunk 7 is given already");
  probe.join(2, bits(kCount, {7}));
  REQUIRE(probe.said<Request>(2).size() == 1);
  probe.deliver(2, 7);
  CHECK(probe.swarm.have().test(7));
}

TEST_CASE("protocol violations end the connection, each with its text") {
  Probe probe = seeder();
  auto text_for = [&, next = ConnectionId{1}](std::vector<Message> messages) mutable {
    const ConnectionId connection = next++;
    probe.swarm.on_connected(connection, PeerId{}, probe.now);
    for (Message& message : messages) probe.say(connection, std::move(message));
    if (probe.bye_reason(connection)) CHECK(probe.bye_reason(connection) == ByeReason::kViolation);
    return probe.bye(connection);
  };
  CHECK(text_for({Request{1}}) == "a chunk message before Chunks");
  CHECK(text_for({Have{}}) == "a chunk message before Chunks");
  CHECK(text_for({Chunks{nothing()}, Chunks{nothing()}}) == "a second Chunks");
  CHECK(text_for({Chunks{Bitfield(kCount + 1)}}) == "Chunks of another chunk count");
  CHECK(text_for({Chunks{Bitfield(kCount - 1)}}) == "Chunks of another chunk count");
  CHECK(text_for({Chunks{nothing()}, Request{kCount}}) == "chunk 100 is out of range");
  CHECK(text_for({Chunks{nothing()}, Have{{1, kCount}, 0}}) == "chunk 100 is out of range");
  CHECK(text_for({Chunks{nothing()}, Lost{{kCount}}}) == "chunk 100 is out of range");
  CHECK(text_for({Chunks{nothing()}, Cancel{kCount}}) == "chunk 100 is out of range");
  CHECK(text_for({Chunks{nothing()}, Reject{kCount, RejectReason::kBusy}}) ==
        "chunk 100 is out of range");
  CHECK(text_for({Chunks{nothing()}, Request{7}, Request{7}}) == "chunk 7 requested twice");
  std::vector<Message> flood = {Chunks{nothing()}};
  for (std::size_t i = 0; i <= kMaxQueuedRequests; ++i) flood.push_back(Request{kAnyChunk});
  CHECK(text_for(flood) == "too many requests");
  flood.pop_back();
  CHECK(text_for(flood).empty());
  // Harmless: they crossed with something.
  CHECK(text_for({Chunks{nothing()}, Cancel{5}, Cancel{kAnyChunk}}).empty());
  CHECK(text_for({Chunks{nothing()}, Reject{5, RejectReason::kCancelled}}).empty());
}

TEST_CASE("a request for a chunk that was never advertised ends the connection") {
  Probe probe(kCount, bits(kCount, {1}));
  probe.join(1, nothing());
  probe.say(1, Request{2});
  CHECK(probe.bye(1) == "request for chunk 2, not advertised");
}

TEST_CASE("a request for a chunk that the asker has is rejected") {
  Probe probe = seeder();
  probe.join(1, bits(kCount, {2}));
  probe.say(1, Request{2});
  CHECK(probe.said<Reject>(1).at(0) == Reject{2, RejectReason::kNotHere});
}

TEST_CASE("messages of a connection that has ended are ignored") {
  Probe probe = seeder();
  probe.join(1, nothing());
  probe.say(1, Chunks{nothing()});
  const std::size_t actions = probe.actions.size();
  probe.say(1, Request{1});
  probe.swarm.on_chunk_sent(1, 1, probe.now);
  probe.swarm.on_data(1, 1, 100, probe.now);
  probe.swarm.on_chunk_corrupt(1, 1, probe.now);
  probe.swarm.on_disconnected(1, probe.now);
  probe.drain();
  CHECK(probe.actions.size() == actions);
}

TEST_CASE("a named request is answered by the chunk, a choice by a Give before it") {
  Probe probe = seeder();
  probe.join(1, nothing());
  probe.say(1, Request{8});
  CHECK(probe.all<SendChunk>(1).at(0).chunk == 8);
  CHECK(probe.said<Give>(1).empty());
  probe.say(1, Request{kAnyChunk});
  const ChunkIndex given = probe.said<Give>(1).at(0).chunk;
  CHECK(probe.all<SendChunk>(1).at(1).chunk == given);
  CHECK(given != 8);
}

TEST_CASE("who lacks nothing that we have gets a Reject for its choice") {
  Probe probe(kCount, bits(kCount, {1, 2}));
  probe.join(1, bits(kCount, {1, 2, 3}));
  probe.say(1, Request{kAnyChunk});
  CHECK(probe.said<Reject>(1).at(0) == Reject{kAnyChunk, RejectReason::kNotHere});
}

TEST_CASE("a Cancel takes a waiting request back, and stops a send") {
  Probe probe = seeder(steady_config(1));
  probe.join(1, nothing());
  probe.say(1, Request{1});
  probe.say(1, Request{2});
  probe.say(1, Cancel{2});
  CHECK(probe.said<Reject>(1).at(0) == Reject{2, RejectReason::kCancelled});
  probe.say(1, Cancel{1});
  probe.say(1, Cancel{1});
  CHECK(probe.all<StopSending>(1).size() == 1);
  CHECK(probe.said<Reject>(1).size() == 1);
  probe.swarm.on_send_stopped(1, 1, probe.now);
  probe.drain();
  CHECK(probe.said<Reject>(1).at(1) == Reject{1, RejectReason::kCancelled});
  // Too late: the whole chunk is the answer.
  probe.say(1, Request{3});
  probe.say(1, Cancel{3});
  probe.swarm.on_chunk_sent(1, 3, probe.now);
  probe.drain();
  CHECK(probe.said<Reject>(1).size() == 2);
}

TEST_CASE("a chunk of the second source is dropped when the first one wins") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.join(2, bits(2, {1}));
  const ConnectionId first = probe.said<Request>(1).empty() ? 2 : 1;
  const ConnectionId second = 3 - first;
  // Overdue: the other one is asked as well.
  probe.wait(seconds(10));
  REQUIRE(probe.said<Request>(second).size() == 1);
  probe.deliver(second, 1);
  CHECK(probe.said<Cancel>(first).at(0).chunk == 1);
  CHECK(probe.all<DropChunk>(first).size() == 1);
  // Its tail still comes; then the account is closed.
  probe.swarm.on_data(first, 1, kTestChunkBytes, probe.now);
  probe.swarm.on_chunk_verified(first, 1, probe.now);
  CHECK(probe.swarm.stats().duplicate_bytes == kTestChunkBytes);
}

TEST_CASE("a chunk is asked of two at most") {
  Probe probe(2, Bitfield(2));
  for (ConnectionId connection : {1, 2, 3, 4}) probe.join(connection, bits(2, {1}));
  probe.wait(seconds(19));
  std::size_t asked = 0;
  for (ConnectionId connection : {1, 2, 3, 4}) asked += probe.said<Request>(connection).size();
  CHECK(asked == 2);
}

TEST_CASE("a neighbour that sends no byte is reported and dropped, and its chunks go elsewhere") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.wait(seconds(19));
  CHECK(probe.bye(1).empty());
  probe.wait(seconds(2));
  CHECK(probe.bye_reason(1) == ByeReason::kTimeout);
  REQUIRE(probe.all<Report>().size() == 1);
  CHECK(probe.all<Report>().at(0).problem == Problem::kStuck);
  CHECK_FALSE(probe.all<Disconnect>().at(0).ban);
  probe.join(2, bits(2, {1}));
  CHECK(probe.said<Request>(2).at(0).chunk == 1);
}

TEST_CASE("a slow disk of ours is not held against the neighbour") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.join(2, bits(2, {1}));
  const ConnectionId first = probe.said<Request>(1).empty() ? 2 : 1;
  probe.swarm.on_data(first, 1, kTestChunkBytes, probe.now);
  probe.wait(seconds(60));
  CHECK(probe.bye(first).empty());
  CHECK(probe.said<Request>(3 - first).empty());
}

TEST_CASE("to wait in a long queue is not to be stuck, within reason") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.say(1, Have{{}, 400});
  probe.wait(seconds(60));
  CHECK(probe.bye(1).empty());
  for (int i = 0; i < 20; ++i) {
    probe.say(1, Have{{}, 400});
    probe.wait(seconds(20));
  }
  CHECK_FALSE(probe.bye(1).empty());
}

TEST_CASE("a Cancel that is never answered ends the connection") {
  Probe probe = fetcher();
  probe.join(1, everything());
  probe.join(2, everything());
  share_choices(probe);
  probe.say(1, Give{5, 0});
  probe.say(2, Give{5, 0});
  REQUIRE(probe.said<Cancel>(2).size() == 1);
  for (int i = 0; i < 10; ++i) {
    probe.wait(seconds(10));
    // The rest of what it was asked for does come.
    const ChunkIndex chunk = 10 + static_cast<ChunkIndex>(i);
    if (probe.bye(2).empty()) {
      probe.say(2, Give{chunk, 0});
      probe.deliver(2, chunk);
    }
  }
  CHECK(probe.bye(2) == "a Cancel was not answered");
}

TEST_CASE("a corrupt chunk is reported, its sender banned, and the chunk asked for again") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.swarm.on_data(1, 1, kTestChunkBytes, probe.now);
  probe.swarm.on_chunk_corrupt(1, 1, probe.now);
  probe.drain();
  CHECK(probe.all<Report>().at(0).problem == Problem::kCorruptChunk);
  CHECK(probe.all<Disconnect>().at(0).ban);
  CHECK(probe.bye_reason(1) == ByeReason::kBanned);
  CHECK(probe.swarm.stats().corrupt_chunks == 1);
  CHECK(probe.swarm.stats().duplicate_bytes == kTestChunkBytes);
  probe.join(2, bits(2, {1}));
  CHECK(probe.said<Request>(2).at(0).chunk == 1);
}

TEST_CASE("a changed source is reported once, and that neighbour not asked for the chunk again") {
  Probe probe = fetcher();
  probe.join(1, bits(kCount, {1, 2}));
  probe.say(1, Reject{1, RejectReason::kSourceChanged});
  probe.say(1, Reject{2, RejectReason::kSourceChanged});
  REQUIRE(probe.all<Report>().size() == 1);
  CHECK(probe.all<Report>().at(0).problem == Problem::kSourceChanged);
  CHECK(probe.said<Request>(1).size() == 2);
  CHECK_FALSE(probe.swarm.has_useful_neighbour());
  probe.join(2, bits(kCount, {1}));
  CHECK(probe.said<Request>(2).at(0).chunk == 1);
}

TEST_CASE("who rejects whatever it advertises is dropped") {
  Probe probe = fetcher();
  Bitfield most(kCount, true);
  most.reset(0);
  probe.join(1, most);
  for (std::size_t i = 0; probe.bye(1).empty(); ++i) {
    REQUIRE(i < 40);
    probe.say(1, Reject{probe.said<Request>(1).at(i).chunk, RejectReason::kNotHere});
  }
  CHECK(probe.bye(1) == "it does not give what it advertises");
}

TEST_CASE("a busy neighbour is left alone for a second") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.say(1, Reject{1, RejectReason::kBusy});
  CHECK(probe.said<Request>(1).size() == 1);
  CHECK(probe.all<DropChunk>(1).empty());  // it might hit the chunk when it is given again
  probe.wait(seconds(2));
  CHECK(probe.said<Request>(1).size() == 2);
}

TEST_CASE("Haves of chunks verified within a chunk's time share a message") {
  Probe probe = fetcher();
  probe.join(1, nothing());
  probe.join(2, everything());
  const auto get = [&](ChunkIndex chunk) {
    probe.say(2, Give{chunk, 0});
    probe.deliver(2, chunk);
  };
  get(0);
  probe.wait(milliseconds(40));
  for (ChunkIndex chunk : {1, 2, 3, 4}) get(chunk);
  probe.wait(SwarmConfig{}.tell_interval);
  const auto haves = probe.said<Have>(1);
  REQUIRE(haves.size() == 3);
  CHECK(haves[0].chunks == std::vector<ChunkIndex>{0});
  CHECK(haves[1].chunks == std::vector<ChunkIndex>{1});
  CHECK(haves[2].chunks == std::vector<ChunkIndex>{2, 3, 4});
}

TEST_CASE("until chunks are seen to take time, each is told at once") {
  Probe probe = fetcher();
  probe.join(1, nothing());
  probe.join(2, everything());
  for (ChunkIndex chunk : {1, 2, 3}) {
    probe.say(2, Give{chunk, 0});
    probe.deliver(2, chunk);
  }
  CHECK(probe.said<Have>(1).size() == 3);
}

TEST_CASE("who has a chunk itself is told that we have it no sooner than it is to choose for us") {
  Probe probe = fetcher();
  probe.join(1, everything());
  probe.join(2, nothing());
  probe.say(1, Give{3, 0});
  probe.deliver(1, 3);
  probe.wait(milliseconds(5));
  CHECK(probe.said<Have>(1).empty());
  CHECK(probe.said<Have>(2).at(0).chunks == std::vector<ChunkIndex>{3});
  probe.say(1, Give{4, 0});
  probe.deliver(1, 4);
  const auto sent = probe.all<SendMessage>(1);
  REQUIRE(sent.size() >= 2);
  const Message& before_last = sent[sent.size() - 2].message;
  REQUIRE(std::holds_alternative<Have>(before_last));
  CHECK(std::get<Have>(before_last).chunks == std::vector<ChunkIndex>{3});
  CHECK(std::holds_alternative<Request>(sent.back().message));
}

TEST_CASE("a chunk that cannot be read is given up, and everyone told") {
  Probe probe = seeder(steady_config(1));
  probe.join(1, nothing());
  probe.join(2, nothing());
  probe.say(1, Request{6});
  probe.say(2, Request{6});
  probe.swarm.on_chunk_unreadable(1, 6, probe.now);
  probe.drain();
  for (ConnectionId connection : {1, 2}) {
    CHECK(probe.said<Reject>(connection).at(0) == Reject{6, RejectReason::kSourceChanged});
    CHECK(probe.said<Lost>(connection).at(0).chunks == std::vector<ChunkIndex>{6});
  }
  CHECK_FALSE(probe.swarm.have().test(6));
  // A request that crossed with Lost is no violation.
  probe.say(2, Request{6});
  CHECK(probe.said<Reject>(2).size() == 2);
  CHECK(probe.bye(2).empty());
  // Whoever comes later hears of it in Chunks, and of what was lost before it was ready.
  probe.swarm.on_connected(3, PeerId{}, probe.now);
  probe.swarm.on_chunk_unreadable(1, 7, probe.now);
  probe.drain();
  CHECK_FALSE(probe.said<Chunks>(3).at(0).have.test(6));
  probe.say(3, Chunks{nothing()});
  CHECK(probe.said<Lost>(3).at(0).chunks == std::vector<ChunkIndex>{6, 7});
}

TEST_CASE("two complete neighbours part") {
  Probe probe = seeder();
  probe.join(1, everything());
  CHECK(probe.bye_reason(1) == ByeReason::kBothComplete);
  Bitfield most = everything();
  most.reset(9);
  probe.join(2, most);
  CHECK(probe.bye(2).empty());
  probe.say(2, Have{{9}, 0});
  CHECK(probe.bye_reason(2) == ByeReason::kBothComplete);
}

TEST_CASE("keep-alives go out, and a silent neighbour is dropped") {
  Probe probe = seeder();
  probe.join(1, nothing());
  probe.wait(seconds(31));
  REQUIRE(probe.said<Have>(1).size() == 1);
  CHECK(probe.said<Have>(1).at(0).chunks.empty());
  probe.wait(seconds(57));
  CHECK(probe.bye(1).empty());
  probe.wait(seconds(3));
  CHECK(probe.bye_reason(1) == ByeReason::kTimeout);
  CHECK(probe.swarm.next_timeout() == kNever);
}

TEST_CASE("a neighbour that still fetches the manifest may be silent for longer") {
  Probe probe = seeder();
  probe.swarm.on_connected(1, PeerId{}, probe.now);
  probe.say(1, ManifestRequest{});  // the node's, but a sign of life
  probe.wait(seconds(300));
  CHECK(probe.bye(1).empty());
  CHECK(probe.said<Have>(1).empty());
  probe.wait(seconds(100));
  CHECK(probe.bye_reason(1) == ByeReason::kTimeout);
}

TEST_CASE("a neighbour is told when our load has changed much") {
  Probe probe = seeder();
  probe.join(1, nothing());
  probe.join(2, nothing());
  for (ChunkIndex chunk = 0; chunk < 10; ++chunk) probe.say(1, Request{chunk});
  const auto told = probe.said<Have>(2);
  REQUIRE_FALSE(told.empty());
  CHECK(told.size() <= 6);
  CHECK(told.back().load >= 8);
  CHECK(probe.said<Have>(1).empty());  // its own requests are no load to it
}

TEST_CASE("stale and repeated timeouts do nothing") {
  Probe probe = fetcher();
  probe.join(1, everything());
  const std::size_t actions = probe.actions.size();
  for (int i = 0; i < 100; ++i) probe.swarm.on_timeout(probe.now);
  probe.drain();
  CHECK(probe.actions.size() == actions);
}

TEST_CASE("a verified chunk counts though its connection has gone") {
  Probe probe(2, Bitfield(2));
  probe.join(1, bits(2, {1}));
  probe.swarm.on_data(1, 1, kTestChunkBytes, probe.now);
  probe.swarm.on_disconnected(1, probe.now);
  probe.join(2, bits(2, {1}));
  REQUIRE(probe.said<Request>(2).size() == 1);
  probe.swarm.on_chunk_verified(1, 1, probe.now);
  probe.drain();
  CHECK(probe.swarm.have().test(1));
  CHECK(probe.said<Cancel>(2).size() == 1);
}

TEST_CASE("an empty content is complete from the start") {
  Probe probe(0, Bitfield(0));
  CHECK(probe.swarm.complete());
  CHECK(probe.all<Completed>().empty());
  probe.join(1, Bitfield(0));
  CHECK(probe.bye_reason(1) == ByeReason::kBothComplete);
}

TEST_CASE("who reads in order is given the next chunks first, by name, and the rest as ever") {
  Probe probe = fetcher();
  probe.swarm.set_reading({20}, probe.now);
  probe.join(1, everything());
  std::set<ChunkIndex> asked;
  for (const Request& request : probe.said<Request>(1)) asked.insert(request.chunk);
  CHECK(asked == std::set<ChunkIndex>{20, 21, 22, 23});
  probe.deliver(1, 20);
  CHECK(probe.said<Request>(1).back().chunk == 24);
  // Past the end of what there is to read: whatever is open.
  probe.swarm.set_reading({kCount - 1}, probe.now);
  probe.deliver(1, 21);
  CHECK(probe.said<Request>(1).back().chunk == kCount - 1);
  probe.deliver(1, 22);
  CHECK(probe.said<Request>(1).back().chunk < kCount - 1);
  // Nobody reads any more.
  probe.swarm.set_reading({}, probe.now);
  probe.deliver(1, 23);
  CHECK(probe.said<Request>(1).back().chunk == kAnyChunk);
}
