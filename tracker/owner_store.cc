// The part of Owner that shares swarms through a store (see owner.h).
#include "absl/strings/str_cat.h"
#include "tracker/owner.h"

namespace p2p::tracker {

void Owner::follow(ConnectionId id, const Announce& announce, bool complete) {
  auto found = followed_.find(announce.swarm);
  if (found == followed_.end()) {
    const IpAddress& observed = connections_.at(id).observed;
    std::optional<IpAddress> founder;
    if (!observed.is_loopback() || config_.limits_loopback) founder = observed.network();
    if (!may_follow(founder, observed)) return;
    if (founder) ++follows_of_[*founder];
    found = followed_.try_emplace(announce.swarm).first;
    found->second.founder = founder;
    unfollows_.emplace_back(now_ + kFollowCheck, announce.swarm);
    actions_.push_back(StoreFollow{announce.swarm});
  }
  Followed& followed = found->second;
  followed.until = now_ + kFollowFor;
  if (followed.loading && !complete && followed.waiting.size() < kMaxWaitingForStore)
    followed.waiting[id] = announce.want;
}

bool Owner::may_follow(const std::optional<IpAddress>& founder, const IpAddress& observed) {
  const bool full = followed_.size() >= config_.limits.swarms;
  const auto of_founder = founder ? follows_of_.find(*founder) : follows_of_.end();
  const std::size_t most =
      config_.limits.swarms_per_address * (observed.is_v4() ? 1 : kHostsOfNetwork);
  if (!full && (of_founder == follows_of_.end() || of_founder->second < most)) return true;
  if (unshared_told_ == Time::min() || now_ - unshared_told_ >= kUnsharedToldEvery) {
    unshared_told_ = now_;
    actions_.push_back(StoreFull{
        full ? absl::StrCat("all ", config_.limits.swarms, " contents that can be are shared")
             : absl::StrCat("of ", founder->to_string(), ", the most of one address (", most,
                            " contents) are shared")});
  }
  return false;
}

// The store's peers need no sharing of a swarm of which nobody is left.
void Owner::unfollow_unasked() {
  for (std::size_t i = 0; i < kMaxFollowsChecked && next_unfollow() <= now_; ++i) {
    if (unfollows_.empty()) return;
    const SwarmId swarm = unfollows_.front().second;
    unfollows_.pop_front();
    const auto found = followed_.find(swarm);
    const bool empty = table_.swarm_size(swarm) == 0 && !selves_.contains(swarm);
    if (found->second.until > now_ && !empty) {
      unfollows_.emplace_back(now_ + kFollowCheck, swarm);
      continue;
    }
    if (const auto& founder = found->second.founder)
      if (--follows_of_.at(*founder) == 0) follows_of_.erase(*founder);
    followed_.erase(found);
    actions_.push_back(StoreUnfollow{swarm});
  }
}

void Owner::stop_waiting(ConnectionId id, const SwarmId& swarm) {
  const auto found = followed_.find(swarm);
  if (found != followed_.end()) found->second.waiting.erase(id);
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

void Owner::on_stored_peer(const SwarmId& swarm, const StoredPeer& stored, Time expires, Time now,
                           Heard heard) {
  advance(now);
  const auto followed = followed_.find(swarm);
  if (followed == followed_.end() || is_self(swarm, stored.peer)) return;
  if (stored.endpoint.address.is_loopback() && !config_.share_loopback) return;
  const auto known = table_.find(swarm, stored.peer);
  if (known && is_connected(*known)) {
    // Its connection to another owner has gone. The one to this has not. By how much less it should
    // live is no matter of seconds: the owners' clocks are not the same.
    if (expires < now_ + (known->expires - now_) / 2) store(swarm, stored.peer);
    return;
  }
  if (expires <= now_) return;
  TableEntry entry;
  entry.peer = stored.peer;
  entry.endpoint = stored.endpoint;
  entry.complete = stored.complete;
  entry.expires = std::min(expires, now_ + kMaxStoredLife);
  entry.connection = kFromStore;
  entry.zone = stored.zone;
  // Past a limit it is left out, as an announce would be refused.
  if (!table_.put(swarm, entry, stored.endpoint.address)) return;
  if (!known && !followed->second.loading && heard == Heard::kAsNews) push_news(swarm, stored.peer);
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
