#include "tools/sim/links.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"

namespace p2p::sim {
namespace {

// A settle() ends after this many links for each that was queued, settled or not: what is left
// goes on at the next.
constexpr std::size_t kMostSolvesEach = 256;

bool differs(double a, double b) { return std::abs(a - b) > Links::kTolerance * std::max(a, b); }

}  // namespace

LinkId Links::add(double bytes_per_second) {
  P2P_CHECK(bytes_per_second > 0);
  links_.push_back({bytes_per_second});
  levels_.push_back(bytes_per_second);
  queued_.push_back(false);
  return static_cast<LinkId>(links_.size() - 1);
}

void Links::enqueue(LinkId id) {
  if (std::exchange(queued_[id], true)) return;
  queue_.push_back(id);
}

void Links::start(FlowId id, std::span<const LinkId> path) {
  P2P_CHECK(!path.empty() && path.size() <= kMaxPath);
  if (id >= flows_.size()) flows_.resize(std::max<std::size_t>(id + 1, flows_.size() * 2));
  Flow& flow = flows_[id];
  P2P_CHECK(flow.length == 0);
  flow.rate = 0;
  flow.length = static_cast<std::uint8_t>(path.size());
  const bool is_pair = path.size() == 2 && path[0] != path[1];
  for (std::size_t i = 0; i < path.size(); ++i) {
    flow.path[i] = path[i];
    flow.place[i] = static_cast<std::uint32_t>(links_[path[i]].flows.size());
    links_[path[i]].flows.push_back({id, is_pair ? path[1 - i] : kSeveral});
    enqueue(path[i]);
  }
}

void Links::stop(FlowId id) {
  Flow& flow = flows_[id];
  P2P_CHECK(flow.length > 0);
  for (std::size_t i = 0; i < flow.length; ++i) {
    Link& link = links_[flow.path[i]];
    const Place last = link.flows.back();
    link.flows[flow.place[i]] = last;
    Flow& moved = flows_[last.flow];
    for (std::size_t k = 0; k < moved.length; ++k)
      if (moved.path[k] == flow.path[i]) moved.place[k] = flow.place[i];
    link.flows.pop_back();
    enqueue(flow.path[i]);
  }
  flow.length = 0;
  flow.rate = 0;
}

double Links::limit_beside(const Place& place, LinkId link) const {
  if (place.other != kSeveral) return levels_[place.other];
  const Flow& flow = flows_[place.flow];
  double limit = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < flow.length; ++i)
    if (flow.path[i] != link) limit = std::min(limit, levels_[flow.path[i]]);
  return limit;
}

// Those whose limit elsewhere is below an equal share get their limit; the others share the rest.
double Links::level_of(LinkId id) {
  const Link& link = links_[id];
  limits_.clear();
  for (const Place& place : link.flows) {
    limits_.push_back(limit_beside(place, id));
    fetch(place.flow);  // for solve()
  }
  double left = link.capacity;
  std::size_t sharing = limits_.size();
  while (sharing > 0) {
    const double share = left / static_cast<double>(sharing);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < sharing; ++i) {
      if (limits_[i] <= share)
        left -= limits_[i];
      else
        limits_[kept++] = limits_[i];
    }
    if (kept == sharing) return share;
    sharing = kept;
  }
  return link.capacity;  // nobody is held back here
}

void Links::solve(LinkId id) {
  ++solved_;
  const double old_level = levels_[id];
  // Within the tolerance of what the flows were told, it stays that: small steps must not add up
  // unseen.
  const double exact = level_of(id);
  const double level = differs(exact, old_level) ? exact : old_level;
  levels_[id] = level;
  for (const Place& place : links_[id].flows) {
    Flow& flow = flows_[place.flow];
    const double rate = std::min(level, limit_beside(place, id));
    if (flow.rate == 0 || differs(rate, flow.rate)) {
      flow.rate = rate;
      if (!std::exchange(flow.is_changed, true)) changed_.push_back(place.flow);
    }
    if (level != old_level) enqueue_others(place, id, old_level);
  }
}

// The links that a flow crosses beside one whose level has changed.
void Links::enqueue_others(const Place& place, LinkId id, double old_level) {
  // Where the other link holds the flow back before and after, nothing changes there.
  const auto enqueue_other = [&](LinkId other) {
    const double theirs = levels_[other];
    if (old_level < theirs || levels_[id] < theirs) enqueue(other);
  };
  if (place.other != kSeveral) return enqueue_other(place.other);
  const Flow& flow = flows_[place.flow];
  for (std::size_t i = 0; i < flow.length; ++i)
    if (flow.path[i] != id) enqueue_other(flow.path[i]);
}

// What the next links of the queue need.
void Links::fetch_queued() const {
  if (next_ + 1 < queue_.size()) fetch_into_cache(&links_[queue_[next_ + 1]], sizeof(Link));
  if (next_ >= queue_.size()) return;
  const std::vector<Place>& flows = links_[queue_[next_]].flows;
  fetch_into_cache(flows.data(), flows.size() * sizeof(Place));
}

void Links::settle() {
  for (FlowId flow : changed_) flows_[flow].is_changed = false;
  changed_.clear();
  const std::size_t most = kMostSolvesEach * queue_.size();
  std::size_t solved = 0;
  while (next_ < queue_.size() && solved++ < most) {
    const LinkId link = queue_[next_++];
    queued_[link] = false;
    fetch_queued();
    solve(link);
  }
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(next_));
  next_ = 0;
  std::erase_if(changed_, [&](FlowId flow) {
    if (flows_[flow].length > 0) return false;
    flows_[flow].is_changed = false;
    return true;
  });
}

double Links::load(LinkId link) const {
  double sum = 0;
  for (const Place& place : links_[link].flows) sum += flows_[place.flow].rate;
  return sum;
}

}  // namespace p2p::sim
