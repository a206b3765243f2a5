// How long a suspect has to say that it lives.
#include "gossip/suspicion.h"

#include <catch2/catch.hpp>

using namespace p2p;
using namespace p2p::gossip;

namespace {
double wait(std::size_t accusers, std::size_t members) {
  return to_seconds(suspicion_time(accusers, members));
}
}  // namespace

TEST_CASE("one accuser among many waits the longest, kConfirmations more the shortest") {
  for (const std::size_t members : {std::size_t{5}, std::size_t{100}, std::size_t{15'000}}) {
    REQUIRE(suspicion_time(1, members) == kSuspicionMax);
    REQUIRE(suspicion_time(1 + kConfirmations, members) == kSuspicionMin);
    REQUIRE(suspicion_time(100, members) == kSuspicionMin);
  }
}

TEST_CASE("each further accuser makes it shorter, by Lifeguard's logarithm") {
  // 18 - 15 * log(accusers) / log(4)
  REQUIRE(wait(2, 100) == Approx(10.5));
  REQUIRE(wait(3, 100) == Approx(6.1128).epsilon(0.001));
  for (std::size_t members = 1; members < 10; ++members)
    for (std::size_t accusers = 1; accusers < 6; ++accusers) {
      REQUIRE(suspicion_time(accusers + 1, members) <= suspicion_time(accusers, members));
      REQUIRE(suspicion_time(accusers, members) >= kSuspicionMin);
      REQUIRE(suspicion_time(accusers, members) <= kSuspicionMax);
    }
}

TEST_CASE("among few no more accusers are waited for than there can be") {
  // Of two there is nobody else to ask; of three, one; of four, two.
  REQUIRE(suspicion_time(1, 2) == kSuspicionMin);
  REQUIRE(suspicion_time(1, 1) == kSuspicionMin);
  REQUIRE(suspicion_time(1, 3) == kSuspicionMax);
  REQUIRE(suspicion_time(2, 3) == kSuspicionMin);
  REQUIRE(wait(2, 4) == Approx(18 - 15 * 0.6309).epsilon(0.001));
  REQUIRE(suspicion_time(3, 4) == kSuspicionMin);
}

TEST_CASE("where nobody is named as accuser it waits as long as for one") {
  REQUIRE(suspicion_time(0, 100) == kSuspicionMax);
}
