// How often one connection, and one address, may announce; and what one address may have in the
// table.
#include <catch2/catch.hpp>

#include "tests/tracker/support.h"
#include "tracker/owner.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

struct Answers {
  int handouts = 0, refusals = 0, closed = 0;
  std::string last_refusal;
};

struct Stage {
  explicit Stage(OwnerConfig config = {}) : owner(std::move(config), Random(1), kStart) {}

  void connect(ConnectionId id, const IpAddress& from) {
    owner.on_connected(id, peer_id(id), from, now);
  }
  void announce(ConnectionId id, std::uint64_t swarm = 1, Event event = Event::kStarted) {
    owner.on_message(id, announce_of(swarm_id(swarm), event, 4000, 0), now);
    note();
  }
  void note() {
    for (const auto& action : drain(owner)) {
      const auto* sent = std::get_if<SendMessage>(&action);
      if (sent == nullptr) {
        ++answers.closed;
      } else if (const auto* refusal = std::get_if<Refusal>(&sent->message)) {
        ++answers.refusals;
        answers.last_refusal = refusal->text;
      } else if (std::get<Handout>(sent->message).interval > 0s) {  // else it is news
        ++answers.handouts;
      }
    }
  }

  Owner owner;
  Time now = kStart;
  Answers answers;
};

OwnerConfig with_rate(double per_second, double burst) {
  OwnerConfig config;
  config.announces = {per_second, burst};
  return config;
}

}  // namespace

