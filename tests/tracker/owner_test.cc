#include "tracker/owner.h"

#include <catch2/catch.hpp>
#include <set>

#include "tests/tracker/support.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

struct Fixture {
  explicit Fixture(OwnerConfig config = {}) : owner(std::move(config), Random(1), kStart) {}

  // Connection n is peer n at host(n) unless said otherwise.
  void connect(ConnectionId id) { connect(id, id, host(static_cast<std::uint32_t>(id))); }
  void connect(ConnectionId id, std::uint64_t peer, const IpAddress& from) {
    owner.on_connected(id, peer_id(peer), from, now);
  }
  void say(ConnectionId id, const Message& message) { owner.on_message(id, message, now); }
  void announce(ConnectionId id, Event event = Event::kStarted, std::uint8_t want = 50) {
    say(id, announce_of(kSwarm, event, 4000, want));
  }
  // Connects and announces n peers, numbered from `first`, and drops the answers.
  void join(std::uint64_t first, std::uint64_t n) {
    for (std::uint64_t id = first; id < first + n; ++id) {
      connect(id);
      announce(id);
    }
    drain(owner);
  }
  // All that was sent, by connection; checks that nothing else happened.
  std::vector<SendMessage> sent() {
    std::vector<SendMessage> messages;
    for (auto& action : drain(owner)) messages.push_back(std::get<SendMessage>(std::move(action)));
    return messages;
  }
  Handout handout() {
    const auto messages = sent();
    REQUIRE_FALSE(messages.empty());
    return std::get<Handout>(messages.front().message);
  }
  std::string refusal() {
    const auto messages = sent();
    REQUIRE(messages.size() == 1);
    // What is refused must be a message that the other side can read.
    REQUIRE(decode(encode(messages.front().message)).has_value());
    return std::get<Refusal>(messages.front().message).text;
  }
  std::size_t size() const { return owner.table().swarm_size(kSwarm); }
  void advance(Duration by) {
    now += by;
    owner.on_timeout(now);
  }

  Owner owner;
  Time now = kStart;
};

// What `asker` learns of the swarm by a lookup.
std::vector<PeerRecord> looked_up(Fixture& f, ConnectionId asker, std::uint8_t want = 50) {
  f.say(asker, Lookup{kSwarm, want});
  return f.handout().peers;
}

}  // namespace

TEST_CASE("an announce is answered by the others of the swarm and an interval") {
  Fixture f;
  f.join(1, 3);
  f.connect(9);
  f.announce(9);
  const Handout answer = f.handout();
  CHECK(answer.swarm == kSwarm);
  CHECK(answer.peers.size() == 3);
  CHECK(answer.interval > 0s);
  CHECK(f.size() == 4);
}

TEST_CASE("a handout has as many peers as wanted, at most the limit") {
  Fixture f;
  f.join(1, 100);
  for (const int want : {0, 1, 10, 50, 51, 255}) {
    f.announce(1, Event::kNone, static_cast<std::uint8_t>(want));
    CHECK(f.handout().peers.size() == std::min<std::size_t>(want, kMaxPeersInMessage));
    CHECK(looked_up(f, 1, static_cast<std::uint8_t>(want)).size() ==
          std::min<std::size_t>(want, kMaxPeersInMessage));
  }
}

TEST_CASE("a peer that is complete gets an empty handout with an interval") {
  Fixture f;
  f.join(1, 5);
  Announce complete = announce_of(kSwarm, Event::kNone, 4000, 50);
  complete.complete = true;
  f.say(1, complete);
  const Handout answer = f.handout();
  CHECK(answer.peers.empty());
  CHECK(answer.interval >= kMinInterval);
}

TEST_CASE("completed counts at once") {
  Fixture f;
  f.join(1, 2);
  CHECK(f.owner.table().complete_count(kSwarm) == 0);
  f.announce(1, Event::kCompleted);
  CHECK(f.owner.table().complete_count(kSwarm) == 1);
  CHECK(f.handout().peers.empty());
  CHECK(looked_up(f, 2) ==
        std::vector<PeerRecord>{{Endpoint{host(1), 4000}, true, false, kFullPercent}});
}

