// Chunks of which parts are known: what neighbours are told, and what comes of a part that is
// wrong.
#include <catch2/catch.hpp>

#include "tests/peer/harness.h"
#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::seconds;

namespace {

constexpr std::uint32_t kMissing = 1000;

// Of each of these chunks a thousand bytes are missing.
std::vector<PartialChunk> thousand_of(const std::vector<ChunkIndex>& chunks) {
  std::vector<PartialChunk> partial;
  for (ChunkIndex chunk : chunks) partial.push_back({chunk, {{500, 600}, {2000, 400}}});
  return partial;
}

std::vector<PartialChunk> thousand_of_all(ChunkIndex count) {
  std::vector<ChunkIndex> all(count);
  for (ChunkIndex i = 0; i < count; ++i) all[i] = i;
  return thousand_of(all);
}

Probe probe_of(ChunkIndex chunks, std::vector<PartialChunk> partial) {
  return Probe(chunks, Bitfield(chunks), steady_config(), 1, std::move(partial));
}

// The places of two kinds of message in what was said to a neighbour.
template <typename First, typename Second>
bool comes_before(const Probe& probe, ConnectionId connection) {
  for (const SendMessage& sent : probe.all<SendMessage>(connection)) {
    if (std::holds_alternative<First>(sent.message)) return true;
    if (std::holds_alternative<Second>(sent.message)) return false;
  }
  return false;
}

}  // namespace

TEST_CASE("who is complete is told of all partial chunks before it is asked for any") {
  Probe probe = probe_of(40, thousand_of({3, 7, 39}));
  probe.join(1, Bitfield(40, true));
  const auto told = probe.said<Partial>(1);
  REQUIRE(told.size() == 1);
  CHECK(told[0].chunks == thousand_of({3, 7, 39}));
  CHECK(comes_before<Partial, Request>(probe, 1));
  REQUIRE(probe.said<Request>(1).front().chunk == kAnyChunk);
}

TEST_CASE("who is asked by name is told of that chunk alone, once") {
  Probe probe = probe_of(40, thousand_of({3, 7, 39}));
  probe.join(1, bits(40, {7}));
  REQUIRE(probe.said<Partial>(1).size() == 1);
  CHECK(probe.said<Partial>(1)[0].chunks == thousand_of({7}));
  CHECK(comes_before<Partial, Request>(probe, 1));
  probe.say(1, Reject{7, RejectReason::kBusy});
  probe.wait(seconds(5));
  CHECK(probe.said<Request>(1).size() == 2);
  CHECK(probe.said<Partial>(1).size() == 1);
}

TEST_CASE("what is missing of a chunk ends its request") {
  Probe probe = probe_of(2, thousand_of({1}));
  probe.join(1, bits(2, {1}));
  probe.join(2, bits(2, {1}));
  const ConnectionId first = probe.said<Request>(1).empty() ? 2 : 1;
  probe.wait(seconds(10));
  REQUIRE(probe.said<Request>(3 - first).size() == 1);
  probe.swarm.on_data(3 - first, 1, kMissing, probe.now);
  probe.swarm.on_chunk_verified(3 - first, 1, probe.now);
  probe.drain();
  REQUIRE(probe.said<Cancel>(first).size() == 1);
  probe.swarm.on_dropped_data(first, 1, kMissing, probe.now);
  probe.wait(seconds(80));
  CHECK(probe.bye(first).empty());
}

TEST_CASE("a chunk that does not fit bans nobody, and is asked for again whole") {
  Probe probe = probe_of(2, thousand_of({1}));
  probe.join(1, bits(2, {1}));
  probe.swarm.on_data(1, 1, kMissing, probe.now);
  probe.swarm.on_chunk_misfit(1, 1, probe.now);
  probe.drain();
  CHECK(probe.bye(1).empty());
  CHECK(probe.swarm.stats().misfit_chunks == 1);
  const auto told = probe.said<Partial>(1);
  REQUIRE(told.size() == 2);
  CHECK(told[1].chunks == std::vector<PartialChunk>{{1, {}}});
  CHECK(probe.said<Request>(1).size() == 2);
  // A thousand bytes are not all of it now.
  probe.swarm.on_data(1, 1, kMissing, probe.now);
  probe.swarm.on_chunk_corrupt(1, 1, probe.now);
  probe.drain();
  CHECK(probe.bye_reason(1) == ByeReason::kBanned);
}

