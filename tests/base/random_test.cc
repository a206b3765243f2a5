#include "base/random.h"

#include <catch2/catch.hpp>

using namespace p2p;

TEST_CASE("the same seed gives the same stream, another seed another") {
  Random a(7), b(7), c(8);
  const auto first = a.next();
  CHECK(first == b.next());
  CHECK(first != c.next());
}

TEST_CASE("a fork depends on the purpose and not on what was drawn before") {
  Random a(7), b(7);
  a.next();
  CHECK(a.fork("picker").next() == b.fork("picker").next());
  CHECK(a.fork("picker").next() != a.fork("timers").next());
}

TEST_CASE("below stays below its bound and reaches every value") {
  Random random(1);
  bool seen[5] = {};
  for (int i = 0; i < 200; ++i) seen[random.below(5)] = true;
  for (bool value : seen) CHECK(value);
}
