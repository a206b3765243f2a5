#include "tracker/swarm_view.h"

#include <catch2/catch.hpp>

#include "tests/tracker/support.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

struct Fixture {
  Fixture() : owner({}, Random(1), kStart) {}

  void join(std::uint64_t id, bool complete = false) {
    owner.on_connected(id, peer_id(id), host(static_cast<std::uint32_t>(id)), now);
    Announce announce = announce_of(kSwarm, Event::kStarted, 4000, 0);
    announce.complete = complete;
    owner.on_message(id, announce, now);
    look();
  }
  void look() {
    owner.watch(kSwarm, now += kWatchLook);
    drain(owner);
  }
  void report(std::uint64_t id, std::uint32_t have, std::uint64_t down, std::uint64_t up,
              const std::string& name = "a.iso") {
    owner.on_message(id, Report{kSwarm, name, 1000, 100, have, down, up, Bytes(64, 0)}, now);
    drain(owner);
  }
  SwarmView view() { return view_of(owner, kSwarm, now).value(); }

  Owner owner;
  Time now = kStart;
};

const PeerView& peer(const SwarmView& view, std::uint64_t number) {
  for (const PeerView& peer : view.peers)
    if (peer.peer == peer_id(number)) return peer;
  FAIL("no such peer");
  return view.peers.front();
}

}  // namespace

TEST_CASE("a swarm that nobody is in is not seen") {
  Fixture f;
  CHECK_FALSE(view_of(f.owner, kSwarm, f.now).has_value());
}

TEST_CASE("peers that do not report are shown with what their announces said") {
  Fixture f;
  f.join(1, true);
  f.join(2);
  const SwarmView view = f.view();
  REQUIRE(view.peers.size() == 2);
  CHECK(view.peers[0].seeds);
  CHECK(view.peers[0].percent == 100);
  CHECK(view.peers[1].percent == 0);
  CHECK(view.reporting == 0);
  CHECK(view.chunks == 0);
  CHECK_FALSE(view.limit.has_value());
}

TEST_CASE("a report that is old says nothing of now") {
  Fixture f;
  f.join(1);
  f.report(1, 50, 10, 10);
  CHECK(f.view().reporting == 1);
  for (Duration passed{}; passed <= kReportKept; passed += 1s) f.owner.watch(kSwarm, f.now += 1s);
  CHECK(f.view().reporting == 0);
  CHECK(f.view().down == 0);
}

TEST_CASE("the limit is the least of what the seeders, the slowest and all together can carry") {
  Fixture f;
  f.join(1, true);
  f.join(2);
  f.join(3);
  f.report(1, 100, 0, 100);
  f.report(2, 50, 500, 20);
  CHECK_FALSE(f.view().limit.has_value());  // one has not told
  f.report(3, 50, 500, 30);
  CHECK(f.view().limit == 150.0);  // all uplinks together
  f.now += kReportInterval;
  f.report(2, 50, 500, 500);
  CHECK(f.view().limit == 200.0);  // two take what one seeder gives
  f.now += kReportInterval;
  f.report(1, 100, 0, 2000);
  CHECK(f.view().limit == 1000.0);  // two that take 500
  CHECK(f.view().down == 1000);
}

TEST_CASE("who is far behind the median, or much slower than it, is marked") {
  Fixture f;
  f.join(1, true);
  for (std::uint64_t id = 2; id <= 6; ++id) f.join(id);
  f.report(1, 100, 0, 400);
  f.report(2, 60, 90, 0);
  f.report(3, 60, 100, 0);
  f.report(4, 65, 110, 0);
  f.report(5, 40, 100, 0);
  f.report(6, 60, 10, 0);
  const SwarmView view = f.view();
  CHECK(peer(view, 5).behind);
  CHECK_FALSE(peer(view, 5).slow);
  CHECK(peer(view, 6).slow);
  CHECK_FALSE(peer(view, 6).behind);
  for (const std::uint64_t id : {1, 2, 3, 4}) {
    CHECK_FALSE(peer(view, id).behind);
    CHECK_FALSE(peer(view, id).slow);
  }
}

TEST_CASE("of two nobody is slow") {
  Fixture f;
  f.join(1);
  f.join(2);
  f.report(1, 90, 1000, 0);
  f.report(2, 1, 1, 0);
  for (const PeerView& shown : f.view().peers) CHECK_FALSE((shown.behind || shown.slow));
}

TEST_CASE("the content is what most say it is") {
  Fixture f;
  for (std::uint64_t id = 1; id <= 3; ++id) f.join(id);
  f.report(1, 1, 1, 1, "a lie");
  f.report(2, 1, 1, 1);
  f.report(3, 1, 1, 1);
  CHECK(f.view().name == "a.iso");
  CHECK(f.view().bytes == 1000);
  CHECK(f.view().chunks == 100);
}

TEST_CASE("of a large swarm a bounded number of peers is shown") {
  Fixture f;
  for (std::uint64_t id = 1; id <= 1000; ++id) {
    f.owner.on_connected(id, peer_id(id), host(static_cast<std::uint32_t>(id)), f.now);
    f.owner.on_message(id, announce_of(kSwarm, Event::kStarted, 4000, 0), f.now);
  }
  f.look();
  CHECK(f.view().peers.size() == kMaxViewedPeers);
  CHECK(f.view().summary.peers == 1000);
}