TEST_CASE("who gives what did not fit, before it heard, is turned down") {
  Probe probe = probe_of(40, thousand_of({3, 7}));
  probe.join(1, Bitfield(40, true));
  probe.say(1, Give{3, 0});
  probe.swarm.on_data(1, 3, kMissing, probe.now);
  probe.swarm.on_chunk_misfit(1, 3, probe.now);
  probe.drain();
  probe.say(1, Give{3, 0});  // for the second of its requests for any
  CHECK(probe.said<Cancel>(1).size() == 1);
  CHECK(probe.all<DropChunk>(1).size() == 1);
  probe.say(1, Reject{3, RejectReason::kCancelled});
  CHECK(probe.bye(1).empty());
}

TEST_CASE("a verdict on a request that was made anew since does not end the new one") {
  Probe probe = probe_of(2, thousand_of({1}));
  probe.join(1, bits(2, {1}));
  probe.swarm.on_chunk_misfit(1, 1, probe.now);  // of an earlier request: no byte of this one came
  probe.drain();
  CHECK(probe.said<Request>(1).size() == 1);
}

TEST_CASE("Partial of a chunk that is out of range, or asked for already, is a violation") {
  Probe probe(4, Bitfield(4, true));
  probe.join(1, Bitfield(4));
  probe.say(1, Partial{thousand_of({2})});
  CHECK(probe.bye(1).empty());
  probe.say(1, Request{2});
  probe.say(1, Partial{thousand_of({2})});
  CHECK(probe.bye_reason(1) == ByeReason::kViolation);
  probe.join(2, Bitfield(4));
  probe.say(2, Partial{thousand_of({4})});
  CHECK(probe.bye_reason(2) == ByeReason::kViolation);
}

// --- a swarm of them

namespace {

WorldOptions options_of(ChunkIndex chunks, std::uint64_t seed) {
  WorldOptions options;
  options.seed = seed;
  options.layout = layout_of(chunks);
  return options;
}

}  // namespace

TEST_CASE("many who lack the same parts: the seeder gives about one copy of these") {
  constexpr ChunkIndex kCount = 400;
  const std::uint64_t seed = GENERATE(1, 2);
  CAPTURE(seed);
  World world(options_of(kCount, seed));
  const LinkRates slow{50e3, 50e3};
  const auto seeder = world.add_seeder(slow);
  for (int i = 0; i < 15; ++i) world.add_peer(Bitfield(kCount), slow, {}, thousand_of_all(kCount));
  world.connect_all();
  REQUIRE(world.run_to_completion(seconds(600)));
  const double missing = kCount * double{kMissing};
  INFO(static_cast<double>(world.bytes_sent(seeder)) / missing << " copies");
  CHECK(static_cast<double>(world.bytes_sent(seeder)) < 1.3 * missing);
  CHECK(to_seconds(world.last_completion() - Time{}) < 1.6 * missing / slow.up);
}

TEST_CASE("a swarm where some know parts, some of them wrong, and somebody lies, is complete") {
  constexpr ChunkIndex kCount = 60;
  const std::uint64_t seed = GENERATE(1, 2, 3);
  CAPTURE(seed);
  World world(options_of(kCount, seed));
  const auto seeder = world.add_seeder();
  Behaviour liar;
  liar.corrupts = [](ChunkIndex chunk) { return chunk % 3 == 0; };
  const auto lies = world.add_seeder({}, liar);
  Behaviour confused;
  confused.misknows = [](ChunkIndex chunk) { return chunk % 4 == 0; };
  for (int i = 0; i < 4; ++i) world.add_fetcher();
  for (int i = 0; i < 4; ++i) world.add_peer(Bitfield(kCount), {}, {}, thousand_of_all(kCount));
  for (int i = 0; i < 4; ++i)
    world.add_peer(Bitfield(kCount), {}, confused, thousand_of_all(kCount));
  world.connect_all();
  REQUIRE(world.run_to_completion(seconds(600), {lies}));
  for (std::size_t peer = 2; peer < 14; ++peer) CHECK_FALSE(world.has_banned(peer, seeder));
}
