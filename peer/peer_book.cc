#include "peer/peer_book.h"

#include <algorithm>

#include "base/check.h"

namespace p2p::peer {
namespace {

constexpr std::size_t kMaxEvicted = 100;

}  // namespace

PeerBook::PeerBook(PeerBookConfig config, Random random, Time)
    : config_(config), random_(random.fork("peer book")) {}

// --- candidates

PeerBook::Candidate* PeerBook::find_candidate(const Endpoint& endpoint) {
  const auto found = by_endpoint_.find(endpoint);
  return found == by_endpoint_.end() ? nullptr : &candidates_[found->second];
}

// Null when the book is full of better ones.
PeerBook::Candidate* PeerBook::add_candidate(const Endpoint& endpoint, bool lasting) {
  if (!endpoint.is_dialable()) return nullptr;
  Candidate* known = find_candidate(endpoint);
  if (known == nullptr) {
    if (candidates_.size() >= config_.max_candidates && !make_room()) return nullptr;
    by_endpoint_.emplace(endpoint, candidates_.size());
    candidates_.emplace_back().endpoint = endpoint;
    known = &candidates_.back();
  }
  known->lasting |= lasting;
  return known;
}

// Forgets the candidate that failed most often, dead ones first. False when none has failed.
bool PeerBook::make_room() {
  std::optional<std::size_t> worst;
  const auto badness = [&](std::size_t i) {
    return candidates_[i].dead ? kMaxFailures + 1 : candidates_[i].failures;
  };
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const Candidate& candidate = candidates_[i];
    if (candidate.lasting || candidate.dialling || candidate.connected || badness(i) == 0) continue;
    if (!worst || badness(i) > badness(*worst)) worst = i;
  }
  if (worst) drop_candidate(*worst);
  return worst.has_value();
}

void PeerBook::drop_candidate(std::size_t index) {
  by_endpoint_.erase(candidates_[index].endpoint);
  if (index + 1 < candidates_.size()) {
    candidates_[index] = candidates_.back();
    by_endpoint_[candidates_[index].endpoint] = index;
  }
  candidates_.pop_back();
}

void PeerBook::on_candidates(const std::vector<Endpoint>& endpoints, bool lasting, Time now) {
  for (const Endpoint& endpoint : endpoints) {
    Candidate* candidate = add_candidate(endpoint, lasting);
    if (candidate != nullptr && !candidate->dialling && !candidate->connected)
      candidate->far = false;
  }
  dial(now);
}

void PeerBook::on_far_candidates(const std::vector<Endpoint>& endpoints, Time now) {
  for (const Endpoint& endpoint : endpoints) {
    Candidate* candidate = add_candidate(endpoint, false);
    // What the link names, and what is being dialled, stays what it was counted as.
    if (candidate != nullptr && !candidate->lasting && !candidate->dialling)
      candidate->far = !config_.zone.empty();
  }
  dial(now);
}

// 1 s, 2 s, 4 s ... 1 min, each between half and all of it, so that many who failed at once do not
// come back at once.
Duration PeerBook::backoff(unsigned failures) {
  const unsigned doublings = std::min(failures > 0 ? failures - 1 : 0, 10u);
  const Duration full = std::min(kFirstRedial * (1u << doublings), kLastRedial);
  return from_seconds(to_seconds(full) * (0.5 + random_.unit() / 2));
}

void PeerBook::fail(const Endpoint& endpoint, Time now) {
  Candidate* candidate = find_candidate(endpoint);
  if (candidate == nullptr) return;
  ++candidate->failures;
  if (!candidate->lasting && candidate->failures >= kMaxFailures) {
    drop_candidate(static_cast<std::size_t>(candidate - candidates_.data()));
    return;
  }
  candidate->not_before =
      now + backoff(is_hungry() && candidate->lasting ? 1 : candidate->failures);
}

void PeerBook::on_dial_failed(const Endpoint& endpoint, bool for_good, Time now) {
  Candidate* candidate = find_candidate(endpoint);
  if (candidate != nullptr && candidate->dialling) {
    candidate->dialling = false;
    --dialling_;
    dialling_far_ -= candidate->far;
    candidate->dead |= for_good;
    if (!for_good) fail(endpoint, now);
  }
  dial(now);
}

bool PeerBook::is_usable(const Candidate& candidate) const {
  return !candidate.dialling && !candidate.connected && !candidate.dead &&
         !(candidate.peer && is_banned(*candidate.peer));
}

