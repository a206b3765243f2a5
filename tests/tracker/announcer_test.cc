#include "tracker/announcer.h"

#include <catch2/catch.hpp>
#include <set>

#include "tests/tracker/support.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

// An announcer with the clock and the last actions at hand.
struct Fixture {
  explicit Fixture(std::size_t owners = 1, std::uint64_t seed = 1)
      : announcer(config_for(owners), Random(seed), kStart) {}

  static AnnouncerConfig config_for(std::size_t owners) {
    AnnouncerConfig config;
    config.swarm = kSwarm;
    config.owners = first_owners(owners);
    config.listen_port = 4000;
    return config;
  }

  void connect(OwnerNumber owner = 0) { announcer.on_owner_connected(owner, now); }
  void answer(OwnerNumber owner = 0, Duration interval = 30s) {
    announcer.on_message(owner, Handout{kSwarm, interval, {}}, now);
  }
  // Moves the clock to the next timeout and fires it.
  Duration tick() {
    const Time before = now;
    REQUIRE(announcer.next_timeout() != kNever);
    now = std::max(now, announcer.next_timeout());
    announcer.on_timeout(now);
    return now - before;
  }
  // The announces among the actions that stand ready.
  std::vector<Announce> announces() {
    std::vector<Announce> sent;
    for (const auto& action : drain(announcer))
      if (const auto* send = std::get_if<SendToOwner>(&action))
        sent.push_back(std::get<Announce>(send->message));
    return sent;
  }
  template <typename Action>
  std::size_t count() {
    std::size_t found = 0;
    for (const auto& action : drain(announcer)) found += std::holds_alternative<Action>(action);
    return found;
  }

  Announcer announcer;
  Time now = kStart;
};

}  // namespace

TEST_CASE("an announcer connects to every owner at once") {
  Fixture f(3);
  const auto actions = drain(f.announcer);
  REQUIRE(actions.size() == 3);
  for (OwnerNumber owner = 0; owner < 3; ++owner)
    CHECK(std::get<ConnectOwner>(actions[owner]).owner == owner);
  CHECK(f.announcer.next_timeout() == kNever);
}

TEST_CASE("an announcer without owners does nothing") {
  Fixture f(0);
  f.announcer.set_wanted(5, f.now);
  f.announcer.set_progress(1000, true, f.now);
  f.announcer.on_timeout(f.now + 1h);
  f.announcer.stop(f.now + 1h);
  CHECK(drain(f.announcer).empty());
  CHECK(f.announcer.next_timeout() == kNever);
}

TEST_CASE("the first announce of a connection says started and what the peer is") {
  Fixture f;
  f.announcer.set_wanted(12, f.now);
  f.announcer.set_progress(250, false, f.now);
  f.connect();
  const auto sent = f.announces();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].swarm == kSwarm);
  CHECK(sent[0].event == Event::kStarted);
  CHECK(sent[0].port == 4000);
  CHECK(sent[0].want == 12);
  CHECK(sent[0].have_permille == 250);
  CHECK_FALSE(sent[0].complete);
}

TEST_CASE("whatever it was configured and told, an announcer sends what can be decoded") {
  AnnouncerConfig config = Fixture::config_for(1);
  config.advertised = {endpoint("224.0.0.1:1"), endpoint("10.0.0.1:0"), endpoint("10.0.0.1:1"),
                       endpoint("10.0.0.2:1"),  endpoint("10.0.0.3:1"), endpoint("10.0.0.4:1"),
                       endpoint("10.0.0.5:1")};
  Announcer announcer(config, Random(1), kStart);
  announcer.set_wanted(100'000, kStart);
  announcer.set_progress(5000, false, kStart);
  drain(announcer);
  announcer.on_owner_connected(0, kStart);
  const auto actions = drain(announcer);
  REQUIRE(actions.size() == 1);
  const auto decoded = decode(encode(std::get<SendToOwner>(actions[0]).message));
  REQUIRE(decoded.has_value());
  CHECK(std::get<Announce>(*decoded).want == kMaxPeersInMessage);
  CHECK(std::get<Announce>(*decoded).advertised.size() == kMaxAdvertised);
  CHECK(std::get<Announce>(*decoded).advertised.front() == endpoint("10.0.0.1:1"));
}

TEST_CASE("the owner's interval is kept, without an event and on the same connection") {
  Fixture f;
  f.connect();
  f.answer(0, 42s);
  f.announces();
  CHECK(f.tick() == 42s);
  auto sent = f.announces();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].event == Event::kNone);
  f.answer(0, 50s);
  CHECK(f.tick() == 50s);
}

