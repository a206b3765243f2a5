// Whole clusters in virtual time, each member the product's own core: what is asked of them at any
// size, at a size that a test has time for (p2p-cluster-sim takes larger ones).
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <map>

#include "tools/sim/cluster_scenarios.h"

using namespace p2p;
using namespace p2p::sim;
using namespace std::chrono_literals;

namespace {

constexpr double kLoss = 0.05;
constexpr std::uint64_t kRuns = 3;

std::map<std::string, double> run(const std::string& what, std::size_t members,
                                  std::uint64_t seed) {
  INFO("p2p-cluster-sim " << what << " --members " << members << " --seed " << seed);
  const auto figures = run_cluster_scenario({what, members, kLoss, seed});
  REQUIRE(figures);
  return {figures->begin(), figures->end()};
}

// For each of some seeds.
void require_at_most(const std::string& what, const std::string& figure, double most,
                     std::size_t members = 80) {
  for (std::uint64_t seed = 1; seed <= kRuns; ++seed) {
    INFO(what << " with seed " << seed << ": " << figure);
    REQUIRE(run(what, members, seed).at(figure) <= most);
  }
}
void require_at_least(const std::string& what, const std::string& figure, double least,
                      std::size_t members = 80) {
  for (std::uint64_t seed = 1; seed <= kRuns; ++seed) {
    INFO(what << " with seed " << seed << ": " << figure);
    REQUIRE(run(what, members, seed).at(figure) >= least);
  }
}

// What the world says when member 1 hears, from member 2, this claim of member 0 or of nobody.
std::string said_of(const std::function<void(gossip::Claim&)>& change,
                    gossip::MemberStatus status = gossip::MemberStatus::kAlive) {
  ClusterWorld world(ClusterConfig{});
  world.add_acquainted(5);
  world.run_for(1s);
  auto claim = std::make_shared<gossip::Claim>(world.core(0).self());
  change(*claim);
  try {
    world.inject(2, 1, gossip::Gossip{{{claim, status, 0}}});
  } catch (const ClusterBroken& broken) {
    return broken.what();
  }
  return "";
}

}  // namespace

TEST_CASE("news of one member is with all within 2.5 s") {
  require_at_most("news", "known to 100 %, s", 2.5);
}

TEST_CASE("a crash is known everywhere within 10 s, and nobody else is taken for dead") {
  require_at_most("crash", "known everywhere, s", 10);
  require_at_most("crash", "wrongly dead", 0);
}

TEST_CASE("where nothing happens a member sends 2,000 bytes a second at most") {
  require_at_most("idle", "by the busiest, bytes/s", 2000);
  require_at_most("idle", "wrongly dead", 0);
}

TEST_CASE("when all have joined within a minute, their views are equal a minute later") {
  require_at_most("join", "equal after the last, s", 60);
}

TEST_CASE("members that hardly get to run do not make others dead") {
  require_at_most("starve", "healthy ones declared dead", 0);
}

TEST_CASE("one who is back under another address is known there within 3 s") {
  require_at_most("move", "known everywhere, s", 3);
}

TEST_CASE("two halves that were parted are one cluster again") {
  require_at_most("partition", "equal after it, s", 60);
}

TEST_CASE("after chaos the views become equal") {
  require_at_most("chaos", "equal after it, s", 60);
}

TEST_CASE("under churn the first owner asked answers 99.9 % of the lookups") {
  require_at_least("churn", "answered by the first owner asked, %", 99.9);
}

TEST_CASE("5 s after a tenth was killed 99 % of the lookups are answered") {
  require_at_least("kill", "answered within 5 s, %", 99);
}

TEST_CASE("the same seed gives the same figures, another one others") {
  for (const char* what : {"news", "join", "chaos", "kill"}) {
    INFO(what);
    REQUIRE(run(what, 60, 7) == run(what, 60, 7));
  }
  REQUIRE(run("join", 60, 7) != run("join", 60, 8));
}

