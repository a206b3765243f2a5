#include "base/rate_limiter.h"

#include <malloc.h>

#include <catch2/catch.hpp>

using namespace p2p;
using namespace std::chrono_literals;

namespace {

constexpr Time kStart{};

IpAddress address(const std::string& text) { return *IpAddress::parse(text); }

IpAddress host(std::uint32_t number) {
  const std::uint8_t bytes[] = {
      static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
      static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
  return *IpAddress::from_bytes(bytes);
}

// How many of so many calls at one time are allowed.
int allowed(RateLimiter& limiter, const IpAddress& address, Time now, int calls = 10'000) {
  int count = 0;
  for (int i = 0; i < calls; ++i) count += limiter.allow(address, now) ? 1 : 0;
  return count;
}

// 0 where the allocator does not tell, as under a sanitizer.
std::size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

}  // namespace

TEST_CASE("an address has its burst at once, and then its rate") {
  RateLimiter limiter({20, 100});
  CHECK(allowed(limiter, host(1), kStart) == 100);
  CHECK(allowed(limiter, host(1), kStart + 49ms) == 0);
  CHECK(allowed(limiter, host(1), kStart + 50ms) == 1);
  CHECK(allowed(limiter, host(1), kStart + 1050ms) == 20);
  CHECK(allowed(limiter, host(1), kStart + 1h) == 100);
}

TEST_CASE("what was refused costs nothing: who never rests still has the rate") {
  RateLimiter limiter({20, 100});
  int count = 0;
  for (int i = 0; i < 10'000; ++i) count += limiter.allow(host(1), kStart + i * 1ms) ? 1 : 0;
  CHECK(count == 100 + 199);  // the last token of ten seconds is due after the last call
}

TEST_CASE("one address takes nothing from another") {
  RateLimiter limiter({20, 100});
  CHECK(allowed(limiter, host(1), kStart) == 100);
  CHECK(allowed(limiter, host(2), kStart) == 100);
}

TEST_CASE("an IPv4 address that is mapped into IPv6 is the same address") {
  RateLimiter limiter({20, 100});
  CHECK(allowed(limiter, address("10.0.0.1"), kStart) == 100);
  CHECK(allowed(limiter, address("::ffff:10.0.0.1"), kStart) == 0);
  CHECK(allowed(limiter, address("::ffff:10.0.0.2"), kStart) == 100);
}

TEST_CASE("an IPv6 network of 64 bits is one address, with what ten hosts have") {
  RateLimiter limiter({20, 100});
  CHECK(allowed(limiter, address("2001:db8::1"), kStart) == 1000);
  CHECK(allowed(limiter, address("2001:db8::ffff:0:0:1"), kStart) == 0);
  CHECK(allowed(limiter, address("2001:db8::2"), kStart + 1s) == 200);
  CHECK(allowed(limiter, address("2001:db8:0:1::1"), kStart) == 1000);
}

TEST_CASE("no limit is no limit, and keeps nothing") {
  RateLimiter limiter({0, 0});
  CHECK(allowed(limiter, host(1), kStart) == 10'000);
  CHECK(limiter.address_count() == 0);
}

TEST_CASE("a million addresses at once take bounded memory, and who is known keeps its bucket") {
  const std::size_t before = heap_bytes();
  RateLimiter limiter({20, 100});
  CHECK(allowed(limiter, host(1), kStart, 60) == 60);
  int count = 0;
  for (std::uint32_t i = 0; i < 1'000'000; ++i)
    count += limiter.allow(host(0x0a000000 + i), kStart) ? 1 : 0;
  CHECK(limiter.address_count() == kMaxLimitedAddresses);
  if (before > 0) CHECK(heap_bytes() - before < 5 * 1024 * 1024);
  // All but the first are kept, and the rest shared one bucket.
  CHECK(count == static_cast<int>(kMaxLimitedAddresses) - 1 + 100);
  CHECK(allowed(limiter, host(1), kStart) == 40);
}

TEST_CASE("addresses that are gone make room for others") {
  RateLimiter limiter({20, 100}, 1000);
  for (std::uint32_t i = 0; i < 1000; ++i) REQUIRE(allowed(limiter, host(i), kStart) == 100);
  CHECK(allowed(limiter, host(5000), kStart) == 100);  // what newcomers share
  CHECK(allowed(limiter, host(5001), kStart) == 0);
  for (std::uint32_t i = 6000; i < 6500; ++i) CHECK(limiter.allow(host(i), kStart + 5s));
  CHECK(allowed(limiter, host(6001), kStart + 5s) == 99);
  CHECK(limiter.address_count() == 500);
}

TEST_CASE("addresses that come and go for ever leave nothing behind") {
  RateLimiter limiter({20, 100});
  for (std::uint32_t i = 0; i < 300'000; ++i) limiter.allow(host(i), kStart + i * 1ms);
  CHECK(limiter.address_count() <= 100);  // 50 of them are not full
}
