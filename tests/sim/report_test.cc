#include "tools/sim/report.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace p2p;
using namespace p2p::sim;

namespace {

std::vector<double> one_to(int count) {
  std::vector<double> values;
  for (int i = count; i >= 1; --i) values.push_back(i);
  return values;
}

Scenario small_scenario() {
  Scenario scenario;
  scenario.peers = 12;
  scenario.chunk_bytes = kMinChunkBytes;
  scenario.size_bytes = 40 * kMinChunkBytes;
  scenario.up = scenario.down = 1e6;
  return scenario;
}

}  // namespace

TEST_CASE("percentiles are by nearest rank") {
  const Percentiles thousand = percentiles(one_to(1000));
  CHECK(thousand.p50 == 500);
  CHECK(thousand.p99 == 990);
  CHECK(thousand.p999 == 999);
  CHECK(thousand.max == 1000);
  const Percentiles ten = percentiles(one_to(10));
  CHECK(ten.p50 == 5);
  CHECK(ten.p99 == 10);
  CHECK(ten.p999 == 10);
  CHECK(ten.max == 10);
  const Percentiles three = percentiles({3, 1, 2});
  CHECK(three.p50 == 2);
  CHECK(three.p99 == 3);
  const Percentiles one = percentiles({4});
  CHECK(one.p50 == 4);
  CHECK(one.max == 4);
  CHECK(percentiles({}).max == 0);
}

TEST_CASE("a report counts what the world did") {
  World world(small_scenario());
  world.run(std::chrono::minutes(5));
  const Report report = make_report(world, 2.0);
  CHECK(report.completed == 12);
  CHECK(report.all.p50 <= report.all.p99);
  CHECK(report.all.p99 <= report.all.max);
  CHECK(report.all.max >= report.bound_fluid_s);
  CHECK(report.last_s >= report.all.max);
  CHECK(report.bound_chunks_s > report.bound_fluid_s);
  CHECK(report.share == Approx(report.bound_chunks_s / report.all.max));
  CHECK(report.share <= 1);
  CHECK(report.seeder_copies >= 1);
  CHECK(report.seeder_copies <= 12);
  CHECK(report.wall_s == 2.0);
  CHECK(report.events == world.events());
  CHECK(report.trace_hash == world.trace_hash());
  // What was sent over the time is what was received.
  double sent = 0;
  for (double bytes : world.sent_over_time()) sent += bytes;
  for (double bytes : world.seeders_sent_over_time()) sent += bytes;
  CHECK(sent >= 12.0 * 40 * kMinChunkBytes * 0.999);
  for (const auto* slices : {&report.uplink_use, &report.seeder_use})
    for (double share : *slices) {
      CHECK(share >= 0);
      CHECK(share <= 1.01);
    }
}

TEST_CASE("the slow and the killed count among all, not among the healthy") {
  Scenario scenario = small_scenario();
  scenario.slow = 0.25;
  scenario.slow_rate = 1e5;
  World world(scenario);
  world.run(std::chrono::minutes(20));
  const Report report = make_report(world, 1.0);
  CHECK(report.completed == 12);
  CHECK(report.all.max > 20);  // the slow need that for one copy
  CHECK(report.healthy.max < report.all.max);
}

TEST_CASE("the JSON has the keys that others read, and the text the same figures") {
  const Scenario scenario = small_scenario();
  World world(scenario);
  world.run(std::chrono::minutes(5));
  const Report report = make_report(world, 0.5);
  const auto json = nlohmann::json::parse(to_json(scenario, report));
  for (const char* key :
       {"p50_s", "p99_s", "p999_s", "max_s", "bound_fluid_s", "bound_chunks_s", "share",
        "seeder_copies", "duplicate_bytes", "events_per_s", "peak_rss_bytes", "completed"}) {
    CAPTURE(key);
    REQUIRE(json.contains(key));
    CHECK(json[key].is_number());
  }
  CHECK(json["trace_hash"].get<std::string>().size() == 16);
  CHECK(json["max_s"] == report.all.max);
  CHECK(json["healthy"]["p50_s"] == report.healthy.p50);
  CHECK(json["completed"] == 12);
  CHECK(json["events_per_s"] == static_cast<double>(report.events) / 0.5);
  CHECK(json["scenario"] == to_flags(scenario));
  CHECK_FALSE(json.contains("cross_rack_copies"));
  CHECK_FALSE(json.contains("rack_last_s"));
  const std::string text = to_text(scenario, report);
  CHECK(text.find("12 of 12") != std::string::npos);
  CHECK(text.find(json["trace_hash"].get<std::string>()) != std::string::npos);
}

TEST_CASE("with racks there is a figure for each, and the last of them is the last of all") {
  Scenario scenario = small_scenario();
  scenario.racks = 3;
  scenario.rack_rate = 1e6;
  World world(scenario);
  world.run(std::chrono::minutes(5));
  const Report report = make_report(world, 0.5);
  REQUIRE(report.rack_last_s.size() == 3);
  CHECK(*std::max_element(report.rack_last_s.begin(), report.rack_last_s.end()) == report.all.max);
  CHECK(*std::min_element(report.rack_last_s.begin(), report.rack_last_s.end()) > 0);
  const auto json = nlohmann::json::parse(to_json(scenario, report));
  CHECK(json["rack_last_s"].get<std::vector<double>>() == report.rack_last_s);
  CHECK(json["cross_rack_copies"] == report.cross_rack_copies);
  CHECK(to_text(scenario, report).find("into a rack") != std::string::npos);
}
