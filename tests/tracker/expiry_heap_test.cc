#include "tracker/expiry_heap.h"

#include <catch2/catch.hpp>
#include <map>

#include "tests/tracker/support.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

TEST_CASE("an empty expiry heap is never due") {
  ExpiryHeap heap;
  CHECK(heap.empty());
  CHECK(heap.earliest() == kNever);
  heap.erase(5);
  heap.set(3, kStart + 1s);
  heap.erase(3);
  CHECK(heap.earliest() == kNever);
}

TEST_CASE("the expiry heap agrees with a plain map through any moves") {
  const std::uint64_t seed = 11;
  CAPTURE(seed);
  Random random(seed);
  ExpiryHeap heap;
  std::map<ExpiryHeap::Slot, Time> model;
  for (int round = 0; round < 50'000; ++round) {
    const auto slot = static_cast<ExpiryHeap::Slot>(random.below(200));
    if (random.chance(0.4)) {
      heap.erase(slot);
      model.erase(slot);
    } else {
      const Time at = kStart + Duration(random.below(1000));
      heap.set(slot, at);
      model[slot] = at;
      REQUIRE(heap.due(slot) == at);
    }
    Time earliest = kNever;
    for (const auto& [ignored, at] : model) earliest = std::min(earliest, at);
    REQUIRE(heap.earliest() == earliest);
    REQUIRE(heap.size() == model.size());
    if (!model.empty()) REQUIRE(model.at(heap.earliest_slot()) == earliest);
  }
}