bool PeerBook::is_far(const Neighbour& neighbour) const {
  return !config_.zone.empty() && neighbour.zone != config_.zone;
}

std::size_t PeerBook::far_neighbours() const {
  return static_cast<std::size_t>(
      std::count_if(neighbours_.begin(), neighbours_.end(),
                    [&](const Neighbour& neighbour) { return is_far(neighbour); }));
}

std::size_t PeerBook::near_links() const {
  return neighbours_.size() - far_neighbours() + dialling_ - dialling_far_;
}

// Up to the degree; and beyond it now and then while we are hungry. Far ones up to their own
// degree, and up to the whole of it where there are no near ones.
PeerBook::Wish PeerBook::wish(Time now) {
  if (complete_ || dialling_ >= config_.max_dialing) return {};
  const std::size_t links = neighbours_.size() + dialling_;
  const std::size_t near = near_links();
  Wish wish;
  wish.near = near < config_.degree && links < config_.max_neighbours;
  wish.far_last = links - near >= config_.far_degree;
  wish.far = !config_.zone.empty() && (!wish.far_last || links < config_.degree);
  if (!is_hungry() || links < config_.degree) return wish;
  if (hunger_ != Hunger::kStarved && links >= config_.max_neighbours) return wish;
  wish.search = now >= search_at_;
  if (!wish.search) wake_at_ = std::min(wake_at_, search_at_);
  return wish;
}

// At the cap somebody goes, by lot: in a search nobody has anything for us, and one of many near
// ones is worth less than a far one. Of those that are far only where all are.
void PeerBook::make_place_for_dial(Time now) {
  if (neighbours_.size() + dialling_ < config_.max_neighbours || neighbours_.empty()) return;
  const bool all_far = far_neighbours() == neighbours_.size();
  std::size_t lot = random_.below(neighbours_.size() - (all_far ? 0 : far_neighbours()));
  std::size_t goes = 0;
  while (lot > 0 || (!all_far && is_far(neighbours_[goes]))) {
    if (all_far || !is_far(neighbours_[goes])) --lot;
    ++goes;
  }
  close(neighbours_[goes], ByeReason::kFull, "looks for somebody who has more");
  leave(goes, now);
}

void PeerBook::set_hunger(Hunger hunger, Time now) {
  const bool was_hungry = is_hungry();
  hunger_ = hunger;
  if (was_hungry || !is_hungry()) return;
  for (Candidate& candidate : candidates_)
    if (candidate.lasting) candidate.not_before = std::min(candidate.not_before, now + backoff(1));
  search_at_ = std::max(search_at_, now + kSearchInterval);
  wake_at_ = std::min(wake_at_, search_at_);
}

// Those that failed least come first, by lot among equals. In a search, those that the link names
// come before: a seeder has what a whole group may lack.
void PeerBook::dial(Time now) {
  wake_at_ = kNever;
  for (const Neighbour& neighbour : neighbours_)
    wake_at_ = std::min(wake_at_, neighbour.next_peers);
  for (Wish wants = wish(now); wants.is_any(); wants = wish(now)) {
    const auto is_wished = [&](const Candidate& candidate) {
      return candidate.far ? wants.far : wants.near;
    };
    const auto rank = [&](const Candidate& candidate) {
      if (!is_wished(candidate) && candidate.lasting) return 0u;
      return 1 + candidate.failures + (candidate.far && wants.far_last ? kMaxFailures : 0);
    };
    Candidate* best = nullptr;
    std::uint64_t ties = 0;
    Time next = kNever;
    for (Candidate& candidate : candidates_) {
      if (!is_usable(candidate) || !(wants.search || is_wished(candidate))) continue;
      if (candidate.not_before > now) {
        next = std::min(next, candidate.not_before);
        continue;
      }
      if (best != nullptr && rank(candidate) > rank(*best)) continue;
      if (best == nullptr || rank(candidate) < rank(*best)) ties = 0;
      if (random_.below(++ties) == 0) best = &candidate;
    }
    if (best == nullptr) {
      wake_at_ = std::min(wake_at_, next);
      return;
    }
    const Endpoint endpoint = best->endpoint;
    best->dialling = true;
    if (!is_wished(*best)) search_at_ = now + kSearchInterval;
    make_place_for_dial(now);  // moves candidates
    ++dialling_;
    dialling_far_ += find_candidate(endpoint)->far;
    actions_.push_back(Dial{endpoint});
  }
}

// --- neighbours

