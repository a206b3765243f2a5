// Reports of peers while somebody looks at their swarm, at the owner and at the peer.
#include <catch2/catch.hpp>

#include "tests/tracker/support.h"
#include "tracker/owner.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

Report report_of(const SwarmId& swarm, std::uint32_t have_chunks, std::uint64_t down = 0) {
  Report report;
  report.swarm = swarm;
  report.bytes = 400;
  report.chunks = 4;
  report.have_chunks = have_chunks;
  report.down_rate = down;
  report.columns = Bytes(4, 0);
  return report;
}

struct Fixture {
  Fixture() : owner({}, Random(1), kStart) {}

  // Connection n is peer n at host(n).
  void join(std::uint64_t first, std::uint64_t n, const SwarmId& swarm = kSwarm,
            bool complete = false) {
    for (std::uint64_t id = first; id < first + n; ++id) {
      owner.on_connected(id, peer_id(id), host(static_cast<std::uint32_t>(id)), now);
      Announce announce = announce_of(swarm, Event::kStarted, 4000, 0);
      announce.complete = complete;
      owner.on_message(id, announce, now);
    }
    drain(owner);
  }
  // Who is asked to report by looking, and nothing else is sent.
  std::vector<ConnectionId> look(const SwarmId& swarm = kSwarm) {
    owner.watch(swarm, now);
    std::vector<ConnectionId> asked;
    for (const auto& action : drain(owner)) {
      const auto& send = std::get<SendMessage>(action);
      CHECK(std::get<Watch>(send.message) == Watch{swarm, kWatchFor});
      asked.push_back(send.connection);
    }
    return asked;
  }
  void report(ConnectionId id, const Report& what) { owner.on_message(id, what, now); }
  const WatchedPeer& peer(std::uint64_t number, const SwarmId& swarm = kSwarm) {
    REQUIRE(owner.watched(swarm) != nullptr);
    return owner.watched(swarm)->peers.at(peer_id(number));
  }

  Owner owner;
  Time now = kStart;
};

struct Peer {
  Peer() : announcer(config(), Random(1), kStart) {
    drain(announcer);
    announcer.on_owner_connected(0, now);
    announcer.on_message(0, Handout{kSwarm, 30s, {}}, now);
    drain(announcer);
  }
  static AnnouncerConfig config() {
    AnnouncerConfig config;
    config.swarm = kSwarm;
    config.owners = first_owners(1);
    return config;
  }
  std::size_t reports() {
    std::size_t found = 0;
    for (const auto& action : drain(announcer)) found += std::holds_alternative<ReportTo>(action);
    return found;
  }
  // Lets time pass, with every timer on its way, and counts the reports.
  std::size_t reports_within(Duration time) {
    const Time end = now + time;
    std::size_t found = 0;
    while (announcer.next_timeout() <= end) {
      now = std::max(now, announcer.next_timeout());
      announcer.on_timeout(now);
      for (const auto& action : drain(announcer)) {
        found += std::holds_alternative<ReportTo>(action);
        if (std::holds_alternative<SendToOwner>(action))
          announcer.on_message(0, Handout{kSwarm, 30s, {}}, now);
      }
    }
    now = end;
    return found;
  }

  Announcer announcer;
  Time now = kStart;
};

}  // namespace

TEST_CASE("nobody is asked to report while nobody looks, and a report unasked is ignored") {
  Fixture f;
  f.join(1, 3);
  f.report(1, report_of(kSwarm, 2));
  CHECK(drain(f.owner).empty());
  CHECK(f.owner.watched(kSwarm) == nullptr);
  CHECK(f.owner.table().find(kSwarm, peer_id(1))->have_percent == 0);
}

