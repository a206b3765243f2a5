// Lookups in a simulated cluster. The owners' peer tables are modelled: a member that announces a
// content is in the table of each of the best three as it sees them, some moments after it sees
// them; a table is gone with its member. Whom to ask is the product's own choice
// (gossip/ownership.h).
#pragma once

#include "tools/sim/cluster_scenarios.h"

namespace p2p::sim {

// `share` of the members a minute is killed, and as many join.
Figures lookups_under_churn(ClusterWorld& world, double share, Duration duration);

// `share` of the members is killed at one time.
Figures lookups_after_kill(ClusterWorld& world, double share);

}  // namespace p2p::sim
