// Many swarms over simulated links: the honest and the hostile.
#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <vector>

#include "tests/peer/harness.h"
#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

WorldOptions options_of(ChunkIndex chunks, std::uint64_t seed = 1) {
  WorldOptions options;
  options.seed = seed;
  options.layout = {std::uint64_t{chunks} * 256 * 1024 - 1000, 256 * 1024};
  return options;
}

double duplicate_share(const World& world, World::PeerNumber peer) {
  const SwarmStats stats = world.swarm(peer).stats();
  return static_cast<double>(stats.duplicate_bytes) / static_cast<double>(stats.received_bytes);
}

bool reported(const World& world, World::PeerNumber peer, Problem problem) {
  for (const Report& report : world.reports(peer))
    if (report.problem == problem) return true;
  return false;
}

}  // namespace

TEST_CASE("two peers complete at the speed of the link and part") {
  World world(options_of(64));
  const auto seeder = world.add_seeder();
  const auto fetcher = world.add_fetcher();
  world.connect(seeder, fetcher);
  REQUIRE(world.run_to_completion(minutes(1)));
  const double bound = 64 * 256 * 1024 / LinkRates{}.up;
  CHECK(to_seconds(world.now().time_since_epoch()) < bound * 1.03);
  CHECK(world.copies_sent(seeder) == 1);
  world.run(seconds(1));
  CHECK_FALSE(world.connected(seeder, fetcher));
}

TEST_CASE("eight fetchers complete and the seeder sends little more than one copy") {
  for (std::uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    World world(options_of(100, seed));
    const auto seeder = world.add_seeder();
    for (int i = 0; i < 8; ++i) world.add_fetcher();
    world.connect_all();
    REQUIRE(world.run_to_completion(minutes(5)));
    CHECK(world.copies_sent(seeder) <= 1.3);
  }
}

TEST_CASE("the rest complete when the seeder dies after one copy is out") {
  World world(options_of(100));
  const auto seeder = world.add_seeder();
  for (int i = 0; i < 8; ++i) world.add_fetcher();
  world.connect_all();
  const auto one_copy_is_out = [&] {
    Bitfield together(100);
    for (World::PeerNumber i = 1; i <= 8; ++i)
      for (ChunkIndex chunk = 0; chunk < 100; ++chunk)
        if (world.swarm(i).have().test(chunk)) together.set(chunk);
    return together.all();
  };
  world.run(minutes(5), one_copy_is_out);
  REQUIRE(one_copy_is_out());
  std::size_t incomplete = 0;
  for (World::PeerNumber i = 1; i <= 8; ++i) incomplete += !world.swarm(i).complete();
  CHECK(incomplete > 0);
  world.kill(seeder);
  CHECK(world.run_to_completion(minutes(5)));
}

TEST_CASE("a peer that promises and never sends holds nobody up for long") {
  World world(options_of(50));
  world.add_seeder();
  const auto liar = world.add_seeder({}, {.never_sends = true});
  const auto fetcher = world.add_fetcher();
  world.connect_all();
  REQUIRE(world.run_to_completion(seconds(40), {liar}));
  CHECK(world.completed_at(fetcher) < Time{} + seconds(20));
}

TEST_CASE("a peer that promises and never sends is dropped though there is no other") {
  World world(options_of(50));
  const auto liar = world.add_seeder({}, {.never_sends = true});
  const auto fetcher = world.add_fetcher();
  world.connect_all();
  world.run(minutes(2));
  CHECK_FALSE(world.connected(fetcher, liar));
  CHECK(reported(world, fetcher, Problem::kStuck));
}

TEST_CASE("a byte each ten seconds does not hold a fetch up") {
  World world(options_of(50));
  world.add_seeder();
  const auto slow = world.add_seeder({}, {.trickles = true});
  const auto fetcher = world.add_fetcher();
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2), {slow}));
  CHECK(world.completed_at(fetcher) < Time{} + seconds(20));
}

TEST_CASE("flipped bytes ban their sender and the fetch completes from the honest one") {
  World world(options_of(50));
  const auto honest = world.add_seeder();
  const auto liar = world.add_seeder({}, {.corrupts = [](ChunkIndex) { return true; }});
  const auto fetcher = world.add_fetcher();
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2), {liar}));
  CHECK(world.has_banned(fetcher, liar));
  CHECK_FALSE(world.has_banned(fetcher, honest));
  CHECK(world.swarm(fetcher).stats().corrupt_chunks == 1);
}

