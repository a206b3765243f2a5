#include "peer/request_window.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace p2p;
using namespace p2p::peer;

namespace {

constexpr std::uint32_t kChunk = 1024 * 1024;

// Feeds a steady rate for two seconds, in steps of ten milliseconds.
void feed(RequestWindow& window, double bytes_per_second, Time& now) {
  for (int i = 0; i < 200; ++i) {
    now += std::chrono::milliseconds(10);
    window.on_data(static_cast<std::uint32_t>(bytes_per_second / 100), now);
  }
}

}  // namespace

TEST_CASE("the window starts at its least, grows with the rate and shrinks with it") {
  Time now{};
  RequestWindow window({4, 4, std::chrono::milliseconds(50), 64 * kChunk}, kChunk, now);
  CHECK(window.chunks() == 4);
  feed(window, 10e6, now);
  CHECK(window.chunks() == 4);
  feed(window, 400e6, now);  // 20 MB in 50 ms
  CHECK(window.chunks() >= 18);
  CHECK(window.chunks() <= 21);
  feed(window, 1e6, now);
  CHECK(window.chunks() == 4);
}

TEST_CASE("the window never passes its cap of bytes, however small, and is never nothing") {
  Time now{};
  RequestWindow window({4, 4, std::chrono::milliseconds(50), 8 * kChunk}, kChunk, now);
  feed(window, 10e9, now);
  CHECK(window.chunks() == 8);
  CHECK(RequestWindow({4, 4, std::chrono::milliseconds(50), 2 * kChunk}, kChunk, now).chunks() ==
        2);
  CHECK(RequestWindow({0, 0, std::chrono::milliseconds(50), 1}, kChunk, now).chunks() == 1);
}

TEST_CASE("a long round trip widens the window, a wait in a queue does not") {
  Time now{};
  RequestWindow window({4, 4, std::chrono::milliseconds(50), 1000 * std::uint64_t{kChunk}}, kChunk,
                       now);
  window.on_first_byte(std::chrono::seconds(30));
  feed(window, 100e6, now);
  CHECK(window.chunks() <= 6);
  window.on_first_byte(std::chrono::milliseconds(200));
  feed(window, 100e6, now);
  CHECK(window.chunks() >= 40);  // 450 ms of 100 MB/s
}

TEST_CASE("the window starts small and grows by one for each few chunks that came in") {
  Time now{};
  RequestWindow window({2, 6, std::chrono::milliseconds(0), 64 * kChunk}, kChunk, now);
  for (std::uint32_t chunks = 0; chunks < 10 * RequestWindow::kChunksPerStep; ++chunks) {
    CAPTURE(chunks);
    CHECK(window.chunks() == std::min(2 + chunks / RequestWindow::kChunksPerStep, 6u));
    now += std::chrono::seconds(1);
    window.on_data(kChunk / 2, now);
    window.on_data(kChunk / 2, now);
  }
}

TEST_CASE("a fast link widens the window before that many chunks have come in") {
  Time now{};
  RequestWindow window({2, 6, std::chrono::milliseconds(500), 64 * kChunk}, kChunk, now);
  feed(window, 40e6, now);
  CHECK(window.chunks() >= 18);
}

TEST_CASE("who is behind has up to twice the window, and never more than the cap of bytes") {
  Time now{};
  const RequestWindow window({8, 8, std::chrono::milliseconds(0), 64 * kChunk}, kChunk, now);
  CHECK(window.chunks(0) == 8);
  CHECK(window.chunks(RequestWindow::kCatchUp - 1) == 8);
  CHECK(window.chunks(RequestWindow::kCatchUp) == 9);
  CHECK(window.chunks(5 * RequestWindow::kCatchUp) == 13);
  CHECK(window.chunks(8 * RequestWindow::kCatchUp) == 16);
  CHECK(window.chunks(1'000'000) == 16);
  const RequestWindow capped({8, 8, std::chrono::milliseconds(0), 12 * kChunk}, kChunk, now);
  CHECK(capped.chunks(0) == 8);
  CHECK(capped.chunks(1'000'000) == 12);
}

TEST_CASE("a rate that was fed in lumps is the mean of them") {
  Time now{};
  RateMeter meter(now);
  for (int i = 0; i < 50; ++i) {
    now += std::chrono::milliseconds(150);
    meter.add(1'500'000, now);
  }
  CHECK(meter.bytes_per_second() == Approx(10e6).epsilon(0.01));
}
