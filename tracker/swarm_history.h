// SwarmHistories: how far swarms were at which time, for a curve. Bounded: the longer a swarm
// takes, the further its points are apart. Plain data, with a clock passed in.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "tracker/peer_table.h"

namespace p2p::tracker {

inline constexpr std::size_t kMaxHistoryPoints = 300;
inline constexpr Duration kFirstHistorySpacing = std::chrono::seconds(1);
inline constexpr std::size_t kMaxHistories = 1000;
// New swarms are looked for among so many at once.
inline constexpr std::size_t kSwarmsLookedAt = 1000;
// Who fetches after nobody did for so long begins a new curve.
inline constexpr Duration kHistoryGap = std::chrono::minutes(1);
// A swarm that is gone is remembered so long.
inline constexpr Duration kHistoryKept = std::chrono::minutes(10);

struct HistoryPoint {
  Time at;
  // 0 to 1: how much of what all its fetchers are to have they have, those who have gone complete
  // too.
  double completion;
};

class SwarmHistory {
 public:
  // In order of time.
  void add(const SwarmSummary& swarm, Time now);
  // Of the curve that goes on, or went on last; at most kMaxHistoryPoints.
  const std::vector<HistoryPoint>& points() const { return points_; }
  // As a point would say it; nothing where there is nobody but seeders.
  std::optional<double> completion(const SwarmSummary& swarm) const;
  // Fetchers of this curve that became complete, those who have gone too.
  std::size_t finished(const SwarmSummary& swarm) const {
    return swarm.finished + left_since_begin(swarm);
  }
  std::size_t fetchers(const SwarmSummary& swarm) const {
    return swarm.fetchers + left_since_begin(swarm);
  }
  Time heard() const { return heard_; }

 private:
  std::size_t left_since_begin(const SwarmSummary& swarm) const {
    return swarm.left_finished - (swarm.left_finished < left_before_ ? 0 : left_before_);
  }
  void thin_out();

  std::vector<HistoryPoint> points_;
  Duration spacing_ = kFirstHistorySpacing;
  std::size_t left_before_ = 0;  // fetchers that had gone complete before this curve
  Time busy_ = Time::min();      // when somebody last fetched
  Time heard_ = Time::min();
};

class SwarmHistories {
 public:
  // To be called about every kFirstHistorySpacing.
  void sample(const PeerTable& table, Time now);
  // Null where the swarm is not followed: there were more than kMaxHistories.
  const SwarmHistory* find(const SwarmId& swarm) const {
    const auto found = histories_.find(swarm);
    return found == histories_.end() ? nullptr : &found->second;
  }
  // One without a point where it is not followed: all that ever became complete count then.
  const SwarmHistory& of(const SwarmId& swarm) const {
    static const SwarmHistory kNone;
    const SwarmHistory* const found = find(swarm);
    return found ? *found : kNone;
  }
  std::size_t size() const { return histories_.size(); }

 private:
  std::map<SwarmId, SwarmHistory> histories_;
  std::size_t position_ = 0;  // in the table
};

}  // namespace p2p::tracker