TEST_CASE("a lookup tells how much each had when it announced last, an announce does not") {
  Fixture f;
  f.join(1, 2);
  const auto has = [&](std::uint16_t permille) {
    Announce announce = announce_of(kSwarm, Event::kNone, 4000, 50);
    announce.have_permille = permille;
    f.say(1, announce);
    f.sent();
    const auto found = looked_up(f, 2);
    REQUIRE(found.size() == 1);
    CHECK_FALSE(found[0].complete);
    return found[0].have_percent;
  };
  CHECK(has(0) == 0);
  CHECK(has(379) == 37);
  // Complete is who says so.
  CHECK(has(1000) == 99);
  f.announce(2);
  const auto handed = f.handout().peers;
  REQUIRE(handed.size() == 1);
  CHECK_FALSE(handed[0].have_percent);
}

TEST_CASE("the owner's own share is told by lookups too") {
  Fixture f;
  f.connect(1);
  for (const bool complete : {false, true}) {
    f.owner.set_self(kSwarm, peer_id(500), {endpoint("10.0.0.9:9")}, complete, "", 425);
    CHECK(looked_up(f, 1) == std::vector<PeerRecord>{{endpoint("10.0.0.9:9"), complete, false,
                                                      std::uint8_t(complete ? 100 : 42)}});
  }
}

TEST_CASE("stopped removes at once and is not answered") {
  Fixture f;
  f.join(1, 2);
  f.announce(1, Event::kStopped);
  CHECK(f.size() == 1);
  CHECK(f.sent().empty());
  f.announce(1, Event::kStopped);
  CHECK(f.sent().empty());
  // It may come back.
  f.announce(1);
  CHECK(f.size() == 2);
}

TEST_CASE("the interval follows the load between its bounds and is jittered by a fifth") {
  OwnerConfig config;
  config.min_interval = 30s;
  config.max_interval = 100s;
  config.announces_per_second = 10;
  config.announces = {};
  Fixture f(config);
  f.connect(1);
  const auto bounds = [&f] {
    Duration least = Duration::max(), most{};
    for (int i = 0; i < 500; ++i) {
      f.say(1, Lookup{kSwarm, 0});
      const Duration interval = f.handout().interval;
      CHECK(interval % 1ms == 0ms);
      least = std::min(least, interval);
      most = std::max(most, interval);
    }
    return std::pair(to_seconds(least), to_seconds(most));
  };
  auto [least, most] = bounds();
  CHECK(least == Approx(24).margin(0.5));
  CHECK(most == Approx(36).margin(0.5));
  f.join(10, 600);  // 60 s at 10 a second
  std::tie(least, most) = bounds();
  CHECK(least == Approx(48).margin(0.5));
  CHECK(most == Approx(72).margin(0.5));
  f.join(1000, 2400);
  std::tie(least, most) = bounds();
  CHECK(least == Approx(80).margin(0.5));
  CHECK(most == Approx(120).margin(0.5));
}

TEST_CASE("an interval never leaves what the wire and the announcers hold it to") {
  OwnerConfig config;
  config.min_interval = 1ms;
  config.announces = {};
  Fixture shortest(config);
  shortest.connect(1);
  config.min_interval = 1000h;
  config.max_interval = 1000h;
  config.announces_per_second = 0;
  Fixture longest(config);
  longest.connect(1);
  for (int i = 0; i < 100; ++i) {
    shortest.say(1, Lookup{kSwarm, 0});
    CHECK(shortest.handout().interval == kMinInterval);
    longest.say(1, Lookup{kSwarm, 0});
    CHECK(longest.handout().interval == kMaxInterval);
  }
}

TEST_CASE("an entry lives two and a half of the intervals that its peer was told") {
  Fixture f;
  f.connect(1);
  f.announce(1);
  const Duration interval = f.handout().interval;
  CHECK(f.owner.next_timeout() <= f.now + interval * 5 / 2);
  f.advance(interval * 5 / 2 - 1ms);
  CHECK(f.size() == 1);
  f.advance(1ms);
  CHECK(f.size() == 0);
}