TEST_CASE("an interval that makes no sense is brought within bounds") {
  for (const auto& [told, kept] : {std::pair<Duration, Duration>{1ms, kMinInterval},
                                   {1s, kMinInterval},
                                   {3h, kMaxInterval},
                                   {Duration::max(), kMaxInterval}}) {
    Fixture f;
    f.connect();
    f.answer(0, told);
    CHECK(f.tick() == kept);
  }
}

TEST_CASE("completion is announced at once and once to every connected owner") {
  Fixture f(3);
  f.connect(0);
  f.connect(1);
  f.answer(0);
  f.announces();
  f.now += 1s;
  f.announcer.set_progress(1000, true, f.now);
  auto sent = f.announces();
  REQUIRE(sent.size() == 2);
  for (const Announce& announce : sent) {
    CHECK(announce.event == Event::kCompleted);
    CHECK(announce.complete);
    CHECK(announce.want == 0);
  }
  f.announcer.set_progress(1000, true, f.now + 1s);
  CHECK(f.announces().empty());
  // The third owner comes up later, the first comes back: both learn it with `started`.
  f.connect(2);
  f.announcer.on_owner_disconnected(0, f.now);
  f.connect(0);
  sent = f.announces();
  REQUIRE(sent.size() == 2);
  for (const Announce& announce : sent) {
    CHECK(announce.event == Event::kStarted);
    CHECK(announce.complete);
  }
  f.announcer.set_progress(1000, true, f.now + 1s);
  CHECK(f.announces().empty());
}

TEST_CASE("a peer that turns out incomplete after all announces its completion again") {
  Fixture f;
  f.announcer.set_progress(1000, true, f.now);
  f.connect();
  f.answer();
  f.announces();
  f.announcer.set_progress(990, false, f.now);
  CHECK(f.announces().empty());
  f.announcer.set_progress(1000, true, f.now);
  CHECK(f.announces().size() == 1);
}

TEST_CASE(
    "waits between connections double with jitter up to the last, and start anew after an answer") {
  Fixture f;
  drain(f.announcer);
  Duration expected = kFirstRetry;
  for (int attempt = 0; attempt < 12; ++attempt) {
    f.announcer.on_owner_disconnected(0, f.now);
    const Duration waited = f.tick();
    CAPTURE(attempt);
    CHECK(waited >= expected / 2);
    CHECK(waited <= expected);
    CHECK(f.count<ConnectOwner>() == 1);
    CHECK(f.announcer.next_timeout() == kNever);
    expected = std::min<Duration>(2 * expected, kLastRetry);
  }
  // A connection alone is not success: only an answer is.
  f.connect();
  f.announcer.on_owner_disconnected(0, f.now);
  CHECK(f.tick() >= kLastRetry / 2);
  f.connect();
  f.answer();
  f.announcer.on_owner_disconnected(0, f.now);
  CHECK(f.tick() <= kFirstRetry);
}

TEST_CASE("the waits of different peers differ") {
  std::vector<Duration> waits;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Fixture f(1, seed);
    f.announcer.on_owner_disconnected(0, f.now);
    waits.push_back(f.tick());
  }
  std::sort(waits.begin(), waits.end());
  CHECK(waits.back() - waits.front() > kFirstRetry / 4);
}

TEST_CASE("an owner that does not answer is disconnected and tried again") {
  Fixture f;
  f.connect();
  drain(f.announcer);
  CHECK(f.tick() == kAnswerTimeout);
  auto actions = drain(f.announcer);
  REQUIRE(actions.size() == 1);
  CHECK_FALSE(std::get<DisconnectOwner>(actions[0]).reason.empty());
  // The shell may report the end of that connection; it is known already.
  f.announcer.on_owner_disconnected(0, f.now);
  CHECK(f.tick() <= kFirstRetry);
  CHECK(f.count<ConnectOwner>() == 1);
}

TEST_CASE("news does not count as an answer") {
  Fixture f;
  f.connect();
  drain(f.announcer);
  f.answer(0, 0s);
  CHECK(f.tick() == kAnswerTimeout);
  CHECK(f.count<DisconnectOwner>() == 1);
}

