#include "peer/availability.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "base/random.h"
#include "peer/chunk_picker.h"
#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;

namespace {

// What Availability promises, without its tricks.
struct NaiveAvailability {
  explicit NaiveAvailability(ChunkIndex chunks) : count(chunks) {}
  std::vector<std::uint32_t> count;
  std::set<ChunkIndex> open;

  std::map<std::uint32_t, std::set<ChunkIndex>> levels() const {
    std::map<std::uint32_t, std::set<ChunkIndex>> by_count;
    for (ChunkIndex chunk : open) by_count[count[chunk]].insert(chunk);
    return by_count;
  }
};

void compare(const Availability& real, const NaiveAvailability& naive) {
  REQUIRE(real.open_count() == naive.open.size());
  auto expected = naive.levels();
  for (std::uint32_t count = 0; count < real.levels(); ++count) {
    const auto level = real.level(count);
    REQUIRE(std::set<ChunkIndex>(level.begin(), level.end()) == expected[count]);
    REQUIRE(level.size() == expected[count].size());
    expected.erase(count);
  }
  for (const auto& [count, chunks] : expected) REQUIRE(chunks.empty());
  for (ChunkIndex chunk = 0; chunk < naive.count.size(); ++chunk) {
    REQUIRE(real.count(chunk) == naive.count[chunk]);
    REQUIRE(real.is_open(chunk) == naive.open.contains(chunk));
  }
}

}  // namespace

TEST_CASE("availability does what a plain count of everything would") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const auto chunks = static_cast<ChunkIndex>(1 + random.below(40));
    Availability real(chunks);
    NaiveAvailability naive(chunks);
    for (int step = 0; step < 400; ++step) {
      const auto chunk = static_cast<ChunkIndex>(random.below(chunks));
      switch (random.below(4)) {
        case 0:
          real.open(chunk);
          naive.open.insert(chunk);
          break;
        case 1:
          real.close(chunk);
          naive.open.erase(chunk);
          break;
        case 2:
          real.add(chunk);
          ++naive.count[chunk];
          break;
        default:
          if (naive.count[chunk] == 0) break;
          real.remove(chunk);
          --naive.count[chunk];
      }
      if (step % 7 == 0) compare(real, naive);
    }
    compare(real, naive);
  }
}

TEST_CASE("the picker takes the rarest open chunk that the neighbour has") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    // Few enough open chunks for the picker to be exact.
    const ChunkIndex chunks = ChunkPicker::kProbes;
    Availability availability(chunks);
    Bitfield theirs(chunks), taken(chunks);
    for (ChunkIndex chunk = 0; chunk < chunks; ++chunk) {
      if (random.chance(0.6)) {
        availability.open(chunk);
      } else {
        taken.set(chunk);
      }
      const bool they_have = random.chance(random.unit());
      if (they_have) theirs.set(chunk);
      for (std::uint64_t i = random.below(5) + they_have; i > 0; --i) availability.add(chunk);
    }
    std::optional<std::uint32_t> rarest;
    for (ChunkIndex chunk = 0; chunk < chunks; ++chunk)
      if (theirs.test(chunk) && availability.is_open(chunk))
        rarest = std::min(rarest.value_or(UINT32_MAX), availability.count(chunk));
    ChunkPicker picker{Random(seed)};
    ChunkIndex cursor = 0;
    const auto picked = picker.pick(availability, theirs, taken, cursor);
    REQUIRE(picked.has_value() == rarest.has_value());
    if (!picked) continue;
    CHECK(theirs.test(*picked));
    CHECK(availability.is_open(*picked));
    CHECK(availability.count(*picked) == *rarest);
  }
}

TEST_CASE("the picker finds the few useful chunks of a newcomer among very many") {
  const ChunkIndex chunks = 100'000;
  Availability availability(chunks);
  Bitfield theirs(chunks), taken(chunks);
  for (ChunkIndex chunk = 0; chunk < chunks; ++chunk) {
    availability.open(chunk);
    availability.add(chunk);
  }
  for (ChunkIndex chunk : {5u, 77'777u, 99'999u}) {
    theirs.set(chunk);
    availability.add(chunk);
  }
  availability.add(5);
  ChunkPicker picker{Random(3)};
  ChunkIndex cursor = 50'000;
  std::set<ChunkIndex> picked;
  for (int i = 0; i < 3; ++i) {
    const auto chunk = picker.pick(availability, theirs, taken, cursor);
    REQUIRE(chunk.has_value());
    picked.insert(*chunk);
    if (i < 2) CHECK(*chunk != 5);  // the commonest of the three comes last
    taken.set(*chunk);
    availability.close(*chunk);
  }
  CHECK(picked.size() == 3);
  CHECK_FALSE(picker.pick(availability, theirs, taken, cursor).has_value());
}

TEST_CASE("equally rare chunks are picked by lot") {
  const ChunkIndex chunks = 30;
  Availability availability(chunks);
  for (ChunkIndex chunk = 0; chunk < chunks; ++chunk) {
    availability.open(chunk);
    availability.add(chunk);
  }
  const Bitfield theirs(chunks, true), taken(chunks);
  ChunkPicker picker{Random(4)};
  std::set<ChunkIndex> from_some, from_complete;
  ChunkIndex cursor = 0;
  for (int i = 0; i < 500; ++i) {
    from_some.insert(*picker.pick(availability, theirs, taken, cursor));
    from_complete.insert(*picker.pick(availability));
  }
  CHECK(from_some.size() == chunks);
  CHECK(from_complete.size() == chunks);
}
