// p2p-sim: runs a scenario in virtual time and reports; or many small random ones with faults.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <random>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/units.h"
#include "tools/sim/report.h"
#include "tools/sim/scenario.h"
#include "tools/sim/world.h"

namespace p2p::sim {
namespace {

constexpr int kExitBroken = 1;  // an invariant
constexpr int kExitUsage = 2;

struct Options {
  Scenario scenario;
  bool json = false;
  bool counts = false;
  std::string trace;
  std::uint32_t random_runs = 0;
  double limit_s = 0;
};

[[noreturn]] void usage_error(const std::string& text) {
  std::fprintf(stderr, "p2p-sim: %s\n", text.c_str());
  std::exit(kExitUsage);
}

// A flag whose text `parse` turns into part of the scenario.
template <typename Parse>
void add_parsed(CLI::App& app, const std::string& name, const std::string& help, Parse parse) {
  app.add_option_function<std::string>(
      name,
      [parse, name](const std::string& text) {
        const Status status = parse(text);
        if (!status) throw CLI::ValidationError(name, status.error().message);
      },
      help);
}

// A scenario file is read as CLI11 reads TOML, but for its events: that knows no list of tables.
class ScenarioFile : public CLI::ConfigBase {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::string toml(std::istreambuf_iterator<char>(input), {});
    const auto events = take_events(toml);
    std::istringstream rest(toml);
    std::vector<CLI::ConfigItem> read = CLI::ConfigBase::from_config(rest);
    if (events) read.insert(read.begin(), CLI::ConfigItem{{}, "events", {*events}});
    return read;
  }
};

void add_options(CLI::App& app, Options& options) {
  Scenario& s = options.scenario;
  const auto size = [](auto& into) {
    return [&into](const std::string& text) -> Status {
      P2P_ASSIGN(const std::uint64_t bytes, parse_size(text));
      into = static_cast<std::remove_reference_t<decltype(into)>>(bytes);
      return {};
    };
  };
  const auto rate = [](double& into) {
    return [&into](const std::string& text) -> Status {
      P2P_ASSIGN(into, parse_link_rate(text));
      return {};
    };
  };
  const auto time = [](Duration& into) {
    return [&into](const std::string& text) -> Status {
      P2P_ASSIGN(into, parse_duration(text));
      return {};
    };
  };
  const auto with = [&s](auto parse) {
    return [&s, parse](const std::string& text) { return parse(text, s); };
  };
  app.add_option("--peers", s.peers, "peers that fetch");
  add_parsed(app, "--size", "of the content: 3GB, 64MiB", size(s.size_bytes));
  add_parsed(app, "--chunk", "chunk size; the product's rule by default", size(s.chunk_bytes));
  add_parsed(app, "--up", "uplink of a peer: 300MB/s, 25Mbit/s", rate(s.up));
  add_parsed(app, "--down", "downlink of a peer", rate(s.down));
  app.add_option("--seeders", s.seeders, "how many");
  add_parsed(app, "--seed-up", "uplink of a seeder; as --up by default", rate(s.seed_up));
  add_parsed(app, "--latency", "one way, between two hosts: 1ms, 100us", time(s.latency));
  app.add_option("--loss", s.loss,
                 "share of the messages that arrive late, as after a lost packet");
  add_parsed(app, "--arrive", "0s: all at once; 5s: over this time; poisson:100: a second",
             with(parse_arrive));
  add_parsed(app, "--churn",
             "share of the peers that is killed once and comes back: 0.05, or 0.25@50%+2s",
             with(parse_churn));
  add_parsed(app, "--slow", "share and rate of slow peers: 0.1:2.5Mbit/s", with(parse_slow));
  app.add_option("--liars", s.liars, "share of the peers whose chunks are corrupt");
  add_parsed(app, "--tracker-down", "from and to, as 20%:80% of the fluid bound, or 2s:8s",
             with(parse_tracker_down));
  add_parsed(app, "--events",
             "who is killed or restarted, and when: [{ at = \"50%\", do = \"kill\", host = "
             "\"fetcher-7\" }]; fetchers, from 1, and the tracker",
             with(parse_events));
  add_parsed(app, "--racks", "racks, and the rate between a rack and the rest: 4:1GB/s",
             with(parse_racks));
  app.add_flag("!--no-zones", s.zones, "hosts do not say in which rack they are");
  add_parsed(app, "--linger", "how long a complete peer goes on giving", time(s.linger));
  add_parsed(app, "--disk", "rate at which a peer verifies and writes; no limit by default",
             rate(s.disk));
  app.add_option("--disk-faults", s.disk_faults, "share of the peers whose disk loses chunks");
  app.add_flag("!--no-tracker", s.tracker, "the link names the seeders only");
  app.add_flag("!--no-direct", s.direct, "the link names the tracker only");
  app.add_option("--seed", s.seed, "of all chance");
  app.add_flag("--json", options.json, "one JSON object instead of text");
  app.add_flag("--counts", options.counts, "also how many events of each kind there were");
  app.add_option("--trace", options.trace, "write what plot.py needs to this file");
  app.add_option("--limit", options.limit_s, "fail after this many virtual seconds");
  app.add_option("--random", options.random_runs,
                 "run this many small random scenarios with faults instead, from --seed on");
  app.add_option("--degree", s.degree, "neighbours that a peer dials")
      ->take_last()
      ->group("Schedule");
  app.add_option("--max-neighbours", s.max_neighbours)->take_last()->group("Schedule");
  app.add_option("--window", s.schedule.min_window_chunks)->take_last()->group("Schedule");
  add_parsed(app, "--window-bytes", "most bytes outstanding", size(s.schedule.max_window_bytes));
  add_parsed(app, "--window-time", "that a window must bridge besides round trips",
             time(s.schedule.window_time));
  app.add_option("--seed-slots", s.schedule.seeder_slots)->take_last()->group("Schedule");
  app.add_option("--slots", s.schedule.upload_slots)->take_last()->group("Schedule");
  app.config_formatter(std::make_shared<ScenarioFile>());
  app.set_config("--scenario", "", "a scenario file: the same keys as these flags (TOML)");
  app.allow_config_extras(false);
}

// Generous: a run that needs more has stalled.
Duration limit_of(const Scenario& scenario) {
  double seconds = 50 * scenario.fluid_bound_seconds() + 600;
  if (scenario.slow > 0)
    seconds += 10 * static_cast<double>(scenario.size_bytes) / scenario.slow_rate;
  if (scenario.arrival == Scenario::Arrival::kPoisson)
    seconds += 10 * scenario.peers / scenario.arrive_rate;
  double last_event = 0;
  for (const ListedEvent& event : scenario.events)
    last_event = std::max(last_event, scenario.seconds_of(event.at));
  return from_seconds(seconds + last_event) + scenario.arrive_over;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run_one(const Options& options) {
  World world(options.scenario);
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> trace(nullptr, std::fclose);
  if (!options.trace.empty()) {
    trace.reset(std::fopen(options.trace.c_str(), "w"));
    if (!trace) usage_error(absl::StrCat("cannot write to ", options.trace));
    std::fprintf(trace.get(), "scenario %s\n", to_flags(options.scenario).c_str());
    std::fprintf(trace.get(), "bounds %.9f %.9f\n", options.scenario.fluid_bound_seconds(),
                 options.scenario.chunks_bound_seconds());
    world.set_trace(trace.get());
  }
  const auto start = std::chrono::steady_clock::now();
  try {
    world.run(options.limit_s > 0 ? from_seconds(options.limit_s) : limit_of(options.scenario));
  } catch (const Broken& broken) {
    std::fprintf(stderr, "p2p-sim: %s\nto see it again: p2p-sim %s\n", broken.what(),
                 to_flags(options.scenario).c_str());
    return kExitBroken;
  }
  const Report report = make_report(world, seconds_since(start));
  std::fputs(options.json ? (to_json(options.scenario, report) + "\n").c_str()
                          : to_text(options.scenario, report).c_str(),
             stdout);
  if (options.counts) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(EventKind::kCount); ++i)
      std::fprintf(stderr, "events of kind %zu: %llu\n", i,
                   static_cast<unsigned long long>(world.events_of(static_cast<EventKind>(i))));
    std::fprintf(stderr, "links solved: %llu\n",
                 static_cast<unsigned long long>(world.links_solved()));
  }
  return 0;
}