PeerBook::Neighbour* PeerBook::find_neighbour(ConnectionId connection) {
  const auto found =
      std::find_if(neighbours_.begin(), neighbours_.end(),
                   [&](const Neighbour& other) { return other.connection == connection; });
  return found == neighbours_.end() ? nullptr : &*found;
}

// Where our neighbours can be dialled, for `reader` to know.
std::vector<Endpoint> PeerBook::known_to(const Neighbour& reader) const {
  const auto& place = reader.dialled ? reader.dialled : reader.listens;
  const bool on_loopback = place && place->address.is_loopback();
  std::vector<Endpoint> known;
  for (const Neighbour& neighbour : neighbours_) {
    if (neighbour.connection == reader.connection || !neighbour.listens) continue;
    if (neighbour.listens->address.is_loopback() && !on_loopback) continue;
    if (neighbour.peer == reader.peer) continue;
    if (!reader.zone.empty() && neighbour.zone != reader.zone) continue;
    known.push_back(*neighbour.listens);
    if (known.size() == kMaxPeersInMessage) break;
  }
  return known;
}

void PeerBook::close(const Neighbour& who, ByeReason reason, std::string text) {
  Close close{who.connection, Bye{reason, std::move(text)}, {}};
  if (reason == ByeReason::kFull) close.known = known_to(who);
  actions_.push_back(std::move(close));
}

// Takes a neighbour out; its place may be dialled again after a while.
void PeerBook::leave(std::size_t index, Time now) {
  const Neighbour gone = neighbours_[index];
  neighbours_.erase(neighbours_.begin() + static_cast<std::ptrdiff_t>(index));
  for (const auto& place : {gone.dialled, gone.listens}) {
    if (!place) continue;
    Candidate* candidate = find_candidate(*place);
    if (candidate == nullptr || !candidate->connected) continue;
    candidate->connected = false;
    // A connection that held for a while says that the place is good.
    if (now - gone.since >= kSettled) candidate->failures = 0;
    fail(*place, now);
  }
}

// Of two connections to one peer, which goes? Returns whether the newcomer stays.
bool PeerBook::settle_duplicate(const Neighbour& newcomer, Time now) {
  const auto old =
      std::find_if(neighbours_.begin(), neighbours_.end(),
                   [&](const Neighbour& other) { return other.peer == newcomer.peer; });
  if (old == neighbours_.end()) return true;
  const bool new_is_ours = newcomer.dialled.has_value();
  const bool old_is_ours = old->dialled.has_value();
  const bool ours_stays = config_.self < newcomer.peer;
  const bool new_stays =
      new_is_ours != old_is_ours ? new_is_ours == ours_stays : now - old->since >= kSettled;
  if (!new_stays) return false;
  close(*old, ByeReason::kDuplicate, "another connection between the two stays");
  leave(static_cast<std::size_t>(old - neighbours_.begin()), now);
  return true;
}

// At the cap: somebody goes who has settled and is not busy. Those who came to us first: whom we
// dialled ourselves no crowd of newcomers should drive out, busy or not, as long as they are no
// more than half our degree.
bool PeerBook::make_place(const Neighbour& newcomer, Time now) {
  if (neighbours_.size() < config_.max_neighbours) return true;
  while (!evicted_.empty() && now - evicted_.front().at >= kEvictedFor) evicted_.pop_front();
  if (std::any_of(evicted_.begin(), evicted_.end(),
                  [&](const Evicted& evicted) { return evicted.peer == newcomer.peer; }))
    return false;
  const auto has_settled = [&](const Neighbour& neighbour) {
    return now - neighbour.since >= kSettled;
  };
  const bool ours = std::none_of(neighbours_.begin(), neighbours_.end(),
                                 [&](const auto& one) { return !one.dialled && has_settled(one); });
  const auto dialled =
      std::count_if(neighbours_.begin(), neighbours_.end(),
                    [](const Neighbour& neighbour) { return neighbour.dialled.has_value(); });
  if (ours && static_cast<std::size_t>(dialled) <= config_.degree / 2) return false;
  std::optional<std::size_t> goes;
  std::uint64_t ties = 0;
  for (std::size_t i = 0; i < neighbours_.size(); ++i) {
    const Neighbour& neighbour = neighbours_[i];
    if (neighbour.dialled.has_value() != ours || !has_settled(neighbour)) continue;
    if (is_busy_ && is_busy_(neighbour.connection)) continue;
    if (random_.below(++ties) == 0) goes = i;
  }
  if (!goes) return false;
  evicted_.push_back({neighbours_[*goes].peer, now});
  if (evicted_.size() > kMaxEvicted) evicted_.pop_front();
  close(neighbours_[*goes], ByeReason::kFull, "made place for a newcomer");
  leave(*goes, now);
  return true;
}

