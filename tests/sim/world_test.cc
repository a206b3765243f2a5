// Small clusters, one fault at a time: they complete, and what goes wrong is noticed.
#include "tools/sim/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <string>

#include "tools/sim/report.h"

using namespace p2p;
using namespace p2p::sim;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

// 24 peers, 60 chunks of 64 KiB, links of 1 MB/s: the fluid bound is 3.93 s.
Scenario small(const std::function<void(Scenario&)>& change = [](Scenario&) {}) {
  Scenario scenario;
  scenario.peers = 24;
  scenario.chunk_bytes = kMinChunkBytes;
  scenario.size_bytes = 60 * kMinChunkBytes;
  scenario.up = scenario.down = 1e6;
  change(scenario);
  const Status status = check(scenario);
  REQUIRE(status);
  return scenario;
}

struct Run {
  Report report;
  std::vector<HostReport> hosts;
};

Run run(const Scenario& scenario, Duration limit = minutes(10)) {
  World world(scenario);
  world.run(limit);
  return {make_report(world, 1.0), world.hosts()};
}

// The text of Broken; empty where nothing is.
std::string broken(const Scenario& scenario, Duration limit) {
  try {
    World(scenario).run(limit);
  } catch (const Broken& what) {
    return what.what();
  }
  return "";
}

std::size_t count(const Run& run, bool HostReport::*what) {
  std::size_t number = 0;
  for (const HostReport& host : run.hosts) number += host.*what;
  return number;
}

}  // namespace

TEST_CASE("the same seed gives the same run, another seed another") {
  const auto hash = [](std::uint64_t seed) {
    return run(small([&](Scenario& s) {
             s.seed = seed;
             s.churn = 0.2;
             s.loss = 0.01;
             s.liars = 0.1;
           }))
        .report.trace_hash;
  };
  CHECK(hash(1) == hash(1));
  CHECK(hash(1) != hash(2));
}

TEST_CASE("a small swarm completes by the tracker, by the seeders, and by both") {
  for (const auto& [tracker, direct] : {std::pair{true, true}, {true, false}, {false, true}}) {
    CAPTURE(tracker, direct);
    const Run one = run(small([&](Scenario& s) {
      s.tracker = tracker;
      s.direct = direct;
    }));
    CHECK(one.report.completed == 24);
    CHECK(one.report.all.max >= one.report.bound_fluid_s);
    CHECK(one.report.all.max < 3 * one.report.bound_fluid_s);
    CHECK(one.report.seeder_copies < 3);
  }
}

TEST_CASE("one peer completes at the speed of its link") {
  const Run one = run(small([](Scenario& s) { s.peers = 1; }));
  CHECK(one.report.completed == 1);
  CHECK(one.report.share_fluid > 0.9);
  CHECK(one.report.seeder_copies == Approx(1));
}

TEST_CASE("one chunk, and a content of one byte, complete") {
  for (std::uint64_t size : {std::uint64_t{kMinChunkBytes}, std::uint64_t{1}})
    CHECK(run(small([&](Scenario& s) { s.size_bytes = size; })).report.completed == 24);
}

TEST_CASE("peers that are killed and come back go on from what they had") {
  for (bool at_once : {false, true}) {
    CAPTURE(at_once);
    const Run one = run(small([&](Scenario& s) {
      s.churn = 0.5;
      s.churn_at_once = at_once;
      s.churn_at = {0.5, true};
      s.churn_back = seconds(1);
    }));
    CHECK(one.report.completed == 24);
    CHECK(count(one, &HostReport::killed) == 12);
    // Starting again from nothing would take it once more.
    CHECK(one.report.all.max < 4 * one.report.bound_fluid_s);
  }
}

TEST_CASE("a fetcher that the scenario kills and restarts goes on from what it had") {
  const auto killed_and_back = [](Scenario& s) {
    s.events = {{{0.5, true}, true, "fetcher-7"}, {{10, false}, false, "fetcher-7"}};
  };
  const Run one = run(small(killed_and_back));
  CHECK(one.report.completed == 24);
  CHECK(count(one, &HostReport::killed) == 1);
  CHECK(one.hosts[6].killed);
  // It misses what comes while it is away, and has no need of what it had.
  CHECK(one.hosts[6].completed > Time{} + seconds(10));
  CHECK(one.hosts[6].completed <
        Time{} + seconds(10) + 0.75 * from_seconds(one.report.bound_fluid_s));
  // Others do not wait for it, and are told apart in the figures.
  CHECK(one.report.healthy.max < 2 * one.report.bound_fluid_s);
  CHECK(one.report.all.max > 9.9);
  // Churn takes others.
  const Run more = run(small([&](Scenario& s) {
    killed_and_back(s);
    s.churn = 0.5;
  }));
  CHECK(more.report.completed == 24);
  CHECK(count(more, &HostReport::killed) == 13);
}