int run_random(const Options& options) {
  const std::uint64_t first = options.scenario.seed;
  std::printf("%u random scenarios, seeds %llu to %llu\n", options.random_runs,
              static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + options.random_runs - 1));
  std::fflush(stdout);
  std::uint32_t failed = 0;
  for (std::uint64_t seed = first; seed < first + options.random_runs; ++seed) {
    const Scenario scenario = random_scenario(seed);
    try {
      World world(scenario);
      world.run(limit_of(scenario));
    } catch (const Broken& broken) {
      ++failed;
      std::printf("seed %llu: %s\n  to see it again: p2p-sim %s\n",
                  static_cast<unsigned long long>(seed), broken.what(), to_flags(scenario).c_str());
      std::fflush(stdout);
    }
  }
  std::printf("%u of %u failed\n", failed, options.random_runs);
  return failed == 0 ? 0 : kExitBroken;
}

// A large swarm's memory is on more pages than the processor has entries for, and its messages are
// more than the C library keeps at hand of what is free. It asks for huge pages, and keeps more,
// where it is told so before it starts: so start again. Where that fails, go on without.
void tune_memory(char** argv) {
  if (std::getenv("GLIBC_TUNABLES") != nullptr) return;
  ::setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=2000", 0);
  ::execv("/proc/self/exe", argv);
}

int main_of(int argc, char** argv) {
  CLI::App app{"Runs the product's own cores in a simulated cluster and reports how long it took."};
  app.footer(
      "Example:\n  p2p-sim --peers 1000 --size 5GB --chunk 4MiB --up 5GB/s --down 5GB/s "
      "--latency 100us");
  Options options;
  bool fresh = false;
  add_options(app, options);
  app.add_flag("--fresh-seed", fresh, "take the seed from the system; it is printed");
  CLI11_PARSE(app, argc, argv);
  if (fresh) options.scenario.seed = std::random_device{}();
  if (const Status status = check(options.scenario); !status) usage_error(status.error().message);
  return options.random_runs > 0 ? run_random(options) : run_one(options);
}

}  // namespace
}  // namespace p2p::sim

int main(int argc, char** argv) {
  p2p::sim::tune_memory(argv);
  return p2p::sim::main_of(argc, argv);
}