TEST_CASE("a hungry peer asks sooner than the interval, ever more patiently") {
  Fixture f;
  f.connect();
  f.answer(0, 60s);
  f.announcer.set_wanted(3, f.now);
  f.announces();
  for (const Duration expected : {5s, 10s, 20s, 40s, 60s, 60s}) {
    CHECK(f.tick() == expected);
    const auto sent = f.announces();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].want == 3);
    f.answer(0, 60s);
  }
  f.announcer.set_wanted(2, f.now);
  CHECK(f.announcer.next_timeout() == f.now + 60s);
  f.announcer.set_wanted(4, f.now);
  CHECK(f.announcer.next_timeout() == f.now + kHungryInterval);
  f.announcer.set_wanted(0, f.now);
  CHECK(f.announcer.next_timeout() == f.now + 60s);
}

TEST_CASE("a complete peer is not hungry") {
  Fixture f;
  f.announcer.set_progress(1000, true, f.now);
  f.announcer.set_wanted(3, f.now);
  f.connect();
  f.answer(0, 60s);
  CHECK(f.tick() == 60s);
}

TEST_CASE("peers in an answer or in news are passed on, whatever their number of messages") {
  Fixture f;
  f.connect();
  drain(f.announcer);
  const std::vector<PeerRecord> peers = {{endpoint("10.0.0.1:1"), true}};
  f.announcer.on_message(0, Handout{kSwarm, 30s, peers}, f.now);
  auto actions = drain(f.announcer);
  REQUIRE(actions.size() == 1);
  CHECK(std::get<FoundPeers>(actions[0]).peers == peers);
  const Time due = f.announcer.next_timeout();
  for (int i = 0; i < 1000; ++i) {
    f.announcer.on_message(0, Handout{kSwarm, i % 2 == 0 ? 0s : 1h, peers}, f.now);
    CHECK(f.count<FoundPeers>() == 1);
  }
  // A flood neither hastens nor delays the next announce.
  CHECK(f.announcer.next_timeout() == due);
}

TEST_CASE("messages of another swarm are ignored") {
  Fixture f;
  f.connect();
  drain(f.announcer);
  f.announcer.on_message(0, Handout{swarm_id(2), 7s, {{endpoint("10.0.0.1:1"), true}}}, f.now);
  f.announcer.on_message(0, Refusal{swarm_id(2), "no"}, f.now);
  CHECK(drain(f.announcer).empty());
  CHECK(f.announcer.last_refusal().empty());
  CHECK(f.tick() == kAnswerTimeout);
}

TEST_CASE("an owner that sends what owners do not send is disconnected") {
  for (const Message& message : {Message(Announce{}), Message(Lookup{})}) {
    Fixture f;
    f.connect();
    drain(f.announcer);
    f.announcer.on_message(0, message, f.now);
    CHECK(f.count<DisconnectOwner>() == 1);
    f.answer();
    CHECK(drain(f.announcer).empty());
    CHECK(f.tick() <= kFirstRetry);
  }
}

TEST_CASE("a refusal is kept for the person, and the owner is asked again soon, as started") {
  Fixture f;
  f.announcer.set_wanted(5, f.now);
  f.connect();
  f.announces();
  f.announcer.on_message(0, Refusal{kSwarm, "the table is full"}, f.now);
  CHECK(f.announcer.last_refusal() == "the table is full");
  CHECK(f.tick() <= kHungryInterval);
  const auto sent = f.announces();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].event == Event::kStarted);
}

TEST_CASE("an owner that goes on refusing is asked less and less, up to the interval") {
  Fixture f;
  f.connect();
  for (const Duration wait : {5s, 10s, 20s, 30s, 30s}) {
    f.announces();
    f.announcer.on_message(0, Refusal{kSwarm, "too many announces"}, f.now);
    const Time due = f.announcer.next_timeout();
    f.announcer.on_message(0, Refusal{kSwarm, "unasked"}, f.now);
    CHECK(f.announcer.next_timeout() == due);
    const Duration waited = f.tick();
    CHECK(waited >= wait / 2);
    CHECK(waited <= wait);
  }
  f.answer();
  f.announcer.set_wanted(5, f.now);
  f.answer();
  for (int i = 0; i < 5; ++i) {  // hungry for long
    f.tick();
    f.answer();
  }
  f.tick();
  f.announcer.on_message(0, Refusal{kSwarm, "too many announces"}, f.now);
  CHECK(f.tick() <= kHungryInterval);
}

