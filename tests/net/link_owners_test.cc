// Which trackers a link's swarm is announced at.
#include "net/link_owners.h"

#include <catch2/catch.hpp>
#include <set>

#include "crypto/rendezvous.h"

using namespace p2p;

namespace {

SwarmId swarm_number(std::uint8_t number) {
  SwarmId swarm;
  swarm.bytes.fill(number);
  return swarm;
}

std::vector<HostPort> some_trackers(std::size_t count) {
  std::vector<HostPort> trackers;
  for (std::size_t i = 0; i < count; ++i)
    trackers.push_back({"tracker-" + std::to_string(i) + ".example", 7000});
  return trackers;
}

std::vector<HostPort> ranked(const SwarmId& swarm, const std::vector<HostPort>& trackers) {
  std::vector<HostPort> order;
  for (const net::OwnerAddress& owner : net::rank_trackers(swarm, trackers, open_tracker_key()))
    order.push_back(owner.where);
  return order;
}

std::set<HostPort> best_two(const SwarmId& swarm, const std::vector<HostPort>& trackers) {
  const std::vector<HostPort> order = ranked(swarm, trackers);
  return {order.begin(), order.begin() + net::kTrackerSpread};
}

}  // namespace

TEST_CASE("trackers are ranked by their score for the swarm, in whatever order they are named") {
  const std::vector<HostPort> trackers = some_trackers(5);
  const std::vector<HostPort> backwards(trackers.rbegin(), trackers.rend());
  std::set<HostPort> ever_best;
  for (std::uint8_t number = 0; number < 100; ++number) {
    const SwarmId swarm = swarm_number(number);
    const Rendezvous scores(swarm);
    const std::vector<HostPort> order = ranked(swarm, trackers);
    REQUIRE(order.size() == trackers.size());
    CHECK(ranked(swarm, backwards) == order);
    for (std::size_t i = 1; i < order.size(); ++i)
      CHECK(scores.score(bytes_of(owner_name(order[i - 1]))) >
            scores.score(bytes_of(owner_name(order[i]))));
    ever_best.insert(order.front());
  }
  CHECK(ever_best.size() == trackers.size());
}

TEST_CASE("a tracker that is named twice, in two spellings, is one") {
  const std::vector<HostPort> trackers = {
      {"Tracker.Example.", 7000}, {"tracker.example", 7000}, {"tracker.example", 7001}};
  CHECK(ranked(swarm_number(1), trackers).size() == 2);
  CHECK(net::new_trackers({}, trackers) ==
        std::vector<HostPort>{{"Tracker.Example.", 7000}, {"tracker.example", 7001}});
  CHECK(net::new_trackers({{"TRACKER.example", 7001}}, trackers) ==
        std::vector<HostPort>{{"Tracker.Example.", 7000}});
}

TEST_CASE("who is announced at the best of two lists is found by who knows both as one") {
  const std::vector<HostPort> all = some_trackers(7);
  const std::vector<HostPort> first(all.begin(), all.begin() + 3), more(all.begin() + 3, all.end());
  for (std::uint8_t number = 0; number < 100; ++number) {
    const SwarmId swarm = swarm_number(number);
    std::set<HostPort> announced = best_two(swarm, first);
    announced.merge(best_two(swarm, more));
    for (const HostPort& asked : best_two(swarm, all)) CHECK(announced.contains(asked));
  }
}