TEST_CASE("a connection that announces without end is refused, then left, and others are served") {
  Stage stage;
  stage.connect(1, host(1));
  for (int i = 0; i < 100'000; ++i) stage.announce(1);
  // One for a second while it had no swarm, then two.
  CHECK(stage.answers.handouts == 39);
  CHECK(stage.answers.refusals == 40);
  CHECK(stage.answers.last_refusal == "too many announces on one connection");
  CHECK(stage.answers.closed == 1);
  stage.connect(2, host(1));
  stage.announce(2);
  CHECK(stage.answers.handouts == 40);
}

TEST_CASE("a connection that is refused for its rate is served again when it has waited") {
  Stage stage;
  stage.connect(1, host(1));
  for (int i = 0; i < 50; ++i) stage.announce(1);
  CHECK(stage.answers.refusals == 11);
  stage.now += kHungryInterval + 1s;
  stage.announce(1);
  CHECK(stage.answers.handouts == 40);
  CHECK(stage.answers.closed == 0);
}

TEST_CASE("lookups count as announces do") {
  Stage stage;
  stage.connect(1, host(1));
  for (int i = 0; i < 1000; ++i) {
    stage.owner.on_message(1, Lookup{swarm_id(1), 50}, stage.now);
    stage.note();
  }
  CHECK(stage.answers.handouts == 20);
  CHECK(stage.answers.refusals == 20);
  CHECK(stage.answers.closed == 1);
}

TEST_CASE("a peer that starts and stops without end is left, and its stops are heard") {
  Stage stage;
  stage.connect(1, host(1));
  for (int i = 0; i < 1000 && stage.answers.closed == 0; ++i) {
    stage.announce(1, 1, Event::kStarted);
    stage.announce(1, 1, Event::kStopped);
    CHECK(stage.owner.table().entry_count() == 0);
  }
  CHECK(stage.answers.closed == 1);
}

TEST_CASE("a host with as many contents as a connection may have is never refused, hungry or not") {
  Stage stage;
  stage.connect(1, host(1));
  for (int round = 0; round < 5; ++round) {
    for (std::uint64_t swarm = 0; swarm < kMaxSwarmsPerConnection; ++swarm)
      stage.announce(1, swarm, round == 0 ? Event::kStarted : Event::kNone);
    stage.now += kHungryInterval;
  }
  CHECK(stage.answers.refusals == 0);
  CHECK(stage.answers.handouts == 5 * static_cast<int>(kMaxSwarmsPerConnection));
}

TEST_CASE("a thousand hungry peers behind one address are never refused") {
  Stage stage;
  for (ConnectionId id = 1; id <= 1000; ++id) stage.connect(id, host(7));
  for (int round = 0; round < 60; ++round) {
    for (ConnectionId id = 1; id <= 1000; ++id)
      stage.announce(id, 1, round == 0 ? Event::kStarted : Event::kNone);
    stage.now += kHungryInterval;
  }
  for (ConnectionId id = 1; id <= 1000; ++id) stage.announce(id, 1, Event::kCompleted);
  CHECK(stage.answers.refusals == 0);
  CHECK(stage.answers.closed == 0);
}

TEST_CASE("an address has a rate over all its connections, and none of them is left for it") {
  Stage stage(with_rate(10, 50));
  for (ConnectionId id = 1; id <= 200; ++id) {
    stage.connect(id, host(1));
    stage.announce(id);
  }
  CHECK(stage.answers.handouts == 50);
  CHECK(stage.answers.refusals == 150);
  CHECK(stage.answers.last_refusal == "too many announces from one address (10 a second)");
  CHECK(stage.owner.table().entry_count() == 50);
  stage.connect(900, host(2));
  stage.announce(900);
  CHECK(stage.answers.handouts == 51);
  stage.now += 1s;
  for (ConnectionId id = 1; id <= 200; ++id) stage.announce(id);
  CHECK(stage.answers.handouts == 61);
  CHECK(stage.answers.closed == 0);
}

TEST_CASE("loopback has no rate of announces unless it is asked for") {
  OwnerConfig config = with_rate(10, 50);
  const auto refused = [&config] {
    Stage stage(config);
    stage.connect(1, address("127.0.0.1"));
    for (int i = 0; i < 60; ++i) stage.announce(1);
    return stage.answers.refusals;
  };
  CHECK(refused() == 0);
  config.limits_loopback = true;
  CHECK(refused() == 21);
}

TEST_CASE("an address may found so many contents, and more when others of it are gone") {
  OwnerConfig config = with_rate(0, 0);
  config.limits.swarms_per_address = 10;
  Stage stage(config);
  stage.connect(1, host(1));
  stage.connect(2, host(2));
  for (std::uint64_t swarm = 1; swarm <= 15; ++swarm) stage.announce(1, swarm);
  CHECK(stage.answers.handouts == 10);
  CHECK(stage.answers.last_refusal == "too many contents from one address (10)");
  // A content of somebody else is none of its own.
  stage.announce(2, 15);
  stage.announce(1, 15);
  CHECK(stage.answers.handouts == 12);
  // The founder goes first, and is freed with the last.
  stage.announce(2, 1);
  stage.announce(1, 1, Event::kStopped);
  stage.announce(1, 20);
  CHECK(stage.answers.refusals == 6);
  stage.announce(2, 1, Event::kStopped);
  stage.announce(1, 20);
  CHECK(stage.answers.refusals == 6);
  CHECK(stage.owner.table().swarm_count() == 11);
}

TEST_CASE("an IPv6 network has the entries and contents of ten addresses, whatever its hosts") {
  OwnerConfig config = with_rate(0, 0);
  config.limits.entries_per_address = 20;
  config.limits.swarms_per_address = 5;
  Stage stage(config);
  const auto flood = [&](const std::string& prefix, auto swarm_of) {
    for (int i = 1; i <= 300; ++i) {
      const ConnectionId id = static_cast<ConnectionId>(i) + 1000 * prefix.size();
      stage.connect(id, address(prefix + std::to_string(i)));
      stage.announce(id, swarm_of(static_cast<std::uint64_t>(i)));
    }
  };
  flood("2001:db8::", [](std::uint64_t) { return 1u; });
  CHECK(stage.owner.table().entry_count() == 200);
  CHECK(stage.answers.last_refusal == "too many entries from one address (200)");
  flood("2001:db8:1::", [](std::uint64_t i) { return i + 1; });
  CHECK(stage.owner.table().swarm_count() == 51);
  CHECK(stage.answers.last_refusal == "too many contents from one address (50)");
}
