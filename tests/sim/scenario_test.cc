#include "tools/sim/scenario.h"

#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/str_format.h"
#include "tools/sim/world.h"

using namespace p2p;
using namespace p2p::sim;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// The message of a refusal; empty where there is none.
template <typename Parse>
std::string refusal(Parse parse, const std::string& text) {
  Scenario scenario;
  const Status status = parse(text, scenario);
  return status ? "" : status.error().message;
}

std::string check_text(const std::function<void(Scenario&)>& change) {
  Scenario scenario;
  change(scenario);
  const Status status = check(scenario);
  return status ? "" : status.error().message;
}

std::string output_of(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  REQUIRE(pipe);
  std::string output;
  std::array<char, 4096> part;
  while (const std::size_t size = std::fread(part.data(), 1, part.size(), pipe.get()))
    output.append(part.data(), size);
  return output;
}

}  // namespace

TEST_CASE("a link's rate is read as any rate, and is not 0") {
  CHECK(*parse_link_rate("300MB/s") == 300e6);
  CHECK(*parse_link_rate("2.5Mbit/s") == 312500);
  for (const char* text : {"", "0MB/s", "-1MB/s", "300", "fast", "0Mbit/s"}) {
    CAPTURE(text);
    const auto rate = parse_link_rate(text);
    REQUIRE_FALSE(rate);
    CHECK(rate.error().code == ErrorCode::kUsage);
    CHECK(rate.error().message ==
          absl::StrFormat("not a rate: '%s'; write it like 300MB/s or 25Mbit/s", text));
  }
}

TEST_CASE("times are read with their unit") {
  CHECK(*parse_duration("100us") == microseconds(100));
  CHECK(*parse_duration("1ms") == milliseconds(1));
  CHECK(*parse_duration("0.5ms") == microseconds(500));
  CHECK(*parse_duration("5s") == seconds(5));
  CHECK(*parse_duration("2min") == seconds(120));
  CHECK(*parse_duration("1h") == seconds(3600));
  CHECK(*parse_duration("0s") == Duration::zero());
  for (const char* text : {"", "5", "s", "-1s", "5 s", "5sec", "1e400s", "1000000000s"}) {
    CAPTURE(text);
    const auto duration = parse_duration(text);
    REQUIRE_FALSE(duration);
    CHECK(duration.error().message.find("not a time: '") == 0);
  }
}

TEST_CASE("moments are times or shares of the bound") {
  CHECK(parse_moment("50%")->value == 0.5);
  CHECK(parse_moment("50%")->is_share);
  CHECK(parse_moment("250%")->value == 2.5);
  CHECK(parse_moment("3s")->value == 3);
  CHECK_FALSE(parse_moment("3s")->is_share);
  CHECK(parse_moment("half").error().message ==
        "not a moment: 'half'; write it like 50% (of the fluid bound) or 3s");
}

TEST_CASE("arrivals are over a time or by lot") {
  Scenario scenario;
  REQUIRE(parse_arrive("poisson:100", scenario));
  CHECK(scenario.arrival == Scenario::Arrival::kPoisson);
  CHECK(scenario.arrive_rate == 100);
  REQUIRE(parse_arrive("5s", scenario));
  CHECK(scenario.arrival == Scenario::Arrival::kSpread);
  CHECK(scenario.arrive_over == seconds(5));
  for (const char* text : {"poisson:", "poisson:0", "poisson:-1", "poisson:many"})
    CHECK(refusal(parse_arrive, text).find("not a rate of arrival") == 0);
  CHECK(refusal(parse_arrive, "soon").find("not a time") == 0);
}

TEST_CASE("churn is a share, with a moment and a pause where they are given") {
  Scenario scenario;
  REQUIRE(parse_churn("0.05", scenario));
  CHECK(scenario.churn == 0.05);
  CHECK_FALSE(scenario.churn_at_once);
  REQUIRE(parse_churn("0.25@50%+2s", scenario));
  CHECK(scenario.churn == 0.25);
  CHECK(scenario.churn_at_once);
  CHECK(scenario.churn_at.value == 0.5);
  CHECK(scenario.churn_at.is_share);
  CHECK(scenario.churn_back == seconds(2));
  Scenario in_percent;
  REQUIRE(parse_churn("25%@50%+2s", in_percent));
  CHECK(in_percent.churn == 0.25);
  CHECK(in_percent.churn_at.value == 0.5);
  Scenario without_pause;
  REQUIRE(parse_churn("1@3s", without_pause));
  CHECK(without_pause.churn_at.value == 3);
  CHECK(without_pause.churn_back == Scenario{}.churn_back);
  for (const char* text : {"", "1.5", "-0.1", "nan", "x@3s", "101%", "%", "5s"})
    CHECK(refusal(parse_churn, text).find("not a share between 0 and 1") == 0);
  CHECK(refusal(parse_churn, "0.1@").find("not a moment") == 0);
  CHECK(refusal(parse_churn, "0.1@3s+").find("not a time") == 0);
}

