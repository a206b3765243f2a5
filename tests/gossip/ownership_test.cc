// Whoever knows the members knows the owners.
#include "gossip/ownership.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "crypto/keys.h"
#include "crypto/rendezvous.h"
#include "tests/gossip/support.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;

namespace {

constexpr Time kStart{std::chrono::seconds(1000)};

std::vector<PeerId> ids(const std::vector<ClaimPtr>& owners) {
  std::vector<PeerId> list;
  for (const ClaimPtr& owner : owners) list.push_back(owner->id);
  return list;
}

SwarmId random_swarm(Random& random) { return *SwarmId::from_bytes(random_id(random).view()); }

struct Cluster {
  Random random{kSeed};
  MemberTable table;
  std::vector<ClaimPtr> claims;

  explicit Cluster(std::size_t members) {
    init_crypto();
    for (std::size_t i = 0; i < members; ++i) {
      claims.push_back(claim_of(random_id(random)));
      table.put(alive(claims.back()), kStart);
    }
  }
  void become(std::size_t member, MemberStatus status) {
    table.put({claims[member], status, 0}, kStart);
  }
};

}  // namespace

TEST_CASE("the owners are the best of the live members that answer announces") {
  Cluster cluster(60);
  // Some that own nothing: dead, departed, or without a port for announces.
  cluster.become(0, MemberStatus::kDead);
  cluster.become(1, MemberStatus::kLeft);
  cluster.become(2, MemberStatus::kSuspect);
  auto silent = std::make_shared<Claim>(*cluster.claims[3]);
  ++silent->incarnation;
  silent->service_port = 0;
  cluster.table.put(alive(silent), kStart);
  std::vector<ByteView> names;
  for (std::size_t i = 2; i < cluster.claims.size(); ++i)
    if (i != 3) names.push_back(cluster.claims[i]->id.view());
  for (int i = 0; i < 200; ++i) {
    const SwarmId swarm = random_swarm(cluster.random);
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, kOwners, std::size_t{100}}) {
      std::vector<PeerId> best;
      for (const std::size_t place : best_owners(swarm, names, count))
        best.push_back(*PeerId::from_bytes(names[place]));
      REQUIRE(best.size() == std::min(count, names.size()));
      REQUIRE(ids(owners_of(cluster.table, swarm, count)) == best);
    }
    REQUIRE(owners_of(cluster.table, swarm).size() == kOwners);
  }
}

TEST_CASE("of suspects it is asked last, and nobody is asked who does not own") {
  Cluster cluster(30);
  for (int i = 0; i < 100; ++i) {
    Cluster some(10);
    const SwarmId swarm = random_swarm(cluster.random);
    const std::vector<PeerId> owners = ids(owners_of(some.table, swarm));
    REQUIRE(ids(owners_to_ask(some.table, swarm)) == owners);
    some.table.put({some.table.find(owners[0])->claim, MemberStatus::kSuspect, 0}, kStart);
    REQUIRE(ids(owners_of(some.table, swarm)) == owners);
    REQUIRE(ids(owners_to_ask(some.table, swarm)) ==
            std::vector<PeerId>{owners[1], owners[2], owners[0]});
    for (const PeerId& owner : owners)
      some.table.put({some.table.find(owner)->claim, MemberStatus::kSuspect, 0}, kStart);
    REQUIRE(ids(owners_to_ask(some.table, swarm)) == owners);
  }
}

TEST_CASE("when a member dies only its swarms get another owner, and it comes last") {
  Cluster cluster(50);
  std::vector<SwarmId> swarms;
  std::vector<std::vector<PeerId>> before;
  for (int i = 0; i < 500; ++i) {
    swarms.push_back(random_swarm(cluster.random));
    before.push_back(ids(owners_of(cluster.table, swarms.back())));
  }
  cluster.become(7, MemberStatus::kDead);
  const PeerId dead = cluster.claims[7]->id;
  std::size_t moved = 0;
  for (std::size_t i = 0; i < swarms.size(); ++i) {
    std::vector<PeerId> after = ids(owners_of(cluster.table, swarms[i]));
    if (std::erase(before[i], dead) == 0) {
      REQUIRE(after == before[i]);
      continue;
    }
    ++moved;
    after.pop_back();
    REQUIRE(after == before[i]);
  }
  // Of 500 swarms with three owners among 50 members about 30.
  REQUIRE(moved > 10);
  REQUIRE(moved < 60);
}

TEST_CASE("swarms are spread over the members, and few members own what there is to own") {
  Cluster cluster(20);
  std::map<PeerId, int> owned;
  for (int i = 0; i < 2000; ++i)
    for (const PeerId& owner : ids(owners_of(cluster.table, random_swarm(cluster.random))))
      ++owned[owner];
  REQUIRE(owned.size() == 20);
  for (const auto& [id, swarms] : owned) {
    REQUIRE(swarms > 200);
    REQUIRE(swarms < 400);
  }
  Cluster two(2);
  REQUIRE(owners_of(two.table, random_swarm(two.random)).size() == 2);
  REQUIRE(owners_of(MemberTable(), random_swarm(two.random)).empty());
}
