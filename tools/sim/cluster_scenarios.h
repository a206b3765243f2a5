// What is tried on a simulated cluster (cluster_world.h), and what is measured of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tools/sim/cluster_world.h"

namespace p2p::sim {

struct ClusterScenario {
  std::string what;  // one of cluster_scenarios()
  std::size_t members = 100;
  double loss = 0.05;
  std::uint64_t seed = 1;
  bool progress = false;  // say at stderr where a long one is
};

// A figure with its name and unit, in the order they are to be printed.
using Figures = std::vector<std::pair<std::string, double>>;

// The names, each with what it does.
const std::vector<std::pair<std::string, std::string>>& cluster_scenarios();

// Runs it; throws ClusterBroken where a view breaks a rule, or the cluster does not come to rest.
// A scenario that is not known is a usage error.
Result<Figures> run_cluster_scenario(const ClusterScenario& scenario);

}  // namespace p2p::sim
