// Which owners an announcer keeps itself announced at: the best of those that work, as they fail,
// come back and are replaced; in virtual time, with owners that answer at once or not at all.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/tracker/support.h"
#include "tracker/announcer.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

constexpr Duration kInterval = 30s;

enum class Health {
  kWell,
  kDown,     // connections cannot be made
  kSilent,   // takes connections and answers nothing
  kRefuses,  // answers with a Refusal
};

class World {
 public:
  using Owners = std::set<OwnerNumber>;

  World(std::vector<OwnerNumber> ranked, std::size_t spread, std::map<OwnerNumber, Health> health)
      : health_(std::move(health)),
        announcer(config_for(std::move(ranked), spread), Random(1), now) {
    carry_out();
  }

  static AnnouncerConfig config_for(std::vector<OwnerNumber> ranked, std::size_t spread) {
    AnnouncerConfig config;
    config.swarm = kSwarm;
    config.owners = std::move(ranked);
    config.spread = spread;
    config.listen_port = 4000;
    return config;
  }

  void set_health(OwnerNumber owner, Health health) {
    health_[owner] = health;
    if (health == Health::kDown && connected_.erase(owner))
      announcer.on_owner_disconnected(owner, now);
    carry_out();
  }
  void set_owners(const std::vector<OwnerNumber>& ranked) {
    announcer.set_owners(ranked, now);
    carry_out();
  }
  void run_for(Duration duration) {
    const Time end = now + duration;
    while (announcer.next_timeout() <= end) {
      now = std::max(now, announcer.next_timeout());
      announcer.on_timeout(now);
      carry_out();
    }
    now = end;
  }
  // Connections are made and answered; what was said is kept in `said`.
  void carry_out() {
    while (auto action = announcer.poll_action()) {
      if (const auto* connect = std::get_if<ConnectOwner>(&*action)) {
        ++dials[connect->owner];
        if (held.contains(connect->owner)) continue;
        finish_connecting(connect->owner);
      } else if (const auto* disconnect = std::get_if<DisconnectOwner>(&*action)) {
        connected_.erase(disconnect->owner);
      } else if (const auto* left = std::get_if<LeaveOwner>(&*action)) {
        connected_.erase(left->owner);
      } else if (const auto* send = std::get_if<SendToOwner>(&*action)) {
        hear(send->owner, std::get<Announce>(send->message));
      }
    }
  }
  void finish_connecting(OwnerNumber owner) {
    if (health_[owner] == Health::kDown) return announcer.on_owner_disconnected(owner, now);
    connected_.insert(owner);
    announcer.on_owner_connected(owner, now);
  }
  // Who has us in its table and a connection to us.
  Owners listed_at() const {
    Owners owners;
    for (const OwnerNumber owner : connected_)
      if (listed_.contains(owner)) owners.insert(owner);
    return owners;
  }
  const Owners& connected() const { return connected_; }
  std::map<OwnerNumber, std::vector<Event>> said_since() { return std::exchange(said, {}); }

  Time now = kStart;
  std::map<OwnerNumber, std::vector<Event>> said;
  std::map<OwnerNumber, int> dials;
  Owners held;  // connections to these are being made until finish_connecting()

 private:
  void hear(OwnerNumber owner, const Announce& announce) {
    REQUIRE(connected_.contains(owner));
    said[owner].push_back(announce.event);
    if (announce.event == Event::kStopped) {
      listed_.erase(owner);
    } else if (health_[owner] == Health::kWell) {
      listed_.insert(owner);
      announcer.on_message(owner, Handout{kSwarm, kInterval, {}}, now);
    } else if (health_[owner] == Health::kRefuses) {
      announcer.on_message(owner, Refusal{kSwarm, "the table is full"}, now);
    }
  }

  std::map<OwnerNumber, Health> health_;
  Owners connected_, listed_;

 public:
  Announcer announcer;
};

using Owners = World::Owners;
using Said = std::vector<Event>;

// Long enough for any owner that came back to be tried again.
constexpr Duration kRetried = kLastRetry + 1s;

}  // namespace

