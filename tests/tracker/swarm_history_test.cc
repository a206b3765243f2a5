#include "tracker/swarm_history.h"

#include <catch2/catch.hpp>

#include "tests/tracker/support.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

SwarmSummary swarm_of(std::size_t fetchers, std::size_t finished, std::uint64_t percent_sum,
                      std::size_t left_finished = 0) {
  return {swarm_id(1), fetchers + 1, finished + 1, fetchers, finished, left_finished, percent_sum};
}

void put(PeerTable& table, std::uint64_t swarm, std::uint64_t peer, std::uint8_t percent) {
  TableEntry entry;
  entry.peer = peer_id(peer);
  entry.endpoint = {host(1), 1};
  entry.expires = kNever;
  entry.have_percent = percent;
  REQUIRE(table.put(swarm_id(swarm), entry, host(static_cast<std::uint32_t>(swarm))));
}

}  // namespace

TEST_CASE(
    "a swarm that is not followed is as complete as its fetchers and those who finished say") {
  const SwarmHistories histories;
  const SwarmHistory& none = histories.of(swarm_id(1));
  const SwarmSummary left_alone = swarm_of(0, 0, 0, 3);
  CHECK(none.completion(left_alone) == 1.0);
  CHECK(none.finished(left_alone) == 3);
  CHECK(none.fetchers(left_alone) == 3);
  CHECK_FALSE(none.completion(swarm_of(0, 0, 0)).has_value());
}

TEST_CASE("completion is of what fetchers are to have, without the seeders") {
  SwarmHistory history;
  CHECK(history.completion(swarm_of(4, 1, 100)) == 0.5);
  CHECK(history.completion(swarm_of(2, 2, 0)) == 1.0);
  CHECK_FALSE(history.completion(swarm_of(0, 0, 0)).has_value());
}

TEST_CASE("who left complete counts on, so that a curve does not fall when they go") {
  SwarmHistory history;
  history.add(swarm_of(4, 2, 100), kStart);
  history.add(swarm_of(2, 0, 120, 2), kStart + 1s);
  REQUIRE(history.points().size() == 2);
  CHECK(history.points()[0].completion == 0.75);
  CHECK(history.points()[1].completion == Approx(0.8));
  CHECK(history.finished(swarm_of(2, 0, 120, 2)) == 2);
  CHECK(history.fetchers(swarm_of(2, 0, 120, 2)) == 4);
}

TEST_CASE(
    "a curve of any length has a bounded number of points, evenly spread, with its beginning") {
  SwarmHistory history;
  Time now = kStart;
  for (int second = 0; second < 100'000; ++second, now += 1s)
    history.add(swarm_of(1000, 0, static_cast<std::uint64_t>(second)), now);
  const auto& points = history.points();
  CHECK(points.size() <= kMaxHistoryPoints);
  CHECK(points.size() > kMaxHistoryPoints / 3);
  CHECK(points.front().at == kStart);
  CHECK(now - points.back().at <= 1000s);
  const Duration spacing = points[1].at - points[0].at;
  for (std::size_t i = 2; i < points.size(); ++i)
    CHECK(points[i].at - points[i - 1].at <= 2 * spacing);
}

TEST_CASE("when all are complete the curve ends, however long they stay") {
  SwarmHistory history;
  history.add(swarm_of(2, 0, 100), kStart);
  for (int second = 1; second < 1000; ++second)
    history.add(swarm_of(2, 2, 0), kStart + std::chrono::seconds(second));
  REQUIRE(history.points().size() == 2);
  CHECK(history.points()[1].at == kStart + 1s);
  CHECK(history.points()[1].completion == 1);
}

TEST_CASE("who fetches long after the others begins a curve of its own") {
  SwarmHistory history;
  history.add(swarm_of(2, 0, 100), kStart);
  history.add(swarm_of(0, 0, 0, 2), kStart + 1s);
  history.add(swarm_of(1, 0, 10, 2), kStart + 2 * kHistoryGap);
  REQUIRE(history.points().size() == 1);
  CHECK(history.points()[0].completion == Approx(0.1));
  CHECK(history.fetchers(swarm_of(1, 0, 10, 2)) == 1);
}

TEST_CASE("histories follow the swarms of a table, and forget those that are gone") {
  PeerTable table({}, Random(1));
  SwarmHistories histories;
  put(table, 1, 1, 10);
  histories.sample(table, kStart);
  put(table, 1, 1, 50);
  put(table, 2, 1, 0);
  histories.sample(table, kStart + 1s);
  REQUIRE(histories.find(swarm_id(1)) != nullptr);
  CHECK(histories.find(swarm_id(1))->points().back().completion == 0.5);
  CHECK(histories.find(swarm_id(2)) != nullptr);
  CHECK(histories.find(swarm_id(3)) == nullptr);
  table.remove(swarm_id(1), peer_id(1));
  histories.sample(table, kStart + kHistoryKept);
  CHECK(histories.find(swarm_id(1)) != nullptr);
  histories.sample(table, kStart + kHistoryKept + 2s);
  CHECK(histories.find(swarm_id(1)) == nullptr);
}

TEST_CASE("a bounded number of swarms is followed") {
  PeerTable table({}, Random(1));
  for (std::uint64_t swarm = 0; swarm < kMaxHistories + 500; ++swarm) put(table, swarm, 1, 10);
  SwarmHistories histories;
  for (int i = 0; i < 5; ++i) histories.sample(table, kStart + i * 1s);
  CHECK(histories.size() == kMaxHistories);
}
