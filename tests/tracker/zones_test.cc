// Zones: who is handed whom, who stands for a zone, and that no zone is cut off.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/tracker/support.h"
#include "tracker/owner.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

// Hosts by number; the zone of each is what it announced last.
struct Cluster {
  explicit Cluster(OwnerConfig config = {}) : owner(std::move(config), Random(1), kStart) {}

  // Connects and announces; answers what it was handed.
  std::vector<PeerRecord> join(std::uint32_t number, const std::string& zone,
                               std::uint8_t want = 10) {
    owner.on_connected(number, peer_id(number), host(number), now);
    return announce(number, zone, Event::kStarted, want);
  }
  std::vector<PeerRecord> announce(std::uint32_t number, const std::string& zone,
                                   Event event = Event::kNone, std::uint8_t want = 10,
                                   bool starving = false) {
    Announce message = announce_of(kSwarm, event, 4000, want);
    message.zone = zone;
    message.starving = starving;
    message.complete = event == Event::kCompleted;
    zones[host(number)] = zone;
    owner.on_message(number, message, now);
    std::vector<PeerRecord> handed;
    news.clear();
    for (auto& action : drain(owner)) {
      const auto& sent = std::get<SendMessage>(action);
      const auto& handout = std::get<Handout>(sent.message);
      if (sent.connection == number && handout.interval > 0s)
        handed = handout.peers;
      else
        news[sent.connection] = handout.peers;
    }
    return handed;
  }
  // `first` and the next, `count` of them.
  void fill(const std::string& zone, std::uint32_t first, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) join(first + i, zone);
  }
  void lose(std::uint32_t number) {
    owner.on_disconnected(number, now);
    news.clear();
    for (auto& action : drain(owner)) {
      const auto& sent = std::get<SendMessage>(action);
      news[sent.connection] = std::get<Handout>(sent.message).peers;
    }
  }
  void advance(Duration by) {
    now += by;
    owner.on_timeout(now);
  }
  std::size_t far_of(const std::vector<PeerRecord>& peers) const {
    return static_cast<std::size_t>(
        std::count_if(peers.begin(), peers.end(), [](const auto& peer) { return peer.far; }));
  }
  // All near ones are of this zone, all far ones of another.
  bool are_told_apart(const std::vector<PeerRecord>& peers, const std::string& zone) const {
    return std::all_of(peers.begin(), peers.end(), [&](const PeerRecord& peer) {
      return peer.far == (zones.at(peer.endpoint.address) != zone);
    });
  }
  bool is_gateway(std::uint32_t number) const {
    return owner.table().find(kSwarm, peer_id(number))->gateway;
  }

  Owner owner;
  Time now = kStart;
  std::map<IpAddress, std::string> zones;
  std::map<ConnectionId, std::vector<PeerRecord>> news;
};

}  // namespace

TEST_CASE("a peer with a zone is handed peers of it, and only its gateways some of other zones") {
  Cluster f;
  f.fill("a", 1, 30);
  f.fill("b", 101, 30);
  std::size_t gateways = 0;
  for (std::uint32_t number = 1; number <= 30; ++number) {
    const auto handed = f.announce(number, "a");
    CAPTURE(number);
    CHECK(handed.size() == 10);
    CHECK(f.are_told_apart(handed, "a"));
    CHECK(f.far_of(handed) == (f.is_gateway(number) ? kFarPeers : 0));
    gateways += f.is_gateway(number);
  }
  CHECK(gateways == kGateways);
}

TEST_CASE("far peers are the gateways of other zones, the complete and those without a zone") {
  OwnerConfig config;
  config.announces = {};
  Cluster f(config);
  f.fill("a", 1, 3);
  f.fill("b", 101, 50);
  f.fill("", 201, 3);
  f.join(300, "b");
  f.announce(300, "b", Event::kCompleted);
  std::set<IpAddress> far;
  for (int round = 0; round < 200; ++round)
    for (const PeerRecord& peer : f.announce(1, "a"))
      if (peer.far) far.insert(peer.endpoint.address);
  std::set<IpAddress> expected = {host(201), host(202), host(203), host(300)};
  for (std::uint32_t i = 0; i < kGateways; ++i) expected.insert(host(101 + i));
  CHECK(far == expected);
}