TEST_CASE("slow peers, tracker outages and racks are pairs") {
  Scenario scenario;
  REQUIRE(parse_slow("0.1:2.5Mbit/s", scenario));
  CHECK(scenario.slow == 0.1);
  CHECK(scenario.slow_rate == 312500);
  CHECK(refusal(parse_slow, "0.1") == "not a share and a rate: '0.1'; write it like 0.1:2.5Mbit/s");
  CHECK(refusal(parse_slow, "2:1MB/s").find("not a share") == 0);
  CHECK(refusal(parse_slow, "0.1:").find("not a rate") == 0);

  REQUIRE(parse_tracker_down("20%:8s", scenario));
  CHECK(scenario.has_tracker_down);
  CHECK(scenario.tracker_from.is_share);
  CHECK(scenario.tracker_from.value == 0.2);
  CHECK(scenario.tracker_to.value == 8);
  CHECK(refusal(parse_tracker_down, "20%").find("not two moments") == 0);
  CHECK(refusal(parse_tracker_down, "20%:").find("not a moment") == 0);

  REQUIRE(parse_racks("4:1GB/s", scenario));
  CHECK(scenario.racks == 4);
  CHECK(scenario.rack_rate == 1e9);
  for (const char* text : {"4", "0:1GB/s", "-1:1GB/s", "x:1GB/s"})
    CHECK(refusal(parse_racks, text).find("not a number of racks and a rate") == 0);
  CHECK(refusal(parse_racks, "4:wide").find("not a rate") == 0);
}

TEST_CASE("events are a list of moments, actions and hosts, as the lab's") {
  Scenario scenario;
  REQUIRE(parse_events(R"([
    { at = "3s", do = "kill", host = "fetcher-7" },  # and it stays away
    { host = 'tracker', at = "50%", do = 'restart' },
  ])",
                       scenario));
  REQUIRE(scenario.events.size() == 2);
  CHECK(scenario.events[0].at.value == 3);
  CHECK_FALSE(scenario.events[0].at.is_share);
  CHECK(scenario.events[0].kill);
  CHECK(scenario.fetcher_of(scenario.events[0]) == 6);
  CHECK(scenario.events[1].at.value == 0.5);
  CHECK(scenario.events[1].at.is_share);
  CHECK_FALSE(scenario.events[1].kill);
  CHECK(scenario.events[1].is_of_tracker());
  CHECK_FALSE(scenario.fetcher_of(scenario.events[1]));
  CHECK(check(scenario));
  // What is written is read as the same.
  Scenario again;
  REQUIRE(parse_events(events_text(scenario), again));
  CHECK(events_text(again) == events_text(scenario));
  CHECK(to_flags(again) == to_flags(scenario));
  REQUIRE(parse_events("[]", again));
  CHECK(again.events.empty());
}

TEST_CASE("events that are malformed, or that only the lab does, are refused with a text") {
  for (const char* text : {"", "[", "{}", "[{ at = \"3s\" ]", "[{ at \"3s\" }]", "[{}] more",
                           "[{ at = \"3s }]", "[{} {}]", "[{ at = \"3s\", at = \"4s\" }]"}) {
    CAPTURE(text);
    CHECK(
        refusal(parse_events, text) ==
        absl::StrFormat("not a list of events: '%s'; write it like [{ at = \"3s\", do = \"kill\", "
                        "host = \"fetcher-7\" }]",
                        text));
  }
  CHECK(refusal(parse_events, R"([{ at = "3s", do = "kill" }])") ==
        "an event has at, do (kill, restart, pause, resume, cut, join) and host, not "
        R"({ at = "3s", do = "kill" })");
  CHECK(refusal(parse_events, R"([{ at = "3s", do = "melt", host = "fetcher-1" }])") ==
        "an event has at, do (kill, restart, pause, resume, cut, join) and host, not "
        R"({ at = "3s", do = "melt", host = "fetcher-1" })");
  CHECK(refusal(parse_events, R"([{ at = 3, do = "kill", host = "fetcher-1" }])")
            .find("not a moment: '3'") == 0);
  for (const char* action : {"pause", "resume", "cut", "join"}) {
    CHECK(refusal(parse_events,
                  absl::StrFormat(R"([{ at = "3s", do = "%s", host = "fetcher-1" }])", action)) ==
          absl::StrFormat("the event '%s' is for the lab only: the simulator does kill and restart",
                          action));
  }
  const auto of_host = [](const std::string& host) {
    return check_text([&](Scenario& s) {
      s.peers = 12;
      s.events.push_back({{3, false}, true, host});
    });
  };
  CHECK(of_host("fetcher-1").empty());
  CHECK(of_host("fetcher-12").empty());
  for (const char* host : {"fetcher-0", "fetcher-13", "fetcher-01", "fetcher-", "fetcher",
                           "fetcher-x", "seeder-2", "tracker-1", "gateway", ""}) {
    CHECK(of_host(host) == absl::StrFormat("there is no host '%s'", host));
  }
  CHECK(of_host("seeder-1") ==
        "events of 'seeder-1' are for the lab only: the simulator kills and restarts fetchers and "
        "the tracker");
  CHECK(check_text([](Scenario& s) {
          s.tracker = false;
          s.events.push_back({{3, false}, true, "tracker"});
        }) == "there is no host 'tracker'");
}

