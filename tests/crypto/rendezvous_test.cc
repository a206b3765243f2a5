#include "crypto/rendezvous.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

std::vector<Bytes> random_names(std::size_t count) {
  Random random(kSeed);
  std::vector<Bytes> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(random_bytes(random, 32));
  return names;
}

std::vector<ByteView> views_of(const std::vector<Bytes>& names) {
  return {names.begin(), names.end()};
}

SwarmId swarm_of(std::uint32_t number) {
  SwarmId swarm;
  put_u32(swarm.bytes.data(), number);
  return swarm;
}

}  // namespace

TEST_CASE("the best owners are those that sorting all scores gives, in its order") {
  for (const std::size_t candidates : {0, 1, 2, 3, 50}) {
    const std::vector<Bytes> names = random_names(candidates);
    const std::vector<ByteView> views = views_of(names);
    for (std::uint32_t number = 0; number < 20; ++number) {
      const Rendezvous rendezvous(swarm_of(number));
      std::vector<std::size_t> sorted(candidates);
      std::iota(sorted.begin(), sorted.end(), 0);
      std::sort(sorted.begin(), sorted.end(), [&](std::size_t a, std::size_t b) {
        return rendezvous.score(names[a]) > rendezvous.score(names[b]);
      });
      for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{3}, candidates}) {
        const auto best = best_owners(swarm_of(number), views, count);
        REQUIRE(best.size() == std::min(count, candidates));
        CHECK(std::equal(best.begin(), best.end(), sorted.begin()));
      }
    }
  }
}

TEST_CASE("the order in which candidates are named has no effect on who is chosen") {
  std::vector<Bytes> names = random_names(100);
  const auto chosen = [&] {
    std::vector<Bytes> best;
    for (const std::size_t position : best_owners(swarm_of(1), views_of(names), 3))
      best.push_back(names[position]);
    return best;
  };
  const auto before = chosen();
  std::reverse(names.begin(), names.end());
  CHECK(chosen() == before);
}

TEST_CASE("a name that stands twice ranks twice, the first before the second") {
  std::vector<Bytes> names = random_names(3);
  names.push_back(names[1]);
  const auto order = best_owners(swarm_of(1), views_of(names), 4);
  const auto first = std::find(order.begin(), order.end(), 1);
  REQUIRE(first != order.end());
  REQUIRE(first + 1 != order.end());
  CHECK(*(first + 1) == 3);
}

TEST_CASE("swarms spread evenly over candidates, at each rank") {
  constexpr std::size_t kCandidates = 20, kSwarms = 10'000, kOwners = 3;
  const std::vector<Bytes> names = random_names(kCandidates);
  const std::vector<ByteView> views = views_of(names);
  std::vector<std::vector<double>> counts(kOwners, std::vector<double>(kCandidates));
  for (std::uint32_t number = 0; number < kSwarms; ++number) {
    const auto best = best_owners(swarm_of(number), views, kOwners);
    for (std::size_t rank = 0; rank < kOwners; ++rank) counts[rank][best[rank]] += 1;
  }
  for (const auto& of_rank : counts) {
    constexpr double kExpected = double{kSwarms} / kCandidates;
    double chi_square = 0;
    for (const double count : of_rank)
      chi_square += (count - kExpected) * (count - kExpected) / kExpected;
    // 19 degrees of freedom: one draw in 10^5 passes 59.
    CHECK(chi_square < 59);
  }
}

TEST_CASE("a candidate that goes moves only the swarms that it owned") {
  constexpr std::size_t kCandidates = 10, kOwners = 2;
  const std::vector<Bytes> names = random_names(kCandidates);
  const std::vector<ByteView> views = views_of(names);
  const std::vector<ByteView> rest(views.begin(), views.end() - 1);
  std::size_t moved = 0;
  for (std::uint32_t number = 0; number < 2'000; ++number) {
    auto before = best_owners(swarm_of(number), views, kOwners + 1);
    const auto after = best_owners(swarm_of(number), rest, kOwners);
    const auto gone = std::find(before.begin(), before.end(), kCandidates - 1);
    moved += gone < before.begin() + kOwners;
    // Without it the next in rank moves up, and nothing else changes.
    if (gone != before.end()) before.erase(gone);
    CHECK(std::equal(after.begin(), after.end(), before.begin()));
  }
  CHECK(std::abs(static_cast<double>(moved) - 400) < 100);  // a fifth of them: five deviations
}

TEST_CASE("the best three of 15,000 members are those of the whole order") {
  const std::vector<Bytes> names = random_names(15'000);
  const auto best = best_owners(swarm_of(7), views_of(names), 3);
  const auto all = best_owners(swarm_of(7), views_of(names), names.size());
  REQUIRE(best.size() == 3);
  CHECK(std::equal(best.begin(), best.end(), all.begin()));
}

TEST_CASE("a tracker has one name, however it is written") {
  const auto name = [](const std::string& text) { return owner_name(*HostPort::parse(text)); };
  CHECK(name("Tracker.Example.:7000") == "tracker.example:7000");
  CHECK(name("tracker.example:7000") == "tracker.example:7000");
  CHECK(name("10.0.0.1:7000") == "10.0.0.1:7000");
  CHECK(name("2001:DB8:0::1:7000") == "[2001:db8::1]:7000");
  CHECK(name("[2001:db8::0:1]:7000") == "[2001:db8::1]:7000");
  CHECK(name("::ffff:10.0.0.1:7000") == "10.0.0.1:7000");
  CHECK(name("tracker.example:7001") != name("tracker.example:7000"));
}
