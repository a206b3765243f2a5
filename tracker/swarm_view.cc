#include "tracker/swarm_view.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace p2p::tracker {
namespace {

PeerView peer_of(const TableEntry& entry, const WatchedPeer* watched, Time now) {
  PeerView peer;
  peer.peer = entry.peer;
  peer.endpoint = entry.endpoint;
  peer.zone = std::string(entry.zone);
  peer.complete = entry.complete;
  peer.seeds = entry.seeds;
  peer.percent = entry.complete ? kFullPercent : entry.have_percent;
  if (watched == nullptr || !watched->report || now - watched->reported > kReportKept) return peer;
  peer.report = watched->report;
  peer.down = watched->down;
  peer.up = watched->up;
  peer.best_down = watched->best_down;
  peer.best_up = watched->best_up;
  return peer;
}

template <typename Value>
Value median(std::vector<Value> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void mark_slow(SwarmView& view) {
  std::vector<unsigned> percents;
  std::vector<double> rates;
  for (const PeerView& peer : view.peers) {
    if (peer.complete) continue;
    if (peer.percent) percents.push_back(*peer.percent);
    if (peer.report) rates.push_back(peer.down);
  }
  if (percents.size() >= kMinForMedian) {
    const unsigned middle = median(percents);
    for (PeerView& peer : view.peers)
      peer.behind = !peer.complete && peer.percent && *peer.percent + kBehindPercent < middle;
  }
  if (rates.size() >= kMinForMedian) {
    const double middle = median(rates);
    for (PeerView& peer : view.peers)
      peer.slow = !peer.complete && peer.report && peer.down < middle * kSlowShare;
  }
}

// What most say of the content: one that lies does not change it.
void take_content(SwarmView& view) {
  std::map<std::tuple<std::uint64_t, std::uint32_t, std::string>, std::size_t> told;
  for (const PeerView& peer : view.peers)
    if (peer.report && peer.report->chunks > 0)
      ++told[{peer.report->bytes, peer.report->chunks, peer.report->name}];
  const auto most = std::max_element(
      told.begin(), told.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != told.end()) std::tie(view.bytes, view.chunks, view.name) = most->first;
}

std::optional<double> limit_of(const SwarmView& view) {
  if (view.reporting < view.summary.peers) return std::nullopt;
  double fetching = 0, of_seeders = 0, of_all = 0, slowest = 0;
  for (const PeerView& peer : view.peers) {
    const auto up = static_cast<double>(peer.best_up), down = static_cast<double>(peer.best_down);
    of_all += up;
    if (peer.complete) {
      of_seeders += up;
      continue;
    }
    slowest = fetching == 0 ? down : std::min(slowest, down);
    ++fetching;
  }
  const double limit = std::min({fetching * of_seeders, fetching * slowest, of_all});
  return limit > 0 ? std::optional(limit) : std::nullopt;
}

}  // namespace

std::optional<SwarmView> view_of(const Owner& owner, const SwarmId& swarm, Time now) {
  const PeerTable& table = owner.table();
  const auto summary = table.summary(swarm);
  if (!summary) return std::nullopt;
  SwarmView view{*summary};
  const WatchedSwarm* watched = owner.watched(swarm);
  const auto add = [&](const TableEntry& entry, const WatchedPeer* known) {
    const PeerView& peer = view.peers.emplace_back(peer_of(entry, known, now));
    if (!peer.report) return;
    ++view.reporting;
    view.down += peer.complete ? 0 : peer.down;
    view.up += peer.up;
  };
  if (watched != nullptr)
    for (const auto& [id, known] : watched->peers)
      if (const auto entry = table.find(swarm, id)) add(*entry, &known);
  // Those that cannot be asked: another owner's, or gone and in their grace.
  for (const TableEntry& entry : table.page(swarm, 0, kMaxViewedPeers))
    if (view.peers.size() < kMaxViewedPeers &&
        (watched == nullptr || !watched->peers.contains(entry.peer)))
      add(entry, nullptr);
  std::sort(view.peers.begin(), view.peers.end(), [](const PeerView& a, const PeerView& b) {
    return std::tuple(!a.seeds, a.endpoint, a.peer) < std::tuple(!b.seeds, b.endpoint, b.peer);
  });
  take_content(view);
  mark_slow(view);
  view.limit = limit_of(view);
  return view;
}

}  // namespace p2p::tracker
