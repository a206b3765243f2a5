#include "base/units.h"

#include <catch2/catch.hpp>

using namespace p2p;

TEST_CASE("sizes are read with binary and decimal units") {
  CHECK(*parse_size("65536") == 65536);
  CHECK(*parse_size("64KiB") == 65536);
  CHECK(*parse_size("64K") == 65536);
  CHECK(*parse_size("1.5 MiB") == 1572864);
  CHECK(*parse_size("3GB") == 3000000000u);
  for (const char* text : {"", "x", "-1", "1Q", "1e99", "99999999999T", "K"})
    CHECK_FALSE(parse_size(text).has_value());
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
