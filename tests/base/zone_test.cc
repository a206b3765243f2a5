#include "base/zone.h"

#include <catch2/catch.hpp>
#include <string>

using namespace p2p;

TEST_CASE("a zone is up to 64 bytes of printable ASCII without spaces, or nothing") {
  CHECK(is_zone(""));
  CHECK(is_zone("row-3/rack.17"));
  CHECK(is_zone("!~"));
  CHECK(is_zone(std::string(kMaxZoneBytes, 'z')));
  CHECK_FALSE(is_zone(std::string(kMaxZoneBytes + 1, 'z')));
  for (const char* text : {" ", "rack 7", "\n", "\x1b[2J", "\x7f", "\xc3\xa9"})
    CHECK_FALSE(is_zone(text));
  CHECK_FALSE(is_zone(std::string("a\0b", 3)));
}