TEST_CASE("a peer without a zone is handed anybody, and nobody is far to it") {
  Cluster f;
  f.fill("a", 1, 30);
  f.fill("b", 101, 30);
  std::set<std::string> seen;
  f.join(500, "");
  for (int round = 0; round < 20; ++round)
    for (const PeerRecord& peer : f.announce(500, "")) {
      CHECK_FALSE(peer.far);
      seen.insert(f.zones.at(peer.endpoint.address));
    }
  CHECK(seen == std::set<std::string>{"a", "b"});
}

TEST_CASE("the only member of a zone is handed as many far peers as it wants") {
  Cluster f;
  for (std::uint32_t i = 1; i <= 20; ++i) f.join(i, "zone-" + std::to_string(i));
  const auto handed = f.join(100, "alone", 10);
  CHECK(handed.size() >= 8);
  CHECK(f.far_of(handed) == handed.size());
}

TEST_CASE("a gateway that completes or stops makes place for the next that announces") {
  for (const Event event : {Event::kCompleted, Event::kStopped}) {
    Cluster f;
    f.fill("b", 101, 5);
    f.fill("a", 1, 10);
    REQUIRE(f.is_gateway(1));
    REQUIRE_FALSE(f.is_gateway(8));
    f.announce(1, "a", event);
    f.announce(8, "a");
    if (event == Event::kCompleted) {
      CHECK_FALSE(f.is_gateway(1));
      CHECK(f.is_gateway(8));
    }
    std::size_t gateways = 0;
    for (std::uint32_t i = event == Event::kStopped ? 2 : 1; i <= 10; ++i)
      gateways += f.is_gateway(i);
    CHECK(gateways == kGateways);
  }
}

TEST_CASE("a gateway that expires makes place for the next that announces") {
  Cluster f;
  f.fill("b", 101, 2);
  f.fill("a", 1, kGateways);
  f.advance(60s);
  const auto late = f.join(50, "a");
  REQUIRE_FALSE(f.is_gateway(50));
  for (std::uint32_t i = 2; i <= kGateways; ++i) f.announce(i, "a");
  f.advance(40s);  // the first has not been heard of for longer than it lives
  REQUIRE_FALSE(f.owner.table().find(kSwarm, peer_id(1)));
  f.announce(50, "a");
  CHECK(f.is_gateway(50));
}

TEST_CASE("when a gateway's connection goes, another member hears of far peers at once") {
  Cluster f;
  f.fill("b", 101, 10);
  f.fill("a", 1, 20);
  f.lose(1);
  CHECK_FALSE(f.is_gateway(1));
  REQUIRE(f.news.size() == 1);
  const auto& [who, peers] = *f.news.begin();
  CHECK(f.is_gateway(static_cast<std::uint32_t>(who)));
  CHECK_FALSE(peers.empty());
  CHECK(f.far_of(peers) == peers.size());
  CHECK(f.are_told_apart(peers, "a"));
}

TEST_CASE("who starves takes the place of the oldest gateway, ever more rarely") {
  OwnerConfig config;
  config.min_interval = config.max_interval = 10min;  // so that nobody expires meanwhile
  Cluster f(config);
  f.fill("b", 301, 10);
  f.fill("a", 1, 200);
  const auto starve = [&](std::uint32_t number) {
    return f.far_of(f.announce(number, "a", Event::kNone, 10, true));
  };
  CHECK(starve(50) == kFarPeers);
  CHECK_FALSE(f.is_gateway(1));
  CHECK(starve(51) == 0);
  Duration term = kFirstGatewayTerm;
  for (std::uint32_t number = 60; number < 70; ++number) {
    CAPTURE(number);
    f.now += term - 1ms;
    CHECK(starve(number) == 0);
    f.now += 1ms;
    CHECK(starve(number) == kFarPeers);
    term = std::min(2 * term, kLastGatewayTerm);
    std::size_t gateways = 0;
    for (std::uint32_t i = 1; i <= 200; ++i) gateways += f.is_gateway(i);
    CHECK(gateways == kGateways);
  }
  CHECK(term == kLastGatewayTerm);
}