bool PeerBook::on_joined(ConnectionId connection, const PeerId& peer,
                         std::optional<Endpoint> dialled, std::optional<Endpoint> listens,
                         const std::string& zone, Time now) {
  if (listens && !listens->is_dialable()) listens.reset();
  Candidate* candidate = dialled ? find_candidate(*dialled) : nullptr;
  if (candidate != nullptr && candidate->dialling) {
    candidate->dialling = false;
    --dialling_;
    dialling_far_ -= candidate->far;
  }
  const Neighbour newcomer{connection, peer, dialled, listens, zone, now, now + kPeersInterval};
  const auto refuse = [&](ByeReason reason, std::string text, bool for_good) {
    Candidate* place = dialled ? find_candidate(*dialled) : nullptr;
    if (place != nullptr) {
      place->peer = peer;
      place->dead |= for_good;
      if (!for_good && !place->connected) fail(*dialled, now);
    }
    close(newcomer, reason, std::move(text));
    dial(now);
    return false;
  };
  if (peer == config_.self) return refuse(ByeReason::kSelf, "both ends are the same peer", true);
  if (is_banned(peer)) return refuse(ByeReason::kBanned, "banned for a bad chunk", false);
  if (!settle_duplicate(newcomer, now))
    return refuse(ByeReason::kDuplicate, "there is a connection already", false);
  if (!make_place(newcomer, now)) return refuse(ByeReason::kFull, "no place free", false);

  neighbours_.push_back(newcomer);
  for (const auto& place : {dialled, listens}) {
    if (!place) continue;
    Candidate* known = add_candidate(*place, false);
    if (known == nullptr) continue;
    known->connected = true;
    known->peer = peer;
    if (!known->dialling) known->far = is_far(newcomer) && !known->lasting;
  }
  send_peers(neighbours_.back(), now);
  dial(now);
  return true;
}

void PeerBook::on_disconnected(ConnectionId connection, Time now) {
  const Neighbour* neighbour = find_neighbour(connection);
  if (neighbour != nullptr) leave(static_cast<std::size_t>(neighbour - neighbours_.data()), now);
  dial(now);
}

void PeerBook::ban(const PeerId& peer) {
  if (!banned_.insert(peer).second) return;
  banned_order_.push_back(peer);
  if (banned_order_.size() <= kMaxBanned) return;
  banned_.erase(banned_order_.front());
  banned_order_.pop_front();
}

bool PeerBook::is_banned(const PeerId& peer) const { return banned_.contains(peer); }

void PeerBook::set_complete(Time now) {
  complete_ = true;
  dial(now);
}

std::size_t PeerBook::wanted() const {
  if (complete_) return 0;
  if (is_hungry()) return config_.degree;  // those at hand may be of our own group
  const auto at_hand = static_cast<std::size_t>(std::count_if(
      candidates_.begin(), candidates_.end(),
      [&](const Candidate& candidate) { return is_usable(candidate) && !candidate.far; }));
  const std::size_t have = near_links() + at_hand;
  return have >= config_.degree ? 0 : config_.degree - have;
}

std::size_t PeerBook::neighbours() const { return neighbours_.size(); }
std::size_t PeerBook::dialing() const { return dialling_; }

bool PeerBook::has_candidates() const {
  return std::any_of(candidates_.begin(), candidates_.end(),
                     [&](const Candidate& candidate) { return is_usable(candidate); });
}

void PeerBook::send_peers(Neighbour& neighbour, Time now) {
  neighbour.next_peers = now + kPeersInterval;
  std::vector<Endpoint> known = known_to(neighbour);
  if (!known.empty()) actions_.push_back(SendPeers{neighbour.connection, std::move(known)});
}

Time PeerBook::next_timeout() const { return wake_at_; }

void PeerBook::on_timeout(Time now) {
  if (now < wake_at_) return;
  for (Neighbour& neighbour : neighbours_)
    if (neighbour.next_peers <= now) send_peers(neighbour, now);
  dial(now);
}

std::optional<PeerBookAction> PeerBook::poll_action() {
  if (actions_.empty()) return std::nullopt;
  PeerBookAction action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

}  // namespace p2p::peer