TEST_CASE("an announcer is announced at the best of its owners, and at no other") {
  World w({4, 2, 7}, 2, {});
  CHECK(w.listed_at() == Owners{4, 2});
  w.run_for(10min);
  CHECK(w.listed_at() == Owners{4, 2});
  CHECK_FALSE(w.dials.contains(7));
}

TEST_CASE("a spread of 0, or one of as many as there are, is all owners") {
  for (const std::size_t spread : {0, 3, 10})
    CHECK(World({0, 1, 2}, spread, {}).listed_at().size() == 3);
}

TEST_CASE("an owner that fails is passed over at once, however it fails") {
  const auto [health, within] =
      GENERATE(std::pair<Health, Duration>{Health::kDown, 0s},
               std::pair<Health, Duration>{Health::kRefuses, 0s},
               std::pair<Health, Duration>{Health::kSilent, kAnswerTimeout});
  SECTION("from the start") {
    World w(first_owners(3), 2, {{0, health}});
    w.run_for(within);
    CHECK(w.listed_at() == Owners{1, 2});
  }
  SECTION("while it is announced at") {
    World w(first_owners(3), 2, {});
    REQUIRE(w.listed_at() == Owners{0, 1});
    w.set_health(0, health);
    // An owner that keeps the connection is found out with the next announce.
    w.run_for(health == Health::kDown ? 0s : kInterval + within);
    CHECK(w.listed_at().contains(2));
    CHECK(w.listed_at().contains(1));
  }
}

TEST_CASE("an owner that is well again is taken back, and then the lowest in rank is left") {
  World w(first_owners(4), 2, {{0, Health::kDown}, {1, Health::kDown}});
  REQUIRE(w.listed_at() == Owners{2, 3});
  w.said_since();
  w.set_health(0, Health::kWell);
  w.run_for(kRetried);
  CHECK(w.listed_at() == Owners{0, 2});
  CHECK(w.said_since()[3].back() == Event::kStopped);
  w.set_health(1, Health::kWell);
  w.run_for(kRetried);
  CHECK(w.listed_at() == Owners{0, 1});
  CHECK(w.connected() == Owners{0, 1});
  CHECK(w.said_since()[2].back() == Event::kStopped);
}

TEST_CASE("the one that stands in is kept until the better one has answered") {
  World w(first_owners(3), 2, {{0, Health::kDown}});
  REQUIRE(w.listed_at() == Owners{1, 2});
  // It takes connections again and does not answer.
  w.set_health(0, Health::kSilent);
  w.run_for(10min);
  CHECK(w.listed_at() == Owners{1, 2});
  const auto said = w.said_since();
  for (const Event event : said.at(2)) CHECK(event != Event::kStopped);
  w.set_health(0, Health::kWell);
  w.run_for(kRetried + kAnswerTimeout);
  CHECK(w.listed_at() == Owners{0, 1});
}

TEST_CASE("a failed owner is tried again with waits that grow, while others stand in") {
  World w(first_owners(3), 2, {{0, Health::kDown}});
  w.run_for(10min);
  // 0.5, 1, 2 ... 16 s, then 20, each between its half and the whole.
  CHECK(w.dials[0] > 30);
  CHECK(w.dials[0] < 70);
  CHECK(w.dials[1] == 1);
  CHECK(w.dials[2] == 1);
}

TEST_CASE("when all owners are down and come up again, the best are announced at again") {
  World w(first_owners(4), 2, {});
  for (OwnerNumber owner = 0; owner < 4; ++owner) w.set_health(owner, Health::kDown);
  CHECK(w.connected().empty());
  w.run_for(5min);
  for (OwnerNumber owner = 4; owner-- > 0;) {
    w.set_health(owner, Health::kWell);
    w.run_for(kRetried);
    // Whatever works is used meanwhile.
    CHECK(w.listed_at() == (owner == 3 ? Owners{3} : Owners{owner, owner + 1}));
  }
  CHECK(w.connected() == Owners{0, 1});
}