TEST_CASE("a peer that announces every interval stays") {
  Fixture f;
  f.join(1, 1);
  for (int i = 0; i < 50; ++i) {
    f.announce(1, Event::kNone);
    f.advance(f.handout().interval);
    CHECK(f.size() == 1);
  }
}

TEST_CASE("an entry whose connection went stays for the grace only") {
  Fixture f;
  f.join(1, 2);
  f.owner.on_disconnected(1, f.now);
  CHECK(f.size() == 2);
  f.advance(kDisconnectGrace - 1ms);
  CHECK(looked_up(f, 2).size() == 1);
  f.advance(1ms);
  CHECK(looked_up(f, 2).empty());
}

TEST_CASE("a peer that comes back within the grace was never away") {
  Fixture f;
  f.join(1, 2);
  f.owner.on_disconnected(1, f.now);
  f.advance(10s);
  f.connect(3, 1, host(1));
  f.announce(3);
  CHECK(f.sent().size() == 1);  // the answer, and no news of a peer that all know
  f.advance(20s);
  CHECK(f.size() == 2);
}

TEST_CASE("of two connections of a peer the newer owns the entry") {
  Fixture f;
  f.join(1, 1);
  f.connect(2, 1, host(7));
  f.announce(2);
  drain(f.owner);
  CHECK(f.size() == 1);
  SECTION("the end of the older changes nothing") {
    f.owner.on_disconnected(1, f.now);
    f.advance(kDisconnectGrace + 1s);
    CHECK(f.size() == 1);
  }
  SECTION("a late stopped on the older changes nothing") {
    f.announce(1, Event::kStopped);
    CHECK(f.size() == 1);
  }
  SECTION("the end of the newer starts the grace") {
    f.owner.on_disconnected(2, f.now);
    f.advance(kDisconnectGrace + 1s);
    CHECK(f.size() == 0);
  }
  SECTION("stopped after the newer has gone counts") {
    f.owner.on_disconnected(2, f.now);
    f.announce(1, Event::kStopped);
    CHECK(f.size() == 0);
  }
  SECTION("news goes to the newer") {
    f.connect(3);
    f.announce(3);
    const auto sent = f.sent();
    REQUIRE(sent.size() == 2);
    CHECK(sent[0].connection == 3);
    CHECK(sent[1].connection == 2);
  }
}

TEST_CASE("a peer may use one connection for each of its swarms") {
  Fixture f;
  f.connect(1, 1, host(1));
  f.connect(2, 1, host(1));
  f.say(1, announce_of(swarm_id(1), Event::kStarted, 4000, 5));
  f.say(2, announce_of(swarm_id(2), Event::kStarted, 4000, 5));
  f.owner.on_disconnected(1, f.now);
  f.advance(kDisconnectGrace);
  CHECK(f.owner.table().swarm_size(swarm_id(1)) == 0);
  CHECK(f.owner.table().swarm_size(swarm_id(2)) == 1);
}

TEST_CASE("a newcomer is pushed as news to a few incomplete connected peers") {
  Fixture f;
  f.join(1, 20);
  for (std::uint64_t complete = 1; complete <= 10; ++complete)
    f.announce(complete, Event::kCompleted);
  for (std::uint64_t gone = 11; gone <= 14; ++gone) f.owner.on_disconnected(gone, f.now);
  drain(f.owner);
  std::set<ConnectionId> told;
  for (std::uint64_t newcomer = 100; newcomer < 140; ++newcomer) {
    f.connect(newcomer);
    f.announce(newcomer, Event::kStarted);
    const auto sent = f.sent();
    CHECK(sent.size() <= 1 + kNewsPeers);
    CHECK(sent.front().connection == newcomer);
    for (std::size_t i = 1; i < sent.size(); ++i) {
      const Handout news = std::get<Handout>(sent[i].message);
      CHECK(news.interval == 0s);
      CHECK(news.peers == std::vector<PeerRecord>{
                              {Endpoint{host(static_cast<std::uint32_t>(newcomer)), 4000}, false}});
      told.insert(sent[i].connection);
    }
    f.announce(newcomer, Event::kStopped);
  }
  CHECK(told == std::set<ConnectionId>{15, 16, 17, 18, 19, 20});
}