TEST_CASE("alternating good and bad chunks ban their sender at the first bad one") {
  World world(options_of(50));
  const auto liar = world.add_seeder({}, {.corrupts = [](ChunkIndex chunk) { return chunk % 2; }});
  const auto fetcher = world.add_fetcher();
  const auto honest = world.add_seeder({.up = 1e6, .down = 1e6});
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2), {liar}));
  CHECK(world.has_banned(fetcher, liar));
  CHECK_FALSE(world.has_banned(fetcher, honest));
  CHECK(world.swarm(fetcher).stats().corrupt_chunks == 1);
}

TEST_CASE("two colluding liars are banned one after the other") {
  World world(options_of(50));
  const auto lies = [](ChunkIndex chunk) { return chunk >= 20; };
  const auto first = world.add_seeder({}, {.corrupts = lies});
  const auto second = world.add_seeder({}, {.corrupts = lies});
  const auto fetcher = world.add_fetcher();
  world.add_seeder({.up = 1e6, .down = 1e6});
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2), {first, second}));
  CHECK(world.has_banned(fetcher, first));
  CHECK(world.has_banned(fetcher, second));
}

TEST_CASE("a peer that lies about what it has is dropped and the fetch completes") {
  World world(options_of(200));
  const auto liar = world.add_seeder({}, {.rejects_all = true});
  const auto fetcher = world.add_fetcher();
  world.add_seeder();
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2), {liar}));
  CHECK(world.completed_at(fetcher) < Time{} + seconds(30));
}

TEST_CASE("neighbours that never read do not starve the others for ever") {
  World world(options_of(60));
  world.add_seeder();
  std::set<World::PeerNumber> hostile;
  for (int i = 0; i < 6; ++i) hostile.insert(world.add_fetcher({}, {.never_reads = true}));
  for (World::PeerNumber i : hostile) world.connect(0, i);
  world.run(seconds(5));
  const auto honest = world.add_fetcher();
  world.connect(0, honest);
  REQUIRE(world.run_to_completion(minutes(3), hostile));
}

TEST_CASE("neighbours that never read and come first hold a seeder up for seconds, not minutes") {
  World world(options_of(50));
  world.add_seeder();
  std::set<World::PeerNumber> hostile;
  for (int i = 0; i < 3; ++i) hostile.insert(world.add_fetcher({}, {.never_reads = true}));
  for (World::PeerNumber i : hostile) world.connect(0, i);
  world.run(milliseconds(100));
  std::vector<World::PeerNumber> honest;
  for (int i = 0; i < 4; ++i) {
    const auto fetcher = world.add_fetcher();
    world.connect(0, fetcher);
    for (World::PeerNumber other : honest) world.connect(other, fetcher);
    honest.push_back(fetcher);
  }
  REQUIRE(world.run_to_completion(minutes(3), hostile));
  CHECK(world.last_completion() < Time{} + seconds(30));
}

TEST_CASE("requests to a slow peer are made again elsewhere") {
  World world(options_of(60));
  const auto slow = world.add_seeder({.up = 10e3, .down = 3e6});
  const auto fetcher = world.add_fetcher();
  world.add_seeder();
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2)));
  // The slow one needs 26 s for a chunk.
  CHECK(world.completed_at(fetcher) < Time{} + seconds(12));
  CHECK(world.stops(slow) > 0);
  CHECK(duplicate_share(world, fetcher) < 0.05);
}

TEST_CASE("a cancel stops the send, and little comes in twice") {
  World world(options_of(200));
  for (int i = 0; i < 3; ++i) world.add_seeder({.up = 1e6 * (i + 1), .down = 3e6});
  const auto fetcher = world.add_fetcher({.up = 3e6, .down = 6e6});
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2)));
  CHECK(duplicate_share(world, fetcher) < 0.03);
  const double sent = world.copies_sent(0) + world.copies_sent(1) + world.copies_sent(2);
  CHECK(sent < 1.05);
}

