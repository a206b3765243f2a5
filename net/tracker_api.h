// TrackerApi: what a tracker's page asks for, as JSON: all swarms, and one of them. Asking is
// looking: the peers of what is shown are asked to report (tracker/owner.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/node.h"
#include "tracker/swarm_history.h"

namespace p2p::net {

// Swarms that the list shows: those with most peers that fetch, then with most peers.
inline constexpr std::size_t kMaxListedSwarms = 200;
// Of a tracker's swarms so many are looked at to choose from.
inline constexpr std::size_t kMaxSwarmsToChoose = 20'000;
// Points of a curve in the list.
inline constexpr std::size_t kListedPoints = 30;
// The list is made anew so often, however many ask.
inline constexpr Duration kListKept = std::chrono::milliseconds(500);

class TrackerApi {
 public:
  // Of a node that answers announces, which must outlive it.
  TrackerApi(Loop& loop, Node& node);

  std::string swarms();
  // `hex` names the swarm; nothing where nobody is in it.
  std::optional<std::string> swarm(std::string_view hex);

 private:
  std::vector<tracker::SwarmSummary> choose() const;
  void sample();

  Node& node_;
  tracker::SwarmHistories histories_;
  std::string list_;
  Time listed_ = Time::min();
  Timer timer_;
};

}  // namespace p2p::net