TEST_CASE("the events of a scenario file are told from its other keys") {
  std::string toml =
      "peers = 8\n"
      "events = [  # two\n"
      "  { at = \"1s\", do = \"kill\", host = \"fetcher-1\" },\n"
      "  { at = \"2s\", do = \"restart\", host = \"fetcher-1\" },  # ] is no end\n"
      "]\n"
      "size = \"1MB\"\n";
  Scenario scenario;
  const auto list = take_events(toml);
  REQUIRE(list);
  REQUIRE(parse_events(*list, scenario));
  CHECK(scenario.events.size() == 2);
  CHECK(toml == "peers = 8\n\nsize = \"1MB\"\n");
  CHECK_FALSE(take_events(toml));

  std::string tables =
      "peers = 8\n"
      "[[events]]\n"
      "at = \"1s\"  # soon\n"
      "do = \"kill\"\n"
      "\n"
      "host = \"fetcher-1\"\n"
      "[[events]]\n"
      "# and back\n"
      "at = \"2s\"\n"
      "do = \"restart\"\n"
      "host = \"fetcher-1\"";
  const auto list_of_tables = take_events(tables);
  REQUIRE(list_of_tables);
  Scenario same;
  REQUIRE(parse_events(*list_of_tables, same));
  CHECK(events_text(same) == events_text(scenario));
  CHECK(tables == "peers = 8\n");

  std::string malformed = "events = 3\npeers = 8\n";
  const auto no_list = take_events(malformed);
  REQUIRE(no_list);
  CHECK(refusal(parse_events, *no_list).find("not a list of events") == 0);
}

TEST_CASE("what makes no sense together is refused with a text") {
  CHECK(check_text([](Scenario&) {}).empty());
  CHECK(check_text([](Scenario& s) { s.peers = 0; }) ==
        "there must be at least one peer and one seeder");
  CHECK(check_text([](Scenario& s) { s.seeders = 0; }) ==
        "there must be at least one peer and one seeder");
  CHECK(check_text([](Scenario& s) { s.peers = 1'000'000; }) == "at most 1,000,000 hosts");
  CHECK(check_text([](Scenario& s) { s.size_bytes = 0; }) == "the size must not be 0");
  CHECK(check_text([](Scenario& s) { s.chunk_bytes = 100'000; }) ==
        "the chunk size must be a power of two from 64KiB to 4MiB");
  CHECK(check_text([](Scenario& s) {
          s.chunk_bytes = kMinChunkBytes;
          s.size_bytes = 1'000'000'000'000;
        }) == "more than 2097152 chunks");
  CHECK(check_text([](Scenario& s) { s.tracker = s.direct = false; }) ==
        "peers need a tracker or the seeders' addresses");
  CHECK(check_text([](Scenario& s) {
          s.tracker = false;
          s.has_tracker_down = true;
        }) == "there is no tracker to be down");
  CHECK(check_text([](Scenario& s) {
          s.has_tracker_down = true;
          s.tracker_from = {0.8, true};
          s.tracker_to = {0.2, true};
        }) == "the tracker must go down before it comes back");
}

TEST_CASE("bounds are those that can be worked out by hand") {
  Scenario s;
  s.peers = 100;
  s.size_bytes = 1'000'000'000;
  s.chunk_bytes = 1024 * 1024;
  s.up = s.down = 100e6;
  // One copy takes 10 s down any link; all uplinks, 101 of them, carry 100 copies in 9.9 s.
  CHECK(s.fluid_bound_seconds() == Approx(10));
  // floor(log2 100) = 6 hops of a chunk.
  CHECK(s.chunks_bound_seconds() == Approx(10 + 6 * 1048576 / 100e6));
  s.seed_up = 50e6;  // the seeder's uplink is the narrowest
  CHECK(s.fluid_bound_seconds() == Approx(20));
  s.seeders = 4;
  CHECK(s.fluid_bound_seconds() == Approx(10));
  // Uplinks a quarter of the downlinks: 100 copies over 4 x 50 + 100 x 25 MB/s.
  s.up = 25e6;
  CHECK(s.fluid_bound_seconds() == Approx(100 * 1000 / 2700.0));
  // A tenth is slow: one copy takes them 1000 s.
  s.slow = 0.1;
  s.slow_rate = 1e6;
  CHECK(s.slow_peers() == 10);
  CHECK(s.fluid_bound_seconds() == Approx(1000));
  CHECK(s.seconds_of({0.25, true}) == Approx(250));
  CHECK(s.seconds_of({7, false}) == 7);
}

TEST_CASE("one peer and one seeder wait for no hop") {
  Scenario s;
  s.peers = 1;
  s.size_bytes = 10'000'000;
  s.chunk_bytes = 1024 * 1024;
  s.up = s.down = 1e6;
  CHECK(s.fluid_bound_seconds() == Approx(10));
  CHECK(s.chunks_bound_seconds() == Approx(10));
}

TEST_CASE("every random scenario makes sense, and the same seed makes the same") {
  std::set<std::string> all;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    CAPTURE(seed);
    const Scenario scenario = random_scenario(seed);
    const Status status = check(scenario);
    REQUIRE(status);
    REQUIRE(to_flags(scenario) == to_flags(random_scenario(seed)));
    all.insert(to_flags(scenario));
  }
  CHECK(all.size() == 2000);
}

// What a failure prints must lead to the same failure.
TEST_CASE("the flags of a random scenario make the same run on the command line") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    const Scenario scenario = random_scenario(seed);
    CAPTURE(seed, to_flags(scenario));
    World world(scenario);
    world.run(std::chrono::hours(100));
    const std::string output =
        output_of(std::string(P2P_SIM_BINARY) + " --json " + to_flags(scenario));
    const auto json = nlohmann::json::parse(output, nullptr, false);
    REQUIRE(json.is_object());
    CHECK(json["scenario"] == to_flags(scenario));
    CHECK(json["trace_hash"] == absl::StrFormat("%016x", world.trace_hash()));
  }
}

