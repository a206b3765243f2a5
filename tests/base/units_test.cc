#include "base/units.h"

#include <catch2/catch.hpp>

using namespace p2p;

TEST_CASE("sizes are read with binary and decimal units") {
  CHECK(*parse_size("65536") == 65536);
  CHECK(*parse_size("64KiB") == 65536);
  CHECK(*parse_size("64K") == 65536);
  CHECK(*parse_size("1.5 MiB") == 1572864);
  CHECK(*parse_size("3GB") == 3000000000u);
  CHECK(*parse_size("5kB") == 5000);
  CHECK(*parse_size("5KB") == 5000);
  for (const char* text : {"", "x", "-1", "1Q", "1e99", "99999999999T", "K"})
    CHECK_FALSE(parse_size(text).has_value());
}

TEST_CASE("rates are read in bytes and in bits, with or without what they are a part of") {
  CHECK(*parse_rate("300MB/s") == 300e6);
  CHECK(*parse_rate("50KB/s") == 50e3);
  CHECK(*parse_rate("50kB/s") == 50e3);
  CHECK(*parse_rate("1MiB/s") == 1048576);
  CHECK(*parse_rate("1M") == 1048576);
  CHECK(*parse_rate("5GB") == 5e9);
  CHECK(*parse_rate("12500B/s") == 12500);
  CHECK(*parse_rate("25Mbit/s") == 3.125e6);
  CHECK(*parse_rate("2.5 Mbit/s") == 312500);
  CHECK(*parse_rate("10Gbit/s") == 1.25e9);
  CHECK(*parse_rate("800kbit") == 1e5);
  CHECK(*parse_rate("0") == 0);
  CHECK(*parse_rate("0MB/s") == 0);
}

TEST_CASE("what is no rate is refused, a number without a unit too") {
  for (const char* text :
       {"", "-1MB/s", "300", "300/s", "MB/s", "25mbit/s", "fast", "1.2.3Mbit/s", "1MB/s/s", "1MB/h",
        "inf", "nan", "1e3MB/s", "2000TB/s", "99999999999999999999999TB/s", "5MB/s x"}) {
    CAPTURE(text);
    const auto rate = parse_rate(text);
    REQUIRE_FALSE(rate);
    CHECK(rate.error().code == ErrorCode::kUsage);
    CHECK(rate.error().message.find(text) != std::string::npos);
  }
}

TEST_CASE("sizes, rates and times are written with three digits that matter") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(1536) == "1.50 KiB");
  CHECK(format_bytes(kGiB) == "1.00 GiB");
  CHECK(format_bytes(kGiB - 1) == "1.00 GiB");
  CHECK(format_rate(0) == "0 B/s");
  CHECK(format_rate(1.2e8) == "120 MB/s");
  CHECK(format_duration(from_seconds(0.84)) == "0.8 s");
  CHECK(format_duration(from_seconds(190)) == "3 min 10 s");
  CHECK(format_duration(from_seconds(7500)) == "2 h 5 min");
}