TEST_CASE("an owner that was left is tried afresh when it is needed again") {
  World w(first_owners(3), 2, {{0, Health::kDown}});
  w.set_health(0, Health::kWell);
  w.run_for(kRetried);
  REQUIRE(w.connected() == Owners{0, 1});
  w.said_since();
  w.set_health(1, Health::kDown);
  CHECK(w.listed_at() == Owners{0, 2});
  CHECK(w.said_since()[2] == Said{Event::kStarted});
}

TEST_CASE("other owners may be named while it runs, and those that stay keep their connection") {
  World w({1, 2, 3}, 2, {});
  w.said_since();
  SECTION("a better one comes") {
    w.held = {9};
    w.set_owners({9, 1, 2, 3});
    CHECK(w.listed_at() == Owners{1, 2});
    CHECK(w.said_since().empty());
    w.finish_connecting(9);
    w.carry_out();
    CHECK(w.listed_at() == Owners{9, 1});
    CHECK(w.said_since()[2] == Said{Event::kStopped});
  }
  SECTION("a better one comes and does not work") {
    w.held = {9};
    w.set_owners({9, 1, 2, 3});
    w.set_health(9, Health::kDown);
    w.finish_connecting(9);
    w.carry_out();
    CHECK(w.listed_at() == Owners{1, 2});
    CHECK(w.said_since().empty());
  }
  SECTION("one goes") {
    w.set_owners({2, 3});
    auto said = w.said_since();
    CHECK(said[1] == Said{Event::kStopped});
    CHECK(said[3] == Said{Event::kStarted});
    CHECK_FALSE(said.contains(2));
    CHECK(w.connected() == Owners{2, 3});
  }
  SECTION("the order changes") {
    w.set_owners({3, 2, 1});
    CHECK(w.listed_at() == Owners{2, 3});
    CHECK(w.dials[2] == 1);
  }
  SECTION("all go, and come back") {
    w.set_owners({});
    CHECK(w.connected().empty());
    CHECK(w.announcer.next_timeout() == kNever);
    w.set_owners({1, 2, 3});
    CHECK(w.listed_at() == Owners{1, 2});
  }
}

TEST_CASE("an owner that goes while it is connected to is left, also when it comes up late") {
  World w({1, 2}, 2, {});
  w.held = {9};
  w.set_owners({9, 1, 2});
  w.set_owners({1, 2});
  w.said_since();
  w.finish_connecting(9);
  w.carry_out();
  CHECK(w.said_since().empty());
  CHECK(w.connected() == Owners{1, 2});
  // Nor does its end, or a message of it, mean anything.
  w.announcer.on_owner_disconnected(9, w.now);
  w.announcer.on_message(9, Announce{}, w.now);
  CHECK_FALSE(w.announcer.poll_action());
}

TEST_CASE("completion is told to each owner that is connected, the failed ones too, and once") {
  World w(first_owners(4), 2, {{0, Health::kRefuses}});
  REQUIRE(w.connected() == Owners{0, 1, 2});
  w.said_since();
  w.announcer.set_progress(kFullPermille, true, w.now);
  w.carry_out();
  CHECK(w.said_since() == std::map<OwnerNumber, Said>{{0, {Event::kCompleted}},
                                                      {1, {Event::kCompleted}},
                                                      {2, {Event::kCompleted}}});
  w.announcer.set_progress(kFullPermille, true, w.now);
  w.carry_out();
  CHECK(w.said_since().empty());
}

TEST_CASE("stopped is told to each owner that is connected, and no owner is chosen after it") {
  World w(first_owners(4), 2, {{0, Health::kRefuses}});
  w.said_since();
  w.announcer.stop(w.now);
  w.carry_out();
  CHECK(w.said_since() == std::map<OwnerNumber, Said>{{0, {Event::kStopped}},
                                                      {1, {Event::kStopped}},
                                                      {2, {Event::kStopped}}});
  w.announcer.on_owner_disconnected(1, w.now);
  w.set_owners({3, 2});
  w.run_for(10min);
  CHECK(w.said_since().empty());
  CHECK_FALSE(w.dials.contains(3));
}