TEST_CASE("a fetcher that was killed goes on from what it had") {
  World world(options_of(100));
  const auto seeder = world.add_seeder();
  const auto first = world.add_fetcher();
  const auto other = world.add_fetcher();
  world.connect_all();
  world.run(seconds(5));
  const Bitfield had = world.swarm(first).have();
  CHECK(had.count() > 10);
  CHECK_FALSE(had.all());
  world.kill(first);
  world.run(seconds(1));
  const auto again = world.add_peer(had, {}, {});
  world.connect(seeder, again);
  world.connect(other, again);
  REQUIRE(world.run_to_completion(minutes(2)));
  CHECK(world.swarm(again).stats().received_bytes <=
        std::uint64_t{100 - had.count() + 2} * 256 * 1024);
}

TEST_CASE("two seeders share the work") {
  World world(options_of(200));
  const auto a = world.add_seeder();
  const auto b = world.add_seeder();
  const auto fetcher = world.add_fetcher({.up = 3e6, .down = 20e6});
  world.connect_all();
  REQUIRE(world.run_to_completion(minutes(2)));
  CHECK(world.copies_sent(a) + world.copies_sent(b) < 1.05);
  const double bound = 200 * 256 * 1024 / (2 * LinkRates{}.up);
  CHECK(to_seconds(world.completed_at(fetcher)->time_since_epoch()) < bound * 1.1);
}

TEST_CASE("one chunk, and a content of one short chunk, complete") {
  for (const Layout& layout : {Layout{256 * 1024, 256 * 1024}, Layout{1, kMinChunkBytes}}) {
    WorldOptions options;
    options.layout = layout;
    World world(options);
    world.add_seeder();
    for (int i = 0; i < 5; ++i) world.add_fetcher();
    world.connect_all();
    CHECK(world.run_to_completion(minutes(1)));
  }
}

TEST_CASE("the same seed gives the same trace, another seed another") {
  const auto trace = [](std::uint64_t seed) {
    World world(options_of(60, seed));
    world.add_seeder();
    for (int i = 0; i < 10; ++i) world.add_fetcher();
    world.connect_randomly(5);
    REQUIRE(world.run_to_completion(minutes(5)));
    return world.trace();
  };
  CHECK(trace(7) == trace(7));
  CHECK(trace(7) != trace(8));
}

TEST_CASE("random swarms with random faults complete wherever a copy is left") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    INFO("replay with this seed alone");
    Random random(seed);
    WorldOptions options = options_of(static_cast<ChunkIndex>(1 + random.below(80)), seed);
    options.latency = milliseconds(random.below(200));
    World world(options);
    const auto rates = [&] {
      return LinkRates{.up = 2e5 * std::pow(30.0, random.unit()),
                       .down = 1e6 + 9e6 * random.unit()};
    };
    std::set<World::PeerNumber> hostile;
    world.add_seeder(rates());
    const std::uint64_t fetchers = 1 + random.below(8);
    for (std::uint64_t i = 0; i < fetchers; ++i) world.add_fetcher(rates());
    for (std::uint64_t i = random.below(4); i > 0; --i) {
      Behaviour behaviour;
      switch (random.below(5)) {
        case 0:
          behaviour.never_sends = true;
          break;
        case 1:
          behaviour.trickles = true;
          break;
        case 2:
          behaviour.rejects_all = true;
          break;
        case 3:
          behaviour.corrupts = [](ChunkIndex chunk) { return chunk % 3 == 0; };
          break;
        default:
          behaviour.never_reads = true;
      }
      hostile.insert(behaviour.never_reads ? world.add_fetcher(rates(), behaviour)
                                           : world.add_seeder(rates(), behaviour));
    }
    world.connect_all();
    // One fetcher goes, and comes again.
    if (random.chance(0.5)) {
      world.after(milliseconds(random.below(5000)), [&] {
        const Bitfield had = world.swarm(1).have();
        world.kill(1);
        const auto again = world.add_peer(had, {}, {});
        for (World::PeerNumber i = 0; i < again; ++i)
          if (i != 1) world.connect(i, again);
      });
    }
    world.run(seconds(6));
    REQUIRE(world.run_to_completion(minutes(20), hostile));
  }
}
