#include "tools/sim/report.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/units.h"

namespace p2p::sim {
namespace {

std::uint64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

// Eight heights of a bar for a share.
std::string bar(const std::vector<double>& shares) {
  static constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string text;
  for (double share : shares) text += kBars[std::clamp(static_cast<int>(share * 8), 0, 7)];
  return text;
}

// The mean of each of `count` parts.
std::vector<double> thin(const std::vector<double>& values, std::size_t count) {
  if (values.size() <= count) return values;
  std::vector<double> thinned;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t from = i * values.size() / count;
    const std::size_t to = (i + 1) * values.size() / count;
    double sum = 0;
    for (std::size_t k = from; k < to; ++k) sum += values[k];
    thinned.push_back(sum / static_cast<double>(to - from));
  }
  return thinned;
}

nlohmann::ordered_json json_of(const Percentiles& times) {
  return {{"p50_s", times.p50}, {"p99_s", times.p99}, {"p999_s", times.p999}, {"max_s", times.max}};
}

}  // namespace

Percentiles percentiles(std::vector<double> seconds) {
  if (seconds.empty()) return {};
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    const double rank = std::ceil(share * static_cast<double>(seconds.size()));
    return seconds[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
  };
  return {at(0.5), at(0.99), at(0.999), seconds.back()};
}

Report make_report(const World& world, double wall_seconds) {
  const Scenario& scenario = world.scenario();
  Report report;
  std::vector<double> all;
  std::vector<double> healthy;
  Time first = kNever;
  double seeders_sent = 0;
  double uplinks = 0;
  const auto size = static_cast<double>(scenario.size_bytes);
  if (scenario.racks > 1) report.rack_last_s.resize(scenario.racks);
  for (const HostReport& host : world.hosts()) {
    if (host.seeder) {
      seeders_sent += host.sent_bytes;
      continue;
    }
    first = std::min(first, host.arrived);
    uplinks += host.slow ? scenario.slow_rate : scenario.up;
    report.completed += host.completed != kNever;
    if (host.liar || host.completed == kNever) continue;
    all.push_back(to_seconds(host.completed - host.arrived));
    if (scenario.racks > 1)
      report.rack_last_s[host.rack] = std::max(report.rack_last_s[host.rack], all.back());
    if (!host.slow && !host.killed) healthy.push_back(all.back());
  }
  report.all = percentiles(all);
  report.healthy = percentiles(healthy);
  report.last_s = to_seconds(world.now() - first);
  report.bound_fluid_s = scenario.fluid_bound_seconds();
  report.bound_chunks_s = scenario.chunks_bound_seconds();
  report.share = report.bound_chunks_s / report.all.max;
  report.share_fluid = report.bound_fluid_s / report.all.max;
  report.seeder_copies = seeders_sent / size;
  report.duplicate_bytes = world.duplicate_bytes();
  if (scenario.racks > 1)
    report.cross_rack_copies = world.cross_rack_bytes() / size / scenario.racks;
  report.slice_s = to_seconds(world.bucket_width());
  for (double bytes : world.sent_over_time())
    report.uplink_use.push_back(bytes / report.slice_s / uplinks);
  for (double bytes : world.seeders_sent_over_time())
    report.seeder_use.push_back(bytes / report.slice_s / (scenario.seeders * scenario.seeder_up()));
  report.events = world.events();
  report.wall_s = wall_seconds;
  report.trace_hash = world.trace_hash();
  return report;
}

std::string to_json(const Scenario& scenario, const Report& report) {
  nlohmann::ordered_json json = json_of(report.all);
  json["bound_fluid_s"] = report.bound_fluid_s;
  json["bound_chunks_s"] = report.bound_chunks_s;
  json["share"] = report.share;
  json["share_fluid"] = report.share_fluid;
  json["seeder_copies"] = report.seeder_copies;
  json["duplicate_bytes"] = report.duplicate_bytes;
  json["events_per_s"] = static_cast<double>(report.events) / report.wall_s;
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["trace_hash"] = absl::StrFormat("%016x", report.trace_hash);
  json["completed"] = report.completed;
  json["peers"] = scenario.peers;
  json["last_s"] = report.last_s;
  json["healthy"] = json_of(report.healthy);
  if (scenario.racks > 1) {
    json["cross_rack_copies"] = report.cross_rack_copies;
    json["rack_last_s"] = report.rack_last_s;
  }
  json["events"] = report.events;
  json["wall_s"] = report.wall_s;
  json["slice_s"] = report.slice_s;
  json["uplink_use"] = report.uplink_use;
  json["seeder_use"] = report.seeder_use;
  json["scenario"] = to_flags(scenario);
  return json.dump();
}

std::string to_text(const Scenario& scenario, const Report& report) {
  const auto times = [](const Percentiles& t) {
    return absl::StrFormat("p50 %.3f s, p99 %.3f s, p99.9 %.3f s, last %.3f s", t.p50, t.p99,
                           t.p999, t.max);
  };
  const Layout layout = scenario.layout();
  std::string text = absl::StrFormat(
      "%d peers, %d seeder%s, %s in %d chunks of %s\n", scenario.peers, scenario.seeders,
      scenario.seeders == 1 ? "" : "s", format_bytes(layout.total_bytes), layout.chunk_count(),
      format_bytes(layout.chunk_bytes));
  absl::StrAppend(&text, "completed    ", report.completed, " of ", scenario.peers, "\n",
                  "time         ", times(report.all), "\n");
  if (report.healthy.max != report.all.max)
    absl::StrAppend(&text, "  healthy    ", times(report.healthy), "\n");
  absl::StrAppend(
      &text,
      absl::StrFormat("bounds       fluid %.3f s, whole chunks %.3f s\n", report.bound_fluid_s,
                      report.bound_chunks_s),
      absl::StrFormat("share        %.1f %% of the whole-chunk bound, %.1f %% of the fluid "
                      "bound\n",
                      report.share * 100, report.share_fluid * 100),
      absl::StrFormat("seeders      %.3f copies sent\n", report.seeder_copies), "duplicates   ",
      format_bytes(report.duplicate_bytes), "\n");
  if (scenario.racks > 1) {
    const auto [first, last] =
        std::minmax_element(report.rack_last_s.begin(), report.rack_last_s.end());
    absl::StrAppend(&text, absl::StrFormat("into a rack  %.2f copies; its last peer after %.3f s "
                                           "(first rack) to %.3f s (last rack)\n",
                                           report.cross_rack_copies, *first, *last));
  }
  constexpr std::size_t kColumns = 80;
  absl::StrAppend(
      &text, "uplinks      ", bar(thin(report.uplink_use, kColumns)), "\n", "seeders' use ",
      bar(thin(report.seeder_use, kColumns)), "\n",
      absl::StrFormat("run          %.1f s, %.2f M events/s, peak %s, trace %016x\n", report.wall_s,
                      static_cast<double>(report.events) / report.wall_s / 1e6,
                      format_bytes(peak_rss_bytes()), report.trace_hash));
  return text;
}

}  // namespace p2p::sim
