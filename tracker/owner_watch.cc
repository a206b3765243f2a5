// Reports of the peers of swarms that somebody looks at.
#include <algorithm>

#include "tracker/owner.h"

namespace p2p::tracker {
namespace {

// Asked again when less than this is left.
constexpr Duration kAskAhead = kWatchFor / 2;
// The newest of a rate counts so much.
constexpr double kNewestWeight = 0.5;

}  // namespace

void Owner::watch(const SwarmId& swarm, Time now) {
  advance(now);
  if (table_.swarm_size(swarm) == 0) return;
  if (!watched_.contains(swarm) && watched_.size() >= kMaxWatchedSwarms) {
    const auto oldest = std::min_element(
        watched_.begin(), watched_.end(),
        [](const auto& a, const auto& b) { return a.second.until < b.second.until; });
    watched_peers_ -= oldest->second.peers.size();
    watched_.erase(oldest);
  }
  WatchedSwarm& watched = watched_.try_emplace(swarm).first->second;
  watched.until = now_ + kWatchFor;
  if (now_ < watched.look_at) return;
  watched.look_at = now_ + kWatchLook;
  ask_for_reports(swarm, watched);
}

void Owner::ask_for_reports(const SwarmId& swarm, WatchedSwarm& watched) {
  watched_peers_ -= std::erase_if(watched.peers, [&](const auto& item) {
    const auto entry = table_.find(swarm, item.first);
    return !entry || entry->connection != item.second.connection || !is_connected(*entry);
  });
  const auto has_room = [&] {
    return watched.peers.size() < kMaxWatchedPeers && watched_peers_ < kMaxWatchedPeersInAll;
  };
  const std::size_t size = table_.swarm_size(swarm);
  if (has_room()) {
    const std::size_t first = size > kMaxWatchedPeers ? random_.below(size) : 0;
    for (const TableEntry& entry : table_.page(swarm, first, kMaxWatchedPeers))
      if (has_room() && is_connected(entry))
        watched_peers_ +=
            watched.peers.try_emplace(entry.peer, WatchedPeer{entry.connection, now_}).second;
  }
  for (auto& [peer, of] : watched.peers) {
    if (of.asked_until - now_ > kAskAhead) continue;
    of.asked_until = now_ + kWatchFor;
    send(of.connection, Watch{swarm, kWatchFor});
  }
}

void Owner::on_report(ConnectionId id, const Connection& connection, const Report& report) {
  const auto swarm = watched_.find(report.swarm);
  if (swarm == watched_.end()) return;
  const auto found = swarm->second.peers.find(connection.peer);
  if (found == swarm->second.peers.end() || found->second.connection != id) return;
  WatchedPeer& peer = found->second;
  if (peer.report && now_ - peer.reported < kMinReportGap) return;
  const double weight = peer.report ? kNewestWeight : 1;
  peer.down += weight * (static_cast<double>(report.down_rate) - peer.down);
  peer.up += weight * (static_cast<double>(report.up_rate) - peer.up);
  peer.best_down = std::max(peer.best_down, report.down_rate);
  peer.best_up = std::max(peer.best_up, report.up_rate);
  peer.reported = now_;
  peer.report = report;
  if (report.chunks > 0)
    table_.set_have_percent(report.swarm, connection.peer,
                            static_cast<std::uint8_t>(std::uint64_t{report.have_chunks} *
                                                      kFullPercent / report.chunks));
}

void Owner::end_watches() {
  std::erase_if(watched_, [&](const auto& item) {
    const bool over = item.second.until <= now_;
    if (over) watched_peers_ -= item.second.peers.size();
    return over;
  });
}

}  // namespace p2p::tracker
