#include "tools/sim/event_queue.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "base/random.h"

using namespace p2p;
using namespace p2p::sim;
using std::chrono::milliseconds;

namespace {

Time at(std::uint64_t ms) { return Time{} + milliseconds(ms); }

}  // namespace

TEST_CASE("events come in order of time") {
  EventQueue queue;
  CHECK(queue.empty());
  for (std::uint32_t ms : {50, 10, 40, 20, 30}) queue.push(at(ms), EventKind::kHostTimer, ms);
  CHECK(queue.size() == 5);
  for (std::uint32_t ms : {10, 20, 30, 40, 50}) {
    CHECK(queue.next_at() == at(ms));
    CHECK(queue.pop().a == ms);
  }
  CHECK(queue.empty());
}

TEST_CASE("events of one moment come in the order in which they were scheduled") {
  EventQueue queue;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    queue.push(at(7), EventKind::kHostTimer, i);
    queue.push(at(3), EventKind::kHostTimer, i);
  }
  for (std::uint64_t ms : {3, 7}) {
    for (std::uint32_t i = 0; i < 1000; ++i) {
      const Event event = queue.pop();
      REQUIRE(event.at == at(ms));
      REQUIRE(event.a == i);
    }
  }
}

TEST_CASE("an event keeps what it was scheduled with") {
  EventQueue queue;
  queue.push(at(1), EventKind::kData, 1, 2, 3);
  const Event event = queue.pop();
  CHECK(event.kind() == EventKind::kData);
  CHECK(event.a == 1);
  CHECK(event.b == 2);
  CHECK(event.c == 3);
}

TEST_CASE("pushes and pops in any mixture keep the order of a sorted list") {
  constexpr std::uint64_t kUsualMs = 20;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    EventQueue queue{milliseconds(kUsualMs)};
    std::vector<std::pair<Time, std::uint32_t>> sorted;  // the last comes first
    Time now{};
    std::uint32_t number = 0;
    for (int step = 0; step < 4000; ++step) {
      REQUIRE(queue.size() == sorted.size());
      if (!sorted.empty() && random.chance(0.45)) {
        const Event event = queue.pop();
        REQUIRE(std::pair(event.at, event.a) == sorted.back());
        sorted.pop_back();
        now = event.at;
        continue;
      }
      // Few moments, so that many are the same; often the usual delay, and now and then far away.
      auto delay = random.chance(0.5) ? kUsualMs : random.below(50);
      if (random.chance(0.05)) delay = random.below(4) * 7'000;
      const std::pair event(now + milliseconds(delay), number++);
      queue.push(event.first, EventKind::kHostTimer, event.second);
      sorted.insert(std::lower_bound(sorted.begin(), sorted.end(), event, std::greater<>{}), event);
    }
  }
}

TEST_CASE("what is far away comes in its order, with nothing usual and after a pause") {
  for (const Duration usual : {Duration{0}, Duration{1}, Duration{milliseconds(1)}}) {
    EventQueue queue{usual};
    for (std::uint32_t round = 0; round < 3; ++round) {
      const std::uint64_t start = round * 1'000'000;
      for (std::uint32_t ms : {90'000, 7, 600'000, 513, 90'000})
        queue.push(at(start + ms), EventKind::kHostTimer, ms);
      for (std::uint32_t ms : {7, 513, 90'000, 90'000, 600'000}) REQUIRE(queue.pop().a == ms);
      CHECK(queue.empty());
    }
  }
}

TEST_CASE("what is known ahead comes next") {
  Random random(1);
  EventQueue queue{milliseconds(20)};
  CHECK(queue.ahead(0) == nullptr);
  for (std::uint32_t i = 0; i < 100; ++i) queue.push(at(random.below(50)), EventKind::kArrive, i);
  queue.pop();
  while (!queue.empty()) {
    std::vector<std::uint32_t> ahead;
    while (const Event* event = queue.ahead(ahead.size())) ahead.push_back(event->a);
    REQUIRE(ahead.size() >= std::min(queue.size(), EventQueue::kAhead));
    for (std::uint32_t number : ahead) REQUIRE(queue.pop().a == number);
  }
}