TEST_CASE("events that find nothing to do, do nothing") {
  const Run one = run(small([](Scenario& s) {
    s.arrive_over = seconds(2);
    s.events = {{{0, false}, false, "fetcher-24"},  // before it came
                {{0, false}, true, "fetcher-24"},
                {{2.5, false}, false, "fetcher-24"},  // while it runs
                {{1, false}, false, "tracker"},
                {{1e4, false}, true, "fetcher-1"}};  // after all
  }));
  CHECK(one.report.completed == 24);
  CHECK(one.report.all.max < 3 * one.report.bound_fluid_s);
  CHECK(one.hosts[23].killed);  // named, as the lab counts them
}

TEST_CASE("a fetcher that the scenario kills for good is named as not complete") {
  const std::string text = broken(small([](Scenario& s) {
                                    s.events = {{{0.5, true}, true, "fetcher-7"}};
                                  }),
                                  seconds(60));
  CHECK(text.find("1 peers are not complete after") != std::string::npos);
  CHECK(text.find("host 6 has ") != std::string::npos);
  CHECK(text.find(" and does not run") != std::string::npos);
}

TEST_CASE("the tracker goes and comes back as the scenario lists it") {
  const auto outage = [](const std::string& back) {
    return small([&](Scenario& s) {
      s.direct = false;
      s.arrive_over = seconds(4);
      s.events = {{{0.1, true}, true, "tracker"}, {*parse_moment(back), false, "tracker"}};
    });
  };
  const Run one = run(outage("90%"));
  CHECK(one.report.completed == 24);
  CHECK(count(one, &HostReport::killed) == 0);
  // Who comes later finds nobody until it is back.
  CHECK(run(outage("60s")).report.last_s > 60);
}

TEST_CASE("slow peers need their time, and the others do not wait for them") {
  const Run one = run(small([](Scenario& s) {
    s.slow = 0.25;
    s.slow_rate = 1e5;
  }));
  CHECK(one.report.completed == 24);
  CHECK(count(one, &HostReport::slow) == 6);
  CHECK(one.report.bound_fluid_s == Approx(39.3).epsilon(0.01));
  CHECK(one.report.all.max >= one.report.bound_fluid_s);
  CHECK(one.report.healthy.max < one.report.all.max / 2);
}

TEST_CASE("liars are banned by all, and the honest complete") {
  const Run one = run(small([](Scenario& s) { s.liars = 0.25; }));
  CHECK(count(one, &HostReport::liar) == 6);
  std::size_t honest = 0;
  for (const HostReport& host : one.hosts)
    honest += !host.seeder && !host.liar && host.completed != kNever;
  CHECK(honest == 18);
}

TEST_CASE("a swarm goes on while the tracker is down") {
  const Run one = run(small([](Scenario& s) {
    s.has_tracker_down = true;
    s.tracker_from = {0.1, true};
    s.tracker_to = {0.9, true};
    s.direct = false;
    s.arrive_over = seconds(4);
  }));
  CHECK(one.report.completed == 24);
}

TEST_CASE("racks carry little more than the copies that must cross") {
  const Run one = run(small([](Scenario& s) {
    s.racks = 4;
    s.rack_rate = 3e6;
  }));
  CHECK(one.report.completed == 24);
  CHECK(one.report.cross_rack_copies >= 0.7);  // one rack has the seeder
  CHECK(one.report.cross_rack_copies <= 6);    // each rack has 6 peers
}

TEST_CASE("peers that come by and by complete, each in its own time") {
  const Run poisson = run(small([](Scenario& s) {
    s.arrival = Scenario::Arrival::kPoisson;
    s.arrive_rate = 4;
  }));
  CHECK(poisson.report.completed == 24);
  CHECK(poisson.report.last_s > poisson.report.all.max);
  const Run spread = run(small([](Scenario& s) { s.arrive_over = seconds(20); }));
  CHECK(spread.report.completed == 24);
  CHECK(spread.report.last_s >= 19);
  for (const HostReport& host : spread.hosts)
    if (!host.seeder) CHECK(host.completed > host.arrived);
}

