#include "net/rate_history.h"

#include <catch2/catch.hpp>

using namespace p2p;
using net::RateHistory;

TEST_CASE("a steady flow has one rate, now and at best") {
  const Time start{};
  RateHistory rates(start);
  for (int tenth = 1; tenth <= 50; ++tenth)
    rates.on_total(static_cast<std::uint64_t>(tenth) * 100, start + RateHistory::kSlot * tenth);
  CHECK(rates.now() == Approx(1000));
  CHECK(rates.best() == Approx(1000));
}

TEST_CASE("the best half second is remembered when the flow stops") {
  const Time start{};
  RateHistory rates(start);
  for (int tenth = 1; tenth <= 60; ++tenth)
    rates.on_total(static_cast<std::uint64_t>(std::min(tenth, 20)) * 100,
                   start + RateHistory::kSlot * tenth);
  CHECK(rates.now() == 0);
  CHECK(rates.best() == Approx(1000));
}

TEST_CASE("before half a second there is no best rate") {
  RateHistory rates(Time{});
  rates.on_total(1'000'000, Time{} + std::chrono::milliseconds(150));
  CHECK(rates.best() == 0);
}