TEST_CASE("who looks at a swarm has its peers asked, at once and again before the lease is over") {
  Fixture f;
  f.join(1, 3);
  CHECK(f.look().size() == 3);
  std::size_t asked = 0;
  for (int second = 0; second < 60; ++second) {
    f.now += 1s;
    asked += f.look().size();
    for (std::uint64_t n = 1; n <= 3; ++n) CHECK(f.peer(n).asked_until > f.now);
  }
  CHECK(asked <= 3 * 12);
}

TEST_CASE("looking many times a second asks no more often") {
  Fixture f;
  f.join(1, 3);
  CHECK(f.look().size() == 3);
  for (int i = 0; i < 1000; ++i) {
    f.now += 1ms;
    CHECK(f.look().empty());
  }
}

TEST_CASE("a newcomer of a watched swarm is asked within a second") {
  Fixture f;
  f.join(1, 1);
  f.look();
  f.join(2, 1);
  f.now += kWatchLook;
  CHECK(f.look() == std::vector<ConnectionId>{2});
}

TEST_CASE("nobody who looks any more: what was reported is forgotten, and nobody is asked") {
  Fixture f;
  f.join(1, 2);
  f.look();
  f.report(1, report_of(kSwarm, 2));
  CHECK(f.peer(1).report == report_of(kSwarm, 2));
  f.now += kWatchFor;
  f.owner.on_timeout(f.now);
  CHECK(f.owner.watched(kSwarm) == nullptr);
  CHECK(drain(f.owner).empty());
}

TEST_CASE("a report is kept, its best rates too, and lookups know how much the peer has") {
  Fixture f;
  f.join(1, 1);
  f.look();
  f.report(1, report_of(kSwarm, 1, 900));
  f.now += kReportInterval;
  f.report(1, report_of(kSwarm, 3, 100));
  CHECK(f.peer(1).report == report_of(kSwarm, 3, 100));
  CHECK(f.peer(1).best_down == 900);
  CHECK(f.peer(1).down == 500);
  CHECK(f.owner.table().find(kSwarm, peer_id(1))->have_percent == 75);
}

TEST_CASE("a report does not make a peer complete: its announce does") {
  Fixture f;
  f.join(1, 1);
  f.look();
  f.report(1, report_of(kSwarm, 4));
  CHECK(f.owner.table().find(kSwarm, peer_id(1))->have_percent == 99);
  CHECK(f.owner.table().complete_count(kSwarm) == 0);
}

TEST_CASE("a report too soon, of another swarm or from who was not asked is ignored") {
  Fixture f;
  f.join(1, 1);
  f.look();
  f.join(2, 1);
  f.join(3, 1, swarm_id(2));
  f.report(1, report_of(kSwarm, 1));
  f.report(1, report_of(kSwarm, 2));
  f.report(2, report_of(kSwarm, 2));
  f.report(3, report_of(kSwarm, 2));
  f.report(1, report_of(swarm_id(2), 2));
  CHECK(f.peer(1).report == report_of(kSwarm, 1));
  CHECK(f.owner.watched(kSwarm)->peers.size() == 1);
  CHECK(drain(f.owner).empty());
}

TEST_CASE("who floods reports is left, as who floods announces is") {
  Fixture f;
  f.join(1, 1);
  f.look();
  std::size_t closed = 0;
  for (int i = 0; i < 1000; ++i) {
    f.report(1, report_of(kSwarm, 1));
    for (const auto& action : drain(f.owner))
      closed += std::holds_alternative<CloseConnection>(action);
  }
  CHECK(closed == 1);
}

TEST_CASE("a peer that goes is not shown any more") {
  Fixture f;
  f.join(1, 2);
  f.look();
  f.owner.on_disconnected(1, f.now);
  f.now += kWatchLook;
  f.look();
  CHECK(f.owner.watched(kSwarm)->peers.size() == 1);
}

TEST_CASE("of a large swarm a bounded number of peers is asked, and they stay the same") {
  Fixture f;
  f.join(1, 1000);
  CHECK(f.look().size() == kMaxWatchedPeers);
  const auto before = f.owner.watched(kSwarm)->peers;
  f.now += kWatchLook;
  f.look();
  const auto& after = f.owner.watched(kSwarm)->peers;
  REQUIRE(after.size() == kMaxWatchedPeers);
  for (const auto& [peer, of] : before) CHECK(after.contains(peer));
}