TEST_CASE("who has just started has not starved yet") {
  Cluster f;
  f.fill("b", 101, 10);
  f.fill("a", 1, 20);
  f.owner.on_connected(50, peer_id(50), host(50), f.now);
  CHECK(f.far_of(f.announce(50, "a", Event::kStarted, 10, true)) == 0);
  CHECK_FALSE(f.is_gateway(50));
}

TEST_CASE("news of a newcomer stays in its zone, that of a gateway goes to other gateways too") {
  Cluster f;
  f.fill("b", 101, 40);
  f.fill("a", 1, kGateways);
  f.join(30, "a");
  CHECK_FALSE(f.news.empty());
  for (const auto& [who, peers] : f.news) {
    CHECK(f.zones.at(host(static_cast<std::uint32_t>(who))) == "a");
    CHECK(f.far_of(peers) == 0);
  }
  f.join(500, "c");
  CHECK(f.is_gateway(500));
  CHECK_FALSE(f.news.empty());
  for (const auto& [who, peers] : f.news) {
    CHECK(f.is_gateway(static_cast<std::uint32_t>(who)));
    CHECK(f.far_of(peers) == 1);
  }
}

TEST_CASE("news of a newcomer without a zone goes to those without one and to gateways") {
  Cluster f;
  f.fill("a", 1, 20);
  f.fill("", 101, 20);
  for (std::uint32_t number = 200; number < 300; ++number) {
    f.join(number, "");
    for (const auto& [who, peers] : f.news) {
      const auto reader = static_cast<std::uint32_t>(who);
      CHECK((f.zones.at(host(reader)).empty() || f.is_gateway(reader)));
      CHECK(f.far_of(peers) == (f.zones.at(host(reader)).empty() ? 0 : 1));
    }
  }
}

TEST_CASE("an owner hands itself out in its own zone, and to the gateways of others") {
  Cluster f;
  const Endpoint self = endpoint("10.200.0.9:9");
  f.owner.set_self(kSwarm, peer_id(900), {self}, true, "a");
  f.zones[self.address] = "a";
  f.fill("a", 1, 5);
  f.fill("b", 101, 30);
  const auto names_self = [&](const std::vector<PeerRecord>& peers) {
    CHECK(peers.size() <= 10);
    return std::any_of(peers.begin(), peers.end(),
                       [&](const PeerRecord& peer) { return peer.endpoint == self; });
  };
  for (std::uint32_t number = 1; number <= 5; ++number) CHECK(names_self(f.announce(number, "a")));
  for (std::uint32_t number = 101; number <= 130; ++number) {
    const auto handed = f.announce(number, "b");
    CHECK(f.are_told_apart(handed, "b"));
    CHECK(names_self(handed) == f.is_gateway(number));
  }
}

TEST_CASE("a zone past the limit of its swarm or of the table is as none, and none is kept") {
  for (const bool in_all : {false, true}) {
    OwnerConfig config;
    (in_all ? config.limits.zones : config.limits.zones_per_swarm) = 3;
    Cluster f(config);
    for (std::uint32_t i = 1; i <= 10; ++i) f.join(i, "zone-" + std::to_string(i));
    CHECK(f.owner.table().zone_count() == 3);
    CHECK(f.owner.table().swarm_size(kSwarm) == 10);
    CHECK(f.owner.table().find(kSwarm, peer_id(3))->zone == "zone-3");
    CHECK(f.owner.table().find(kSwarm, peer_id(4))->zone.empty());
    CHECK(f.announce(4, "zone-4").size() == 9);
    for (std::uint32_t i = 1; i <= 3; ++i) f.announce(i, "", Event::kStopped);
    CHECK(f.owner.table().zone_count() == 0);
    f.announce(4, "zone-4");
    CHECK(f.owner.table().find(kSwarm, peer_id(4))->zone == "zone-4");
  }
}

