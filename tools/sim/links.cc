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
  return static_cast<LinkId>(links_.size() - 1);
}

void Links::enqueue(LinkId id) {
  if (std::exchange(links_[id].queued, true)) return;
  queue_.push_back(id);
}

void Links::start(FlowId id, std::span<const LinkId> path) {
  P2P_CHECK(!path.empty() && path.size() <= kMaxPath);
  if (id >= flows_.size()) flows_.resize(std::max<std::size_t>(id + 1, flows_.size() * 2));
  Flow& flow = flows_[id];
  P2P_CHECK(flow.length == 0);
  flow.rate = 0;
  flow.length = static_cast<std::uint8_t>(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    flow.path[i] = path[i];
    flow.place[i] = static_cast<std::uint32_t>(links_[path[i]].flows.size());
    links_[path[i]].flows.push_back(id);
    enqueue(path[i]);
  }
}

void Links::stop(FlowId id) {
  Flow& flow = flows_[id];
  P2P_CHECK(flow.length > 0);
  for (std::size_t i = 0; i < flow.length; ++i) {
    Link& link = links_[flow.path[i]];
    const FlowId last = link.flows.back();
    link.flows[flow.place[i]] = last;
    for (std::size_t k = 0; k < flows_[last].length; ++k)
      if (flows_[last].path[k] == flow.path[i]) flows_[last].place[k] = flow.place[i];
    link.flows.pop_back();
    enqueue(flow.path[i]);
  }
  flow.length = 0;
  flow.rate = 0;
}

double Links::limit_beside(const Flow& flow, LinkId link) const {
  double limit = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < flow.length; ++i)
    if (flow.path[i] != link) limit = std::min(limit, levels_[flow.path[i]]);
  return limit;
}

// Those whose limit elsewhere is below an equal share get their limit; the others share the rest.
double Links::level_of(LinkId id) {
  const Link& link = links_[id];
  limits_.clear();
  for (FlowId flow : link.flows) limits_.push_back(limit_beside(flows_[flow], id));
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
  for (FlowId number : links_[id].flows) {
    Flow& flow = flows_[number];
    const double rate = std::min(level, limit_beside(flow, id));
    if (flow.rate == 0 || differs(rate, flow.rate)) {
      flow.rate = rate;
      if (!std::exchange(flow.is_changed, true)) changed_.push_back(number);
    }
    if (level == old_level) continue;
    for (std::size_t i = 0; i < flow.length; ++i) {
      const LinkId other = flow.path[i];
      if (other == id) continue;
      // Where the other link holds the flow back before and after, nothing changes there.
      const double theirs = levels_[other];
      if (old_level < theirs || level < theirs) enqueue(other);
    }
  }
}

void Links::settle() {
  for (FlowId flow : changed_) flows_[flow].is_changed = false;
  changed_.clear();
  const std::size_t most = kMostSolvesEach * queue_.size();
  std::size_t solved = 0;
  while (next_ < queue_.size() && solved++ < most) {
    const LinkId link = queue_[next_++];
    links_[link].queued = false;
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
  for (FlowId flow : links_[link].flows) sum += flows_[flow].rate;
  return sum;
}

}  // namespace p2p::sim