TEST_CASE("disks that lose chunks, and slow disks, hold nobody up for ever") {
  const Run faults = run(small([](Scenario& s) {
    s.disk_faults = 0.25;
    s.linger = seconds(5);
  }));
  CHECK(faults.report.completed == 24);
  const Run slow = run(small([](Scenario& s) { s.disk = 5e5; }));
  CHECK(slow.report.completed == 24);
  CHECK(slow.report.all.max > 60 * kMinChunkBytes / 5e5);
}

TEST_CASE("a crowd at a seeder whose chunks take longer than neighbours settle is served") {
  Scenario scenario;
  scenario.peers = 59;
  scenario.chunk_bytes = 4 * kMinChunkBytes;
  scenario.size_bytes = scenario.chunk_bytes + 40'000;
  scenario.up = scenario.down = 100e3;
  scenario.seed_up = 75e3;
  scenario.arrive_over = seconds(4);
  scenario.linger = milliseconds(750);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    scenario.seed = seed;
    REQUIRE(check(scenario));
    CHECK(run(scenario).report.completed == 59);
  }
}

TEST_CASE("late messages make a swarm slower, and it completes") {
  const Run one = run(small([](Scenario& s) {
    s.loss = 0.1;
    s.latency = milliseconds(30);
  }));
  CHECK(one.report.completed == 24);
}

TEST_CASE("between racks that are zones little crosses, and no rack waits for it") {
  const auto racks = [](bool zones) {
    return run(small([&](Scenario& s) {
      s.peers = 120;
      s.size_bytes = 200 * kMinChunkBytes;
      s.racks = 4;
      s.rack_rate = 3e6;  // a tenth of what a rack's hosts could send
      s.zones = zones;
    }));
  };
  const Run blind = racks(false);
  const Run zoned = racks(true);
  CHECK(blind.report.cross_rack_copies > 6);
  CHECK(zoned.report.cross_rack_copies < 3);
  CHECK(zoned.report.all.max < blind.report.all.max);
  const auto [first, last] =
      std::minmax_element(zoned.report.rack_last_s.begin(), zoned.report.rack_last_s.end());
  CHECK(*last < 1.15 * *first);
}

TEST_CASE("no rack is cut off: gateways are killed, racks are single hosts, owners go away") {
  for (const auto& [tracker, direct] : {std::pair{true, true}, {true, false}, {false, true}}) {
    for (const std::uint32_t racks : {2u, 5u, 24u}) {
      CAPTURE(tracker, direct, racks);
      const Run one = run(small([&](Scenario& s) {
        s.tracker = tracker;
        s.direct = direct;
        s.racks = racks;
        s.rack_rate = 1e6;
        s.churn = 0.5;
        s.has_tracker_down = tracker;
        s.tracker_from = {0.3, true};
        s.tracker_to = {0.6, true};
      }));
      CHECK(one.report.completed == 24);
    }
  }
}

TEST_CASE("a rack whose gateways come back late is fed by those who take their place") {
  // The first hosts are the gateways; a third of all is gone for longer than all needs.
  const Run one = run(small([](Scenario& s) {
    s.racks = 4;
    s.rack_rate = 2e6;
    s.direct = false;
    s.churn = 0.33;
    s.churn_at_once = true;
    s.churn_at = {0.2, true};
    s.churn_back = seconds(100);
  }));
  CHECK(one.report.completed == 24);
  CHECK(one.report.healthy.max < 30);
}

TEST_CASE("peers that are not complete in time are an error, and named") {
  const std::string text = broken(small(), seconds(2));
  CHECK(text.find("24 peers are not complete after") != std::string::npos);
  CHECK(text.find("host 0") != std::string::npos);
}

TEST_CASE("peers that can find nobody are an error") {
  const std::string text = broken(small([](Scenario& s) {
                                    s.direct = false;
                                    s.has_tracker_down = true;
                                    s.tracker_from = {0, false};
                                    s.tracker_to = {1e5, false};
                                  }),
                                  minutes(5));
  CHECK(text.find("24 peers are not complete") != std::string::npos);
}