TEST_CASE("a scenario file with events makes the same run as its flags") {
  const std::string path = absl::StrFormat("sim-events-%d.toml", ::getpid());
  const auto run_file = [&](const std::string& more) {
    {
      std::ofstream file(path);
      file << "peers = 8\nsize = \"4MB\"  # small\nup = \"1MB/s\"\ndown = \"1MB/s\"\n" << more;
    }
    const std::string output =
        output_of(std::string(P2P_SIM_BINARY) + " --json --scenario " + path + " 2>&1");
    std::remove(path.c_str());
    return output;
  };
  const auto json = nlohmann::json::parse(
      run_file(
          "events = [\n  { at = \"50%\", do = \"kill\", host = \"fetcher-7\" },\n"
          "  { at = \"6.23456789s\", do = \"restart\", host = \"fetcher-7\" },\n]\nseed = 5\n"),
      nullptr, false);
  REQUIRE(json.is_object());
  CHECK(json["completed"] == 8);
  const std::string flags = json["scenario"];
  CHECK(flags.find(" --seed 5 ") != std::string::npos);
  CHECK(flags.find(" --events '[{ at = \"50%\", do = \"kill\", host = \"fetcher-7\" }, ") !=
        std::string::npos);
  const auto again =
      nlohmann::json::parse(output_of(std::string(P2P_SIM_BINARY) + " --json " + flags));
  CHECK(again["trace_hash"] == json["trace_hash"]);
  CHECK(run_file("events = [{ at = \"3s\", do = \"cut\", host = \"fetcher-7\" }]\n")
            .find("the event 'cut' is for the lab only") != std::string::npos);
}

TEST_CASE(
    "a run that breaks a rule ends with 1 and says how to see it again, a wrong flag with 2") {
  const std::string sim = P2P_SIM_BINARY;
  const std::string late =
      output_of(sim + " --peers 4 --size 1MB --up 1MB/s --down 1MB/s --limit 0.5 2>&1; echo $?");
  CHECK(late.find("4 peers are not complete after") != std::string::npos);
  CHECK(late.find("to see it again: p2p-sim --peers 4 --size 1000000 ") != std::string::npos);
  CHECK(late.ends_with("\n1\n"));
  const std::string none = output_of(sim + " --peers 0 2>&1; echo $?");
  CHECK(none == "p2p-sim: there must be at least one peer and one seeder\n2\n");
  const std::string too_late = "p2p-sim: nothing may happen later than after 1,000,000 s\n2\n";
  const std::string small = sim + " --peers 8 --size 1MB --up 1MB/s --down 1MB/s ";
  const std::string ages = "9999999999999999999999%";
  CHECK(output_of(small + "--events '[{ at = \"" + ages +
                  "\", do = \"kill\", host = \"fetcher-7\" }]' 2>&1; echo $?") == too_late);
  CHECK(output_of(small + "--churn 0.5@" + ages + " 2>&1; echo $?") == too_late);
}
