// SwarmView: a swarm as a person wants to see it, from what its owner knows: who is in it, how fast
// it goes, who is slow, how near it is to what its links allow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tracker/owner.h"

namespace p2p::tracker {

// Peers of one swarm that are shown.
inline constexpr std::size_t kMaxViewedPeers = kMaxWatchedPeers;
// A report that is older says nothing of now.
inline constexpr Duration kReportKept = 4 * kReportInterval;
// Who is slow is told from so many that fetch; below there is no median worth the name.
inline constexpr std::size_t kMinForMedian = 3;
// So many percent behind the median, or slower than this share of the median's rate.
inline constexpr unsigned kBehindPercent = 15;
inline constexpr double kSlowShare = 1.0 / 3;

struct PeerView {
  PeerId peer;
  Endpoint endpoint;
  std::string zone;
  bool complete = false, seeds = false;
  std::optional<std::uint8_t> percent;
  // Of its reports, where there is a fresh one.
  std::optional<Report> report;
  double down = 0, up = 0;  // bytes a second, smoothed
  std::uint64_t best_down = 0, best_up = 0;
  bool behind = false, slow = false;
};

struct SwarmView {
  SwarmSummary summary;
  std::string name;  // empty: not told
  std::uint64_t bytes = 0;
  std::uint32_t chunks = 0;  // 0: not told
  std::size_t reporting = 0;
  double down = 0, up = 0;  // of those that report
  // What the links could carry at most to those that fetch, all together, in bytes a second:
  // min(N u_seed, N d_min, u_seed + sum u), which is N F / T for the bound T = max(F / u_seed,
  // F / d_min, N F / (u_seed + sum u)). Each link counts for the best that was seen of it, so it
  // may carry more. Only where all of the swarm report.
  std::optional<double> limit;
  std::vector<PeerView> peers;  // in order of their endpoints, seeders first
};

// Nothing where nobody is in the swarm.
std::optional<SwarmView> view_of(const Owner& owner, const SwarmId& swarm, Time now);

}  // namespace p2p::tracker
