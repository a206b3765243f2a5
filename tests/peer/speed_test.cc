// How near the schedule comes to the bound, on equal links: with M chunks relayed whole among N
// fetchers, nobody can end before (M + floor(log2 N)) chunk times.
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "tests/peer/harness.h"

using namespace p2p;
using namespace p2p::peer;

namespace {

struct Outcome {
  double share;       // of the bound, at the last peer
  double copies;      // that the seeder sent
  double duplicates;  // received in vain, of what was needed
};

Outcome race(std::size_t fetchers, ChunkIndex chunks, std::size_t degree, std::uint64_t seed) {
  WorldOptions options;
  options.seed = seed;
  options.layout = {std::uint64_t{chunks} * 256 * 1024, 256 * 1024};
  World world(options);
  const auto seeder = world.add_seeder();
  for (std::size_t i = 0; i < fetchers; ++i) world.add_fetcher();
  world.connect_randomly(degree);
  REQUIRE(world.run_to_completion(std::chrono::minutes(10)));
  const double chunk_time = options.layout.chunk_bytes / LinkRates{}.up;
  const double bound = (chunks + std::floor(std::log2(static_cast<double>(fetchers)))) * chunk_time;
  double duplicates = 0;
  for (std::size_t i = 1; i <= fetchers; ++i)
    duplicates += static_cast<double>(world.swarm(i).stats().duplicate_bytes);
  return {bound / to_seconds(world.last_completion().time_since_epoch()), world.copies_sent(seeder),
          duplicates / static_cast<double>(options.layout.total_bytes * fetchers)};
}

}  // namespace

TEST_CASE("20 peers on equal links reach 0.82 of the bound, and 100 peers 0.8") {
  for (std::uint64_t seed : {1, 2}) {
    CAPTURE(seed);
    const Outcome few = race(20, 256, 10, seed);
    CHECK(few.share >= 0.82);
    CHECK(few.copies <= 1.2);
    CHECK(few.duplicates <= 0.01);
  }
  const Outcome many = race(100, 256, 12, 1);
  CHECK(many.share >= 0.8);
  CHECK(many.copies <= 1.2);
}

// Not run by default: peer_tests "[figures]".
TEST_CASE("figures", "[.figures]") {
  struct Case {
    std::size_t fetchers;
    ChunkIndex chunks;
    std::size_t degree;
    std::uint64_t runs;
  };
  for (const Case& one : {Case{20, 256, 10, 10},
                          {20, 256, 20, 10},
                          {20, 1024, 10, 3},
                          {100, 256, 12, 5},
                          {100, 256, 16, 5},
                          {100, 1024, 12, 1}}) {
    double share = 0, worst = 1, copies = 0, duplicates = 0;
    for (std::uint64_t seed = 1; seed <= one.runs; ++seed) {
      const Outcome outcome = race(one.fetchers, one.chunks, one.degree, seed);
      share += outcome.share / static_cast<double>(one.runs);
      copies += outcome.copies / static_cast<double>(one.runs);
      duplicates += outcome.duplicates / static_cast<double>(one.runs);
      worst = std::min(worst, outcome.share);
    }
    std::cout << one.fetchers << " peers, " << one.chunks << " chunks, degree " << one.degree
              << ": share " << share << " (worst " << worst << "), seeder copies " << copies
              << ", duplicates " << duplicates << std::endl;
  }
}
