#include "agent/retention.h"

#include <catch2/catch.hpp>

#include "base/random.h"

using namespace p2p;
using namespace p2p::agent;

namespace {

ContentId id(std::uint8_t number) {
  ContentId made;
  made.bytes[0] = number;
  return made;
}

Kept kept(std::uint8_t number, std::uint64_t bytes, std::int64_t last_used) {
  return {id(number), bytes, last_used, false, false};
}

}  // namespace

TEST_CASE("what was used longest ago goes first, and no more than is needed") {
  const std::vector<Kept> all = {kept(1, 10, 300), kept(2, 10, 100), kept(3, 10, 200)};
  const RetentionLimits limits{30, 0, 0};
  CHECK(to_remove(all, limits, 1000).empty());
  CHECK(to_remove(all, limits, 1000, 5) == std::vector{id(2)});
  CHECK(to_remove(all, limits, 1000, 15) == std::vector{id(2), id(3)});
  CHECK(to_remove(all, limits, 1000, 100) == std::vector{id(2), id(3), id(1)});
}

TEST_CASE("what is pinned or in use stays, whatever the limits say") {
  std::vector<Kept> all = {kept(1, 10, 0), kept(2, 10, 1), kept(3, 10, 2)};
  all[0].pinned = true;
  all[1].in_use = true;
  CHECK(to_remove(all, {1, 1, 1}, 1'000'000) == std::vector{id(3)});
}

TEST_CASE("what nobody used for the time allowed goes, and at that very second") {
  const std::vector<Kept> all = {kept(1, 10, 100), kept(2, 10, 101)};
  CHECK(to_remove(all, {0, 50, 0}, 149).empty());
  CHECK(to_remove(all, {0, 50, 0}, 150) == std::vector{id(1)});
  CHECK(to_remove(all, {0, 50, 0}, 151) == std::vector{id(1), id(2)});
}

TEST_CASE("no more contents stay than may be") {
  const std::vector<Kept> all = {kept(1, 0, 3), kept(2, 0, 1), kept(3, 0, 2)};
  CHECK(to_remove(all, {0, 0, 3}, 10).empty());
  CHECK(to_remove(all, {0, 0, 3}, 10, 0, 1) == std::vector{id(2)});
}

TEST_CASE("without limits everything stays") {
  CHECK(to_remove({kept(1, UINT64_MAX / 2, 0)}, {}, INT64_MAX, 1'000'000, 5).empty());
}

TEST_CASE("of a thousand random stores none is left above its limit where it need not be") {
  Random random(7);
  for (int round = 0; round < 1000; ++round) {
    std::vector<Kept> all;
    const auto count = static_cast<std::uint8_t>(random.below(20));
    for (std::uint8_t i = 0; i < count; ++i) {
      all.push_back(kept(i, random.below(100), static_cast<std::int64_t>(random.below(50))));
      all.back().pinned = random.below(4) == 0;
      all.back().in_use = random.below(4) == 0;
    }
    const RetentionLimits limits{1 + random.below(600), 0, 0};
    const std::uint64_t room = random.below(100);
    const auto removed = to_remove(all, limits, 100, room);
    std::uint64_t left = room;
    bool could_go = false;
    std::int64_t oldest_left = INT64_MAX, newest_gone = -1;
    for (const Kept& one : all) {
      const bool gone = std::find(removed.begin(), removed.end(), one.content) != removed.end();
      const bool may_go = !one.pinned && !one.in_use;
      REQUIRE((!gone || may_go));
      if (gone) newest_gone = std::max(newest_gone, one.last_used);
      if (gone) continue;
      left += one.bytes;
      could_go |= may_go;
      if (may_go) oldest_left = std::min(oldest_left, one.last_used);
    }
    CHECK((left <= limits.max_bytes || !could_go));
    CHECK(newest_gone <= oldest_left);
  }
}