TEST_CASE("peers that were refused together do not ask again together") {
  std::set<Time> due;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Fixture f(1, seed);
    f.connect();
    f.announcer.on_message(0, Refusal{kSwarm, "too many announces"}, f.now);
    due.insert(f.announcer.next_timeout());
  }
  CHECK(due.size() >= 19);
}

TEST_CASE("stop says stopped once to every connected owner and then nothing more") {
  Fixture f(3);
  f.connect(0);
  f.answer(0);
  f.connect(1);
  drain(f.announcer);
  f.announcer.stop(f.now);
  f.announcer.stop(f.now);
  const auto sent = f.announces();
  REQUIRE(sent.size() == 2);
  for (const Announce& announce : sent) CHECK(announce.event == Event::kStopped);
  CHECK(f.announcer.next_timeout() == kNever);
  f.announcer.on_timeout(f.now + 1h);
  f.announcer.set_progress(1000, true, f.now);
  f.announcer.set_wanted(9, f.now);
  f.answer(0);
  f.announcer.on_message(1, Announce{}, f.now);
  f.announcer.on_owner_disconnected(0, f.now);
  CHECK(drain(f.announcer).empty());
  CHECK(f.announcer.next_timeout() == kNever);
  // Owner 2 was being connected to.
  f.connect(2);
  CHECK(f.count<LeaveOwner>() == 1);
}

TEST_CASE("a timeout before its time and a stale time change nothing") {
  Fixture f;
  f.now += 100s;
  f.connect();
  f.answer();
  drain(f.announcer);
  const Time due = f.announcer.next_timeout();
  f.announcer.on_timeout(f.now);
  f.announcer.on_timeout(kStart);
  f.announcer.set_wanted(0, kStart);
  CHECK(drain(f.announcer).empty());
  CHECK(f.announcer.next_timeout() == due);
}

TEST_CASE("a clock that jumps an hour costs one announce to each owner") {
  Fixture f(2);
  f.connect(0);
  f.connect(1);
  f.answer(0);
  f.answer(1);
  drain(f.announcer);
  f.now += 1h;
  f.announcer.on_timeout(f.now);
  CHECK(f.announces().size() == 2);
  f.answer(0);
  f.answer(1);
  CHECK(f.announcer.next_timeout() == f.now + 30s);
}

TEST_CASE("an owner that is away does not disturb the others") {
  Fixture f(2);
  drain(f.announcer);
  f.connect(1);
  f.answer(1);
  f.announcer.on_owner_disconnected(0, f.now);
  std::size_t announces = 0;
  while (f.now < kStart + 300s) {
    f.tick();
    for (const auto& action : drain(f.announcer)) {
      if (std::holds_alternative<ConnectOwner>(action)) f.announcer.on_owner_disconnected(0, f.now);
      if (std::holds_alternative<SendToOwner>(action)) ++announces, f.answer(1);
    }
  }
  CHECK(announces == 11);  // at 0, 30 ... 300 s
}

TEST_CASE("an announce says the zone, and that it starves until it is complete or does no more") {
  AnnouncerConfig config;
  config.swarm = swarm_id(1);
  config.owners = {0};
  config.zone = "rack-7";
  Announcer announcer(config, Random(1), kStart);
  announcer.set_wanted(5, kStart);
  drain(announcer);
  announcer.on_owner_connected(0, kStart);
  const auto said = [&] {
    const auto actions = drain(announcer);
    REQUIRE(actions.size() == 1);
    return std::get<Announce>(std::get<SendToOwner>(actions[0]).message);
  };
  const Announce first = said();
  CHECK(first.zone == "rack-7");
  CHECK_FALSE(first.starving);

  // It has asked in vain for a while; from now on it asks at a hungry peer's pace again.
  Time now = kStart;
  for (int i = 0; i < 3; ++i) {
    announcer.on_message(0, Handout{config.swarm, 60s, {}}, now);
    now = announcer.next_timeout();
    announcer.on_timeout(now);
    CHECK_FALSE(said().starving);
  }
  announcer.on_message(0, Handout{config.swarm, 60s, {}}, now);
  REQUIRE(announcer.next_timeout() > now + kHungryInterval);
  announcer.set_starving(true, now);
  CHECK(announcer.next_timeout() == now + kHungryInterval);
  announcer.on_timeout(now + kHungryInterval);
  CHECK(said().starving);
  announcer.set_progress(kFullPermille, true, now + kHungryInterval);
  CHECK_FALSE(said().starving);
}
