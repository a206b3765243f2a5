// Report: what a run came to, for a person and as one JSON object.
#pragma once

#include <string>
#include <vector>

#include "tools/sim/world.h"

namespace p2p::sim {

// Seconds from a peer's arrival to its completion, over some of the peers.
struct Percentiles {
  double p50 = 0, p99 = 0, p999 = 0, max = 0;
};
// The value below which that share of them lies, by nearest rank; sorts its argument.
Percentiles percentiles(std::vector<double> seconds);

struct Report {
  Percentiles all;      // but the liars
  Percentiles healthy;  // neither slow nor killed
  double last_s = 0;    // when the last was complete, since the first came
  double bound_fluid_s = 0, bound_chunks_s = 0;
  double share = 0;          // bound_chunks_s / all.max
  double share_fluid = 0;    // bound_fluid_s / all.max
  double seeder_copies = 0;  // what all seeders sent, in contents
  std::uint64_t duplicate_bytes = 0;
  double cross_rack_copies = 0;  // bytes that crossed into a rack, in contents, mean of the racks
  std::vector<double> rack_last_s;  // `all.max` of each rack's peers; empty where there is one rack
  std::uint32_t completed = 0;      // peers, liars too
  std::vector<double> uplink_use;   // of the peers' uplinks together, by slice of the time
  std::vector<double> seeder_use;
  double slice_s = 0;
  std::uint64_t events = 0;
  double wall_s = 0;
  std::uint64_t trace_hash = 0;
};

Report make_report(const World& world, double wall_seconds);
std::string to_json(const Scenario& scenario, const Report& report);
std::string to_text(const Scenario& scenario, const Report& report);

}  // namespace p2p::sim