TEST_CASE("only a newcomer that can be dialled and says started is news") {
  Fixture f;
  f.join(1, 1);
  f.connect(2);
  f.announce(2, Event::kNone);
  CHECK(f.sent().size() == 1);
  f.announce(2, Event::kStarted);  // known already
  CHECK(f.sent().size() == 1);
  f.connect(3);
  f.say(3, announce_of(kSwarm, Event::kStarted, 0, 5));
  CHECK(f.sent().size() == 1);
}

TEST_CASE("news of a loopback peer stays on its host") {
  Fixture f;
  f.join(1, 1);
  f.connect(2, 2, address("127.0.0.1"));
  f.announce(2);
  CHECK(f.sent().size() == 1);
  f.connect(3, 3, address("127.0.0.1"));
  f.announce(3);
  const auto sent = f.sent();
  REQUIRE(sent.size() == 2);
  CHECK(sent[1].connection == 2);
}

TEST_CASE("an announced victim's address is not handed out: the observed one is") {
  Fixture f;
  f.join(1, 1);
  f.connect(2, 2, address("198.51.100.7"));
  Announce lie = announce_of(kSwarm, Event::kStarted, 4000, 0);
  lie.advertised = {endpoint("203.0.113.1:80"), endpoint("[2001:db8::1]:80")};
  f.say(2, lie);
  drain(f.owner);
  CHECK(looked_up(f, 1) ==
        std::vector<PeerRecord>{{endpoint("198.51.100.7:4000"), false, false, std::uint8_t{0}}});
}

TEST_CASE("a trusted peer is handed out where it advertises") {
  OwnerConfig config;
  config.trust_advertised = true;
  Fixture f(config);
  f.join(1, 1);
  f.connect(2, 2, address("127.0.0.1"));
  const auto handed_out = [&f](std::vector<Endpoint> advertised, std::uint16_t port = 4000) {
    Announce announce = announce_of(kSwarm, Event::kNone, port, 0);
    announce.advertised = std::move(advertised);
    f.say(2, announce);
    drain(f.owner);
    const auto peers = looked_up(f, 1);
    return peers.empty() ? std::string() : peers.front().endpoint.to_string();
  };
  CHECK(handed_out({endpoint("127.0.0.1:1"), endpoint("[2001:db8::1]:2"),
                    endpoint("10.9.9.9:3")}) == "10.9.9.9:3");
  CHECK(handed_out({endpoint("[2001:db8::1]:2")}) == "[2001:db8::1]:2");
  CHECK(handed_out({endpoint("224.0.0.1:5"), endpoint("10.9.9.9:0")}) == "");  // at loopback then
  CHECK(handed_out({endpoint("10.9.9.9:3")}, 0) == "");                        // it does not listen
  // A loopback address from elsewhere would name the asker's own host.
  f.connect(3, 2, host(3));
  Announce outside = announce_of(kSwarm, Event::kNone, 4000, 0);
  outside.advertised = {endpoint("127.0.0.1:1")};
  f.say(3, outside);
  drain(f.owner);
  CHECK(looked_up(f, 1).front().endpoint == Endpoint{host(3), 4000});
}

TEST_CASE("a peer with port 0 is counted, served and never handed out") {
  Fixture f;
  f.join(1, 3);
  f.connect(4);
  f.say(4, announce_of(kSwarm, Event::kStarted, 0, 50));
  CHECK(f.handout().peers.size() == 3);
  CHECK(f.size() == 4);
  for (int i = 0; i < 20; ++i) CHECK(looked_up(f, 1).size() == 2);
}

TEST_CASE("a peer seen at a multicast address is never handed out") {
  Fixture f;
  f.join(1, 1);
  f.connect(2, 2, address("224.0.0.9"));
  f.announce(2);
  drain(f.owner);
  CHECK(looked_up(f, 1).empty());
}