TEST_CASE("every scenario that is listed runs with the fewest members, and others are refused") {
  for (const auto& [name, help] : cluster_scenarios()) {
    INFO(name);
    REQUIRE_FALSE(help.empty());
    REQUIRE_FALSE(run(name, 5, 1).empty());
  }
  const auto refused = [](const ClusterScenario& scenario) {
    const auto figures = run_cluster_scenario(scenario);
    return !figures && figures.error().code == ErrorCode::kUsage;
  };
  REQUIRE(refused({"none", 80}));
  REQUIRE(refused({"news", 4}));
  REQUIRE(refused({"news", gossip::kMaxMembers + 1}));
}

TEST_CASE("a world notices what members cannot have been told by honest ones") {
  REQUIRE(said_of([](gossip::Claim&) {}) == "");
  REQUIRE(said_of([](gossip::Claim& claim) { claim.id.bytes[5] ^= 1; }) ==
          "a member that never was is in a view, at 1 s");
  REQUIRE(said_of([](gossip::Claim& claim) { ++claim.epoch; }) == "an epoch was made up, at 1 s");
  REQUIRE(said_of([](gossip::Claim& claim) { ++claim.incarnation; }) ==
          "somebody else raised an incarnation, at 1 s");
  // Another life of member 1 itself.
  ClusterWorld world(ClusterConfig{});
  world.add_acquainted(5);
  auto claim = std::make_shared<gossip::Claim>(world.core(1).self());
  ++claim->epoch;
  const gossip::Packet packet = gossip::Gossip{{{claim, gossip::MemberStatus::kAlive, 0}}};
  REQUIRE_THROWS_WITH(world.inject(2, 1, packet),
                      Catch::Contains("member 1 is told that another life of it runs"));
}

TEST_CASE("a world counts those who were declared dead and are well") {
  ClusterWorld world(ClusterConfig{});
  world.add_acquainted(30);
  world.run_for(60s);
  REQUIRE(world.wrongly_dead() == 0);
  // All hear that it is suspected, over and over, and it hears of it too late: nothing is lost but
  // what is sent to it.
  world.set_group(0, 1);
  REQUIRE(world.run_until(
      [&] {
        return world.count_views(0, [](const gossip::MemberTable::Member* member) {
          return member->status == gossip::MemberStatus::kDead;
        }) == 29;
      },
      60s));
  // That was a partition, which is nobody's fault.
  REQUIRE(world.wrongly_dead() == 0);
  world.set_group(0, 0);
  REQUIRE(world.run_until([&] { return world.views_equal(); }, 60s));
  world.run_for(60s);
  const gossip::News dead{std::make_shared<gossip::Claim>(world.core(0).self()),
                          gossip::MemberStatus::kDead, gossip::tag_of(world.id(1))};
  world.inject(2, 1, gossip::Gossip{{dead}});
  REQUIRE(world.wrongly_dead() == 1);
  REQUIRE_FALSE(world.views_equal());
}

TEST_CASE("what does not come to rest is reported") {
  for (const char* what : {"news", "crash", "move"})
    REQUIRE_THROWS_AS(run_cluster_scenario({what, 10, 1.0, 1}), ClusterBroken);
}

TEST_CASE("a member whose host gets another address says so within seconds") {
  sim::ClusterConfig config;
  config.guessed_endpoints = true;
  sim::ClusterWorld world(config);
  world.add_acquainted(40);
  world.run_for(5s);
  world.move(20);
  const auto moved = [&] {
    return world.count_views(20, [&](const gossip::MemberTable::Member* member) {
      return gossip::is_live(member->status) && *member->claim == world.core(20).self() &&
             member->claim->endpoint == world.endpoint(20);
    }) == world.up();
  };
  REQUIRE(world.run_until(moved, 10s));
  REQUIRE(world.wrongly_dead() == 0);
}

TEST_CASE("a member that sends from elsewhere than it claims to be gets the whole view") {
  sim::ClusterWorld world({});
  world.add_acquainted(40);
  world.run_for(5s);
  const sim::NodeNumber mapped = world.join_behind_mapping();
  REQUIRE(world.run_until([&] { return world.core(mapped).table().live() == 41; }, 10s));
}