TEST_CASE("so many swarms are watched at once, and so many peers over all of them") {
  Fixture f;
  constexpr std::uint64_t kSwarms = 20;
  for (std::uint64_t n = 0; n < kSwarms; ++n) f.join(1 + n * 300, 300, swarm_id(n));
  std::size_t asked = 0;
  for (std::uint64_t n = 0; n < kSwarms; ++n) {
    f.now += 1ms;
    asked += f.look(swarm_id(n)).size();
  }
  std::size_t swarms = 0, peers = 0;
  for (std::uint64_t n = 0; n < kSwarms; ++n)
    if (const WatchedSwarm* watched = f.owner.watched(swarm_id(n)))
      ++swarms, peers += watched->peers.size();
  CHECK(swarms == kMaxWatchedSwarms);
  CHECK(peers <= kMaxWatchedPeersInAll);
  CHECK(f.owner.watched(swarm_id(kSwarms - 1)) != nullptr);
  CHECK(f.owner.watched(swarm_id(0)) == nullptr);
  CHECK(asked <= 2 * kMaxWatchedPeersInAll);
}

TEST_CASE("a swarm that is not there cannot be watched") {
  Fixture f;
  CHECK(f.look(swarm_id(7)).empty());
  CHECK(f.owner.watched(swarm_id(7)) == nullptr);
}

TEST_CASE("a peer reports at once when it is asked, then in every interval of the lease") {
  Peer p;
  CHECK(p.reports_within(60s) == 0);
  p.announcer.on_message(0, Watch{kSwarm, 10s}, p.now);
  CHECK(p.reports() == 1);
  CHECK(p.reports_within(60s) == 5);
}

TEST_CASE("asked again in time, a peer goes on in the same rhythm") {
  Peer p;
  p.announcer.on_message(0, Watch{kSwarm, 10s}, p.now);
  std::size_t reports = p.reports();
  for (int i = 0; i < 10; ++i) {
    reports += p.reports_within(1s);
    p.announcer.on_message(0, Watch{kSwarm, 10s}, p.now);
  }
  CHECK(reports + p.reports() == 6);
}

TEST_CASE("no owner is reported to for longer than it may ask for") {
  Peer p;
  p.announcer.on_message(0, Watch{kSwarm, 10h}, p.now);
  CHECK(p.reports() + p.reports_within(1h) == 1 + kMaxWatchLease / kReportInterval);
}

TEST_CASE(
    "a peer reports to nobody whose connection has gone, of another swarm, or after its end") {
  Peer p;
  p.announcer.on_message(0, Watch{swarm_id(2), 10s}, p.now);
  CHECK(p.reports() == 0);
  p.announcer.on_message(0, Watch{kSwarm, 10s}, p.now);
  CHECK(p.reports() == 1);
  p.announcer.on_owner_disconnected(0, p.now);
  CHECK(p.reports_within(300ms) == 0);
  Peer stopped;
  stopped.announcer.on_message(0, Watch{kSwarm, 10s}, stopped.now);
  stopped.reports();
  stopped.announcer.stop(stopped.now);
  stopped.reports();
  CHECK(stopped.reports_within(10s) == 0);
}

TEST_CASE("a peer takes no Report, and an owner no Watch") {
  Peer p;
  p.announcer.on_message(0, report_of(kSwarm, 1), p.now);
  CHECK(std::holds_alternative<DisconnectOwner>(drain(p.announcer).at(0)));
  Fixture f;
  f.join(1, 1);
  f.owner.on_message(1, Watch{kSwarm, 10s}, f.now);
  CHECK(std::holds_alternative<CloseConnection>(drain(f.owner).at(0)));
}
