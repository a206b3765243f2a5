// The part of Owner that shares swarms through a store (see owner.h).
#include "tracker/owner.h"

namespace p2p::tracker {

void Owner::follow(ConnectionId id, const Announce& announce, bool complete) {
  auto found = followed_.find(announce.swarm);
  if (found == followed_.end()) {
    if (followed_.size() >= config_.limits.swarms) return;
    found = followed_.try_emplace(announce.swarm).first;
    unfollows_.emplace_back(now_ + kFollowFor, announce.swarm);
    actions_.push_back(StoreFollow{announce.swarm});
  }
  Followed& followed = found->second;
  followed.until = now_ + kFollowFor;
  if (followed.loading && !complete && followed.waiting.size() < kMaxWaitingForStore)
    followed.waiting[id] = announce.want;
}

void Owner::unfollow_unasked() {
  while (next_unfollow() <= now_ && !unfollows_.empty()) {
    const SwarmId swarm = unfollows_.front().second;
    unfollows_.pop_front();
    const auto found = followed_.find(swarm);
    if (found->second.until > now_) {
      unfollows_.emplace_back(now_ + kFollowFor, swarm);
      continue;
    }
    followed_.erase(found);
    actions_.push_back(StoreUnfollow{swarm});
  }
}

std::optional<StorePut> Owner::stored_form(const SwarmId& swarm, const TableEntry& entry) const {
  if (entry.endpoint.address.is_loopback() && !config_.share_loopback) return std::nullopt;
  return StorePut{
      swarm, {entry.peer, entry.endpoint, entry.complete, std::string(entry.zone)}, entry.expires};
}

void Owner::store(const SwarmId& swarm, const PeerId& peer) {
  if (!config_.share || !followed_.contains(swarm)) return;
  const auto entry = table_.find(swarm, peer);
  if (!entry) return;
  if (auto put = stored_form(swarm, *entry)) actions_.push_back(*std::move(put));
}

void Owner::store_removal(const SwarmId& swarm, const PeerId& peer) {
  if (config_.share && followed_.contains(swarm)) actions_.push_back(StoreRemove{swarm, peer});
}

void Owner::on_stored_peer(const SwarmId& swarm, const StoredPeer& stored, Time expires, Time now) {
  advance(now);
  const auto followed = followed_.find(swarm);
  if (followed == followed_.end() || is_self(swarm, stored.peer) || expires <= now_) return;
  if (stored.endpoint.address.is_loopback() && !config_.share_loopback) return;
  const auto known = table_.find(swarm, stored.peer);
  if (known && is_connected(*known)) {
    // Its connection to another owner has gone. The one to this has not.
    if (expires <= now_ + kDisconnectGrace && expires < known->expires) store(swarm, stored.peer);
    return;
  }
  TableEntry entry;
  entry.peer = stored.peer;
  entry.endpoint = stored.endpoint;
  entry.complete = stored.complete;
  entry.expires = std::min(expires, now_ + kMaxStoredLife);
  entry.connection = kFromStore;
  entry.zone = stored.zone;
  // Past a limit it is left out, as an announce would be refused.
  if (!table_.put(swarm, entry, stored.endpoint.address)) return;
  if (!known && !followed->second.loading) push_news(swarm, stored.peer);
}

void Owner::on_stored_removal(const SwarmId& swarm, const PeerId& peer, Time now) {
  advance(now);
  const auto known = table_.find(swarm, peer);
  if (!known || !followed_.contains(swarm)) return;
  if (is_connected(*known)) return store(swarm, peer);
  if (known->gateway) dismiss(swarm, peer);
  table_.remove(swarm, peer);
}

void Owner::on_store_loaded(const SwarmId& swarm, Time now) {
  advance(now);
  const auto found = followed_.find(swarm);
  if (found == followed_.end() || !found->second.loading) return;
  found->second.loading = false;
  const auto waiting = std::exchange(found->second.waiting, {});
  for (const auto& [id, want] : waiting) {
    const auto connection = connections_.find(id);
    if (connection == connections_.end()) continue;
    const auto entry = table_.find(swarm, connection->second.peer);
    if (!entry || entry->complete) continue;
    Announce asked;
    asked.swarm = swarm;
    asked.want = want;
    auto peers = entry->zone.empty() ? handout(swarm, connection->second, want)
                                     : handout_by_zone(asked, connection->second);
    if (!peers.empty()) send(id, Handout{swarm, Duration::zero(), std::move(peers)});
  }
}

std::optional<std::vector<StorePut>> Owner::own_entries(const SwarmId& swarm, std::size_t first,
                                                        std::size_t count) const {
  const auto entries = table_.page(swarm, first, count);
  if (entries.empty()) return std::nullopt;
  std::vector<StorePut> own;
  for (const TableEntry& entry : entries) {
    if (entry.connection == kFromStore) continue;
    if (auto put = stored_form(swarm, entry)) own.push_back(*std::move(put));
  }
  return own;
}

}  // namespace p2p::tracker
