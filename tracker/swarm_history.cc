#include "tracker/swarm_history.h"

namespace p2p::tracker {

std::optional<double> SwarmHistory::completion(const SwarmSummary& swarm) const {
  const std::size_t all = fetchers(swarm);
  if (all == 0) return std::nullopt;
  const double have =
      static_cast<double>(finished(swarm)) + static_cast<double>(swarm.percent_sum) / kFullPercent;
  return have / static_cast<double>(all);
}

void SwarmHistory::add(const SwarmSummary& swarm, Time now) {
  heard_ = now;
  const bool fetching = swarm.fetchers > swarm.finished;
  if (fetching && busy_ != Time::min() && now - busy_ > kHistoryGap) {
    points_.clear();
    spacing_ = kFirstHistorySpacing;
    left_before_ = swarm.left_finished;
  }
  if (fetching) busy_ = now;
  const auto now_at = completion(swarm);
  if (!now_at) return;
  if (!points_.empty()) {
    const HistoryPoint& last = points_.back();
    // Nothing changes any more once all are complete.
    if (!fetching && last.completion == *now_at) return;
    if (fetching && now - last.at < spacing_) return;
  }
  if (points_.size() == kMaxHistoryPoints) thin_out();
  points_.push_back({now, *now_at});
}

// Every second one goes, and those to come are twice as far apart.
void SwarmHistory::thin_out() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < points_.size(); i += 2) points_[kept++] = points_[i];
  points_.resize(kept);
  spacing_ *= 2;
}

void SwarmHistories::sample(const PeerTable& table, Time now) {
  for (auto at = histories_.begin(); at != histories_.end();) {
    if (const auto summary = table.summary(at->first)) at->second.add(*summary, now);
    at = now - at->second.heard() > kHistoryKept ? histories_.erase(at) : std::next(at);
  }
  for (const SwarmSummary& swarm : table.summaries(position_, kSwarmsLookedAt))
    if (histories_.size() < kMaxHistories && !histories_.contains(swarm.swarm))
      histories_[swarm.swarm].add(swarm, now);
}

}  // namespace p2p::tracker