TEST_CASE("a lookup is answered without joining") {
  Fixture f;
  f.join(1, 3);
  f.connect(9);
  CHECK(looked_up(f, 9).size() == 3);
  CHECK(f.size() == 3);
  f.say(9, Lookup{swarm_id(77), 5});
  CHECK(f.handout().peers.empty());
  CHECK(f.owner.table().swarm_count() == 1);
}

TEST_CASE("an owner of its own swarms refuses the others, and those that it has left") {
  Fixture f(OwnerConfig{.own_swarms_only = true});
  f.owner.set_self(kSwarm, peer_id(99), {endpoint("10.0.0.99:4000")}, true);
  f.join(1, 1);
  f.say(1, announce_of(swarm_id(2), Event::kStarted, 4000, 5));
  CHECK(f.refusal() == "not served here");
  CHECK(f.owner.table().swarm_count() == 1);
  f.owner.forget_self(kSwarm);
  f.say(1, Lookup{kSwarm, 5});
  CHECK(f.refusal() == "not served here");
}

TEST_CASE("a message that only owners send closes the connection") {
  for (const Message& message :
       {Message(Handout{kSwarm, 0s, {}}), Message(Refusal{kSwarm, "no"})}) {
    Fixture f;
    f.join(1, 2);
    f.say(1, message);
    const auto actions = drain(f.owner);
    REQUIRE(actions.size() == 1);
    CHECK(std::get<CloseConnection>(actions[0]).connection == 1);
    // Nothing is heard from it any more, and its entry has its grace.
    f.announce(1);
    f.owner.on_disconnected(1, f.now);
    CHECK(drain(f.owner).empty());
    f.advance(kDisconnectGrace);
    CHECK(f.size() == 1);
  }
}

TEST_CASE("a message on an unknown connection is ignored") {
  Fixture f;
  f.announce(5);
  f.owner.on_disconnected(5, f.now);
  CHECK(drain(f.owner).empty());
  CHECK(f.size() == 0);
}

TEST_CASE("the owner's own entry is handed out at an address that the asker can reach") {
  Fixture f;
  f.owner.set_self(kSwarm, peer_id(500),
                   {endpoint("127.0.0.1:9"), endpoint("[2001:db8::9]:9"), endpoint("10.200.0.9:9")},
                   true);
  f.connect(1);
  CHECK(looked_up(f, 1) ==
        std::vector<PeerRecord>{{endpoint("10.200.0.9:9"), true, false, kFullPercent}});
  f.connect(2, 2, address("2001:db8::2"));
  CHECK(looked_up(f, 2) ==
        std::vector<PeerRecord>{{endpoint("[2001:db8::9]:9"), true, false, kFullPercent}});
  f.connect(3, 3, address("127.0.0.1"));
  CHECK(looked_up(f, 3) ==
        std::vector<PeerRecord>{{endpoint("127.0.0.1:9"), true, false, kFullPercent}});
  f.connect(4, 500, address("127.0.0.1"));
  CHECK(looked_up(f, 4).empty());  // itself
  f.advance(24h);
  CHECK(looked_up(f, 1).size() == 1);
  f.owner.set_self(kSwarm, peer_id(500), {endpoint("127.0.0.1:9")}, true);
  CHECK(looked_up(f, 1).empty());
}

TEST_CASE("the owner's own entry is not kept twice when it announces to itself") {
  Fixture f;
  f.owner.set_self(kSwarm, peer_id(1), {endpoint("10.0.0.1:9")}, true);
  f.join(1, 3);
  CHECK(f.size() == 2);
  CHECK(looked_up(f, 2).size() == 2);
}

TEST_CASE("the owner's own entry is handed out as often as any other") {
  OwnerConfig config;
  config.announces = {};
  Fixture f(config);
  const Endpoint self = endpoint("10.200.0.9:9");
  f.owner.set_self(kSwarm, peer_id(500), {self}, true);
  f.join(1, 100);
  int seen = 0;
  const int rounds = 4000;
  for (int i = 0; i < rounds; ++i) {
    const auto peers = looked_up(f, 1, 10);
    CHECK(peers.size() == 10);
    for (const PeerRecord& peer : peers) seen += peer.endpoint == self ? 1 : 0;
  }
  CHECK(seen == Approx(rounds * 10 / 101.0).epsilon(0.15));
}

