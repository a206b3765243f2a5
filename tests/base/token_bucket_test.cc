#include "base/token_bucket.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace p2p;
using namespace std::chrono_literals;

namespace {

constexpr Time kStart = Time{} + 1h;

// The rates that the product promises to keep to.
const std::vector<std::uint64_t> kRates = {50'000,      1'000'000,     10'000'000,    100'000'000,
                                           500'000'000, 1'000'000'000, 20'000'000'000};

// Bytes that flow in this time, where each take is made when the one before is due, or `late`
// after.
std::uint64_t flow(std::uint64_t rate, std::uint64_t slice, Duration time, Duration late = 0ms) {
  TokenBucket bucket(rate);
  bucket.set_rate(rate, kStart);
  std::uint64_t bytes = 0;
  for (Time now = kStart; now < kStart + time;) {
    const Time due = bucket.take(slice, now);
    if (due > now) now = due + late;
    bytes += slice;
  }
  return bytes;
}

double share(std::uint64_t bytes, std::uint64_t rate, Duration time) {
  return static_cast<double>(bytes) / (static_cast<double>(rate) * to_seconds(time));
}

}  // namespace

TEST_CASE("the rate is kept to within a hundredth over some seconds, whatever is taken at once") {
  for (const std::uint64_t rate : kRates) {
    for (const std::uint64_t slice : {rate / 1000, rate / 120, std::uint64_t{1500}}) {
      if (slice * 200 > rate * 2 || slice < rate / 1'000'000) continue;
      CAPTURE(rate, slice);
      CHECK(share(flow(rate, slice, 5s), rate, 5s) == Approx(1).margin(0.01));
    }
  }
}

TEST_CASE("wake-ups that come late by less than the burst take nothing from the rate") {
  for (const std::uint64_t rate : kRates) {
    CAPTURE(rate);
    for (const Duration late : {Duration(1ms), Duration(20ms), TokenBucket::kBurst - 9ms})
      CHECK(share(flow(rate, std::max<std::uint64_t>(rate / 125, 1024), 10s, late), rate, 10s) ==
            Approx(1).margin(0.015));
  }
}

TEST_CASE("after a rest, however long, what is due at once is no more than the burst") {
  TokenBucket bucket(1'000'000);
  bucket.set_rate(1'000'000, kStart);
  const Time now = kStart + 24h;
  std::uint64_t at_once = 0;
  while (bucket.take(1000, now) <= now) at_once += 1000;
  CHECK(at_once == 50'000);
}

TEST_CASE("who takes more than there is owes it, and the rate is kept all the same") {
  TokenBucket bucket(1'000'000);
  bucket.set_rate(1'000'000, kStart);
  CHECK(bucket.take(3'000'000, kStart) == kStart + 3s);
  CHECK(bucket.take(1'000'000, kStart) == kStart + 4s);
  CHECK(bucket.take(1'000'000, kStart + 10s) == kStart + 11s - TokenBucket::kBurst);
}

TEST_CASE("those who share a bucket are served in turn, none more than another") {
  constexpr std::uint64_t kRate = 50'000, kSlice = 1024;
  TokenBucket bucket(kRate);
  bucket.set_rate(kRate, kStart);
  std::vector<Time> due(10);
  std::vector<std::uint64_t> bytes(due.size());
  for (Time& each : due) each = bucket.take(kSlice, kStart);
  for (Time now = kStart; now < kStart + 10s; now += 1ms) {
    // From the last to the first: whose timer runs first makes no difference.
    for (std::size_t i = due.size(); i-- > 0;) {
      if (due[i] > now) continue;
      bytes[i] += kSlice;
      due[i] = bucket.take(kSlice, now);
    }
  }
  std::uint64_t all = 0;
  for (const std::uint64_t each : bytes) {
    CHECK(share(10 * each, kRate, 10s) == Approx(1).margin(0.05));
    all += each;
  }
  CHECK(share(all, kRate, 10s) == Approx(1).margin(0.02));
}

TEST_CASE("another rate holds from now on, without what was saved or owed under the old one") {
  TokenBucket bucket(1'000);
  bucket.take(1'000'000, kStart);
  bucket.set_rate(1'000'000, kStart + 1s);
  CHECK(bucket.take(100'000, kStart + 1s) == kStart + 1s + 100ms);
  bucket.set_rate(1'000, kStart + 2s);
  CHECK(bucket.take(1'000, kStart + 2s) == kStart + 3s);
}

TEST_CASE("what is given back can be taken by others") {
  TokenBucket bucket(1'000'000);
  bucket.set_rate(1'000'000, kStart);
  bucket.take(1'000'000, kStart);
  bucket.give_back(1'000'000);
  CHECK(bucket.take(500'000, kStart) == kStart + 500ms);
}

TEST_CASE("without a limit all is due at once") {
  TokenBucket bucket;
  CHECK(bucket.take(1'000'000'000'000, kStart) == kStart);
  CHECK(bucket.bytes_per_second() == 0);
  bucket.give_back(1'000'000);
  CHECK(bucket.take(1, kStart) == kStart);
}