TEST_CASE("zones of different swarms are different") {
  Cluster f;
  f.fill("a", 1, 5);
  Announce other = announce_of(swarm_id(2), Event::kStarted, 4000, 10);
  other.zone = "a";
  f.owner.on_connected(50, peer_id(50), host(50), f.now);
  f.owner.on_message(50, other, f.now);
  const auto sent = drain(f.owner);
  REQUIRE(sent.size() == 1);
  CHECK(std::get<Handout>(std::get<SendMessage>(sent[0]).message).peers.empty());
}

TEST_CASE("a far peer on loopback is named only to askers on loopback") {
  PeerTable table({}, Random(3));
  const auto put = [&](std::uint32_t number, const Endpoint& at, std::string_view zone) {
    TableEntry entry{peer_id(number), at, false, kStart + 100s};
    entry.zone = zone;
    REQUIRE(table.put(kSwarm, entry, at.address));
    REQUIRE(table.appoint(kSwarm, peer_id(number), false, kStart));
  };
  put(1, endpoint("127.0.0.1:1"), "a");
  put(2, endpoint("10.0.0.2:2"), "a");
  put(3, endpoint("10.0.0.3:0"), "a");  // listens nowhere
  put(4, endpoint("10.0.0.4:4"), "b");
  CHECK(table.sample_far(kSwarm, peer_id(4), host(4), 50) ==
        std::vector<PeerRecord>{{endpoint("10.0.0.2:2"), false, true}});
  CHECK(table.sample_far(kSwarm, peer_id(4), address("127.0.0.1"), 50).size() == 2);
}

TEST_CASE("after any sequence of changes, zones and gateways are what they should be") {
  const std::uint64_t seed = 77;
  CAPTURE(seed);
  Random random(seed);
  PeerTable table({}, Random(2));
  std::map<std::uint32_t, std::string> model;
  Time now = kStart;
  for (int step = 0; step < 20'000; ++step) {
    const auto number = static_cast<std::uint32_t>(random.below(60));
    if (random.chance(0.3)) {
      table.remove(kSwarm, peer_id(number));
      model.erase(number);
    } else {
      const std::string zone = random.chance(0.2) ? "" : "z" + std::to_string(random.below(4));
      TableEntry entry{peer_id(number), Endpoint{host(number), 4000}, random.chance(0.2),
                       kStart + 10h};
      entry.zone = zone;
      REQUIRE(table.put(kSwarm, entry, host(number)));
      model[number] = zone;
      if (random.chance(0.5)) {
        const bool is_gateway =
            table.appoint(kSwarm, peer_id(number), random.chance(0.3), now += 1s);
        CHECK(is_gateway == table.find(kSwarm, peer_id(number))->gateway);
      }
    }
    if (step % 20 != 0) continue;
    std::map<std::string, std::size_t> members, gateways;
    for (const auto& [other, zone] : model) {
      const auto found = table.find(kSwarm, peer_id(other));
      REQUIRE(found);
      REQUIRE(found->zone == zone);
      ++members[zone];
      gateways[zone] += found->gateway;
      REQUIRE_FALSE((found->gateway && (found->complete || zone.empty())));
    }
    for (const auto& [zone, count] : gateways) REQUIRE(count <= kGateways);
    REQUIRE(table.zone_count() == members.size() - members.contains(""));
    if (!model.contains(number)) continue;
    const std::string& zone = model[number];
    const auto near = table.sample_near(kSwarm, peer_id(number), host(number), 50);
    REQUIRE(near.size() == (zone.empty() ? 0 : members[zone] - 1));
    REQUIRE(table.zone_size(kSwarm, peer_id(number)) == (zone.empty() ? 0 : members[zone]));
  }
}