TEST_CASE("a full table refuses with a text, and what was kept stays") {
  OwnerConfig config;
  config.limits.entries = 5;
  Fixture f(config);
  f.join(1, 5);
  f.connect(6);
  f.announce(6);
  CHECK(f.refusal() == "the table is full (5 entries)");
  f.announce(3, Event::kNone);
  CHECK(f.handout().peers.size() == 4);
  f.announce(1, Event::kStopped);
  f.announce(6);
  CHECK(f.handout().peers.size() == 4);
}

TEST_CASE("a connection with too many swarms is refused more of them") {
  Fixture f;
  f.connect(1);
  const auto announce = [&f](std::uint64_t swarm, Event event) {
    f.say(1, announce_of(swarm_id(swarm), event, 4000, 0));
  };
  for (std::uint64_t swarm = 0; swarm < kMaxSwarmsPerConnection; ++swarm)
    announce(swarm, Event::kStarted);
  CHECK(f.sent().size() == kMaxSwarmsPerConnection);
  announce(kMaxSwarmsPerConnection, Event::kStarted);
  CHECK(f.refusal() == "too many contents announced on one connection");
  announce(7, Event::kNone);
  CHECK(f.handout().swarm == swarm_id(7));
  announce(7, Event::kStopped);
  announce(kMaxSwarmsPerConnection, Event::kStarted);
  CHECK(f.handout().swarm == swarm_id(kMaxSwarmsPerConnection));
  f.owner.on_disconnected(1, f.now);
  f.advance(kDisconnectGrace);
  CHECK(f.owner.table().entry_count() == 0);
}

TEST_CASE("a clock that jumps an hour empties the table, and the next announces fill it again") {
  Fixture f;
  f.join(1, 50);
  f.advance(1h);
  CHECK(f.owner.table().entry_count() == 0);
  CHECK(f.owner.next_timeout() > f.now);
  for (ConnectionId id = 1; id <= 50; ++id) f.announce(id, Event::kNone);
  drain(f.owner);
  CHECK(f.size() == 50);
  CHECK(looked_up(f, 1).size() == 49);
}

TEST_CASE("a stale time is harmless") {
  Fixture f;
  f.now = kStart + 1h;
  f.join(1, 3);
  const Time due = f.owner.next_timeout();
  f.owner.on_timeout(kStart);
  f.owner.on_message(1, announce_of(kSwarm, Event::kNone, 4000, 5), kStart + 5s);
  f.owner.on_connected(9, peer_id(9), host(9), kStart);
  f.owner.on_message(9, announce_of(kSwarm, Event::kStarted, 4000, 5), kStart);
  CHECK(f.size() == 4);
  CHECK(f.owner.next_timeout() >= due);
  f.advance(30s);
  CHECK(f.size() == 4);
}

TEST_CASE("the same seed and inputs give the same actions") {
  const auto run = [] {
    Fixture f;
    Random random(6);
    Bytes said;
    for (ConnectionId id = 1; id <= 400; ++id) f.connect(id);
    for (int i = 0; i < 3000; ++i) {
      const ConnectionId id = 1 + random.below(400);
      f.say(id, announce_of(swarm_id(random.below(3)), static_cast<Event>(random.below(4)), 4000,
                            static_cast<std::uint8_t>(random.below(51))));
      if (random.chance(0.02)) f.owner.on_disconnected(id, f.now);
      f.advance(Duration(random.below(20'000'000)));  // too short for any to be closed
      for (const SendMessage& sent : f.sent()) {
        const Bytes bytes = encode(sent.message);
        said.push_back(static_cast<std::uint8_t>(sent.connection));
        said.insert(said.end(), bytes.begin(), bytes.end());
      }
    }
    return said;
  };
  const Bytes first = run();
  CHECK(first.size() > 100'000);
  CHECK(first == run());
}
