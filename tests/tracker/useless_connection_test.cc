// Connections that hold a place at an owner, and are no use to anybody.
#include <catch2/catch.hpp>

#include "tests/tracker/support.h"
#include "tracker/owner.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

const Duration kShortestLife = std::chrono::duration_cast<Duration>(
    OwnerConfig{}.min_interval * kLifeIntervals * (1 + kIntervalJitter));

struct Stage {
  explicit Stage(OwnerConfig config = {}) : owner(std::move(config), Random(1), kStart) {
    owner.on_connected(1, peer_id(1), host(1), now);
  }

  void announce(Event event = Event::kStarted) {
    owner.on_message(1, announce_of(swarm_id(1), event, 4000, 5), now);
    note();
  }
  void look_up() {
    owner.on_message(1, Lookup{swarm_id(1), 5}, now);
    note();
  }
  void pass(Duration time) {
    for (const Time end = now + time; now < end;) {
      now = std::min(end, std::max(now, owner.next_timeout()));
      owner.on_timeout(now);
      note();
    }
  }
  void note() {
    for (const auto& action : drain(owner)) {
      closed += std::holds_alternative<CloseConnection>(action);
      if (const auto* sent = std::get_if<SendMessage>(&action))
        if (const auto* handout = std::get_if<Handout>(&sent->message))
          interval = handout->interval;
    }
  }

  Owner owner;
  Time now = kStart;
  Duration interval{};
  int closed = 0;
};

OwnerConfig serving_no_swarm() {
  OwnerConfig config;
  config.own_swarms_only = true;
  return config;
}

}  // namespace

TEST_CASE("a connection that is only ever refused is closed") {
  Stage stage(serving_no_swarm());
  for (int i = 0; i < 6; ++i) {
    stage.announce();
    stage.pass(kShortestLife / 2);
  }
  CHECK(stage.closed == 1);
  CHECK(stage.owner.next_timeout() == kNever);
}

TEST_CASE("a connection that asked once, and goes on to say nothing, is closed") {
  Stage stage;
  stage.look_up();
  stage.pass(kShortestLife);
  CHECK(stage.closed == 0);
  stage.pass(3 * kShortestLife);
  CHECK(stage.closed == 1);
}

TEST_CASE("a connection that stopped what it had announced is closed when it stays") {
  Stage stage;
  stage.announce();
  stage.announce(Event::kStopped);
  stage.pass(4 * kShortestLife);
  CHECK(stage.closed == 1);
}

TEST_CASE("who announces at the interval that it is told stays, however long that is") {
  for (const Duration interval : {30s, 3600s}) {
    OwnerConfig config;
    config.max_interval = interval;
    config.announces_per_second = 0.0001;
    Stage stage(config);
    stage.announce();
    for (int i = 0; i < 20; ++i) {
      stage.pass(stage.interval);
      stage.announce(Event::kNone);
    }
    CHECK(stage.interval >= interval / 2);
    CHECK(stage.closed == 0);
    CHECK(stage.owner.table().entry_count() == 1);
  }
}

TEST_CASE("who looks up now and then stays") {
  Stage stage;
  for (int i = 0; i < 20; ++i) {
    stage.look_up();
    stage.pass(stage.interval);
  }
  CHECK(stage.closed == 0);
}

TEST_CASE("an owner whose host has slept does not close those who announced meanwhile") {
  Stage stage;
  stage.announce();
  stage.now += 1h;
  stage.owner.on_timeout(stage.now);
  stage.note();
  stage.announce(Event::kNone);
  CHECK(stage.owner.table().entry_count() == 1);
  stage.pass(stage.interval);
  CHECK(stage.closed == 0);
}

TEST_CASE("connections that came and went leave nothing to look at") {
  Stage stage;
  stage.owner.on_disconnected(1, stage.now);
  stage.pass(2 * kShortestLife);
  CHECK(stage.owner.next_timeout() == kNever);
}
