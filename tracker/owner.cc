#include "tracker/owner.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace p2p::tracker {
namespace {

// The endpoint with the most points; the first of equals, none where no points are given.
template <typename Points>
const Endpoint* best_of(const std::vector<Endpoint>& endpoints, Points points) {
  const Endpoint* best = nullptr;
  int most = 0;
  for (const Endpoint& endpoint : endpoints) {
    const int given = endpoint.is_dialable() ? points(endpoint.address) : 0;
    if (given > most) best = &endpoint, most = given;
  }
  return best;
}

// Of one that is not complete: never all, whatever it says.
std::uint8_t percent_of(std::uint16_t permille) {
  return static_cast<std::uint8_t>(std::min(permille / 10, kFullPercent - 1));
}

bool same_family(const IpAddress& a, const IpAddress& b) { return a.is_v4() == b.is_v4(); }

}  // namespace

Owner::Owner(OwnerConfig config, Random random, Time now)
    : config_(std::move(config)),
      random_(random.fork("owner")),
      now_(now),
      table_(config_.limits, random),
      announces_(config_.announces) {}

void Owner::advance(Time now) {
  now_ = std::max(now_, now);
  table_.expire(now_);
  unfollow_unasked();
  close_useless();
  if (!watched_.empty()) end_watches();
}

void Owner::on_timeout(Time now) { advance(now); }

void Owner::on_connected(ConnectionId connection, const PeerId& peer, const IpAddress& observed,
                         Time now) {
  advance(now);
  const Time useless_at = end_of_life(config_.min_interval);
  P2P_CHECK(
      connections_
          .try_emplace(connection, Connection{peer, observed, {}, Time::min(), useless_at, false})
          .second);
  looks_.emplace_back(useless_at, connection);
}

void Owner::on_disconnected(ConnectionId connection, Time now) {
  advance(now);
  forget(connection);
}

void Owner::forget(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const Connection& connection = found->second;
  for (const SwarmId& swarm : connection.swarms) {
    stop_waiting(id, swarm);
    const auto entry = table_.find(swarm, connection.peer);
    if (!entry || entry->connection != id) continue;
    table_.expire_by(swarm, connection.peer, now_ + kDisconnectGrace);
    store(swarm, connection.peer);
    if (entry->gateway) dismiss(swarm, connection.peer);
  }
  connections_.erase(found);
}

// Each is looked at once in the shortest life, so that the order of looks is that in which they
// were noted down. It takes two of them to close one: when our host slept, what its peers have sent
// meanwhile is read only now.
void Owner::close_useless() {
  while (!looks_.empty() && looks_.front().first <= now_) {
    const ConnectionId id = looks_.front().second;
    looks_.pop_front();
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    Connection& connection = found->second;
    const bool useless = connection.useless_at <= now_;
    if (!useless || !std::exchange(connection.doubted, true)) {
      connection.doubted = useless;
      looks_.emplace_back(end_of_life(config_.min_interval), id);
      continue;
    }
    forget(id);
    actions_.push_back(CloseConnection{id, "nothing that it sent was accepted for too long"});
  }
}

void Owner::note_use(Connection& connection, Duration interval) {
  connection.useless_at = std::max(connection.useless_at, end_of_life(interval));
  connection.doubted = false;
}

Time Owner::end_of_life(Duration interval) const {
  return now_ + std::chrono::duration_cast<Duration>(interval * kLifeIntervals);
}

void Owner::on_message(ConnectionId connection, const Message& message, Time now) {
  advance(now);
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  count(message);
  if (!admit(connection, found->second, message)) return;
  if (const auto* announce = std::get_if<Announce>(&message)) {
    on_announce(connection, found->second, *announce);
  } else if (const auto* lookup = std::get_if<Lookup>(&message)) {
    on_lookup(connection, found->second, *lookup);
  } else if (const auto* report = std::get_if<Report>(&message)) {
    on_report(connection, found->second, *report);
  } else {
    forget(connection);
    actions_.push_back(CloseConnection{connection, "a peer sent a message that only owners send"});
  }
}

bool Owner::admit(ConnectionId id, Connection& connection, const Message& message) {
  if (config_.announces.per_second == 0) return true;
  if (connection.observed.is_loopback() && !config_.limits_loopback) return true;
  const auto* announce = std::get_if<Announce>(&message);
  const auto* lookup = std::get_if<Lookup>(&message);
  const bool reports = std::holds_alternative<Report>(message);
  if (announce == nullptr && lookup == nullptr && !reports) return true;
  const auto due = static_cast<Duration::rep>(connection.swarms.size() + 1);
  Time& until = connection.announced_until;
  until = std::max(until, now_) + kAnnounceGap / due;
  if (until - now_ > 2 * kAnnounceAhead) {
    forget(id);
    actions_.push_back(CloseConnection{id, "it announces too often, and goes on"});
    return false;
  }
  if (reports) return until - now_ <= kAnnounceAhead;
  const bool of_address = announces_.allow(connection.observed, now_);
  // The end of an entry is less work than its refusal, and is not answered.
  if (announce != nullptr && announce->event == Event::kStopped) return true;
  const SwarmId& swarm = announce != nullptr ? announce->swarm : lookup->swarm;
  if (until - now_ > kAnnounceAhead) {
    refuse(id, swarm, "too many announces on one connection");
    return false;
  }
  if (!of_address)
    refuse(id, swarm,
           absl::StrCat("too many announces from one address (",
                        announces_.per_second(connection.observed), " a second)"));
  return of_address;
}

void Owner::on_announce(ConnectionId id, Connection& connection, const Announce& announce) {
  if (!serves(announce.swarm)) return refuse(id, announce.swarm, "not served here");
  if (announce.event == Event::kStopped) return on_stopped(id, connection, announce.swarm);
  const Duration interval = draw_interval();
  const bool complete = announce.complete || announce.event == Event::kCompleted;
  const bool self = is_self(announce.swarm, connection.peer);
  const bool newcomer =
      !self && announce.event == Event::kStarted && !table_.find(announce.swarm, connection.peer);
  if (!self && !keep(id, connection, announce, interval)) return;
  if (config_.share) follow(id, announce, complete);
  if (!self) store(announce.swarm, connection.peer);

  note_use(connection, interval);
  Handout answer{announce.swarm, interval, {}};
  if (!complete) {
    const auto entry = table_.find(announce.swarm, connection.peer);
    answer.peers = entry && !entry->zone.empty()
                       ? handout_by_zone(announce, connection)
                       : handout(announce.swarm, connection, announce.want);
  }
  send(id, std::move(answer));
  if (newcomer) push_news(announce.swarm, connection.peer);
}

bool Owner::keep(ConnectionId id, Connection& connection, const Announce& announce,
                 Duration interval) {
  auto& swarms = connection.swarms;
  const bool known = std::find(swarms.begin(), swarms.end(), announce.swarm) != swarms.end();
  if (!known && swarms.size() >= kMaxSwarmsPerConnection) {
    refuse(id, announce.swarm, "too many contents announced on one connection");
    return false;
  }
  TableEntry entry;
  entry.peer = connection.peer;
  entry.endpoint = endpoint_of(connection, announce);
  entry.complete = announce.complete || announce.event == Event::kCompleted;
  entry.expires = end_of_life(interval);
  entry.connection = id;
  entry.zone = announce.zone;
  if (!entry.complete) entry.have_percent = percent_of(announce.have_permille);
  Status kept = table_.put(announce.swarm, entry, connection.observed);
  if (!kept) {
    refuse(id, announce.swarm, std::move(kept).error().message);
    return false;
  }
  if (!known) swarms.push_back(announce.swarm);
  return true;
}

void Owner::on_stopped(ConnectionId id, Connection& connection, const SwarmId& swarm) {
  std::erase(connection.swarms, swarm);
  stop_waiting(id, swarm);
  const auto entry = table_.find(swarm, connection.peer);
  if (!entry) return;
  if (entry->connection != id && connections_.contains(entry->connection)) return;
  if (entry->gateway) dismiss(swarm, connection.peer);
  table_.remove(swarm, connection.peer);
  store_removal(swarm, connection.peer);
}

void Owner::on_lookup(ConnectionId id, Connection& connection, const Lookup& lookup) {
  if (!serves(lookup.swarm)) return refuse(id, lookup.swarm, "not served here");
  const Duration interval = draw_interval();
  note_use(connection, interval);
  send(id, Handout{lookup.swarm, interval, handout(lookup.swarm, connection, lookup.want, true)});
}

void Owner::count(const Message& message) {
  if (const auto* announce = std::get_if<Announce>(&message))
    ++stats_.announces[static_cast<std::size_t>(announce->event)];
  else if (std::holds_alternative<Lookup>(message))
    ++stats_.lookups;
}

void Owner::send(ConnectionId id, Message message) {
  if (const auto* handout = std::get_if<Handout>(&message))
    ++(handout->interval == Duration::zero() ? stats_.news : stats_.handouts);
  else if (std::holds_alternative<Refusal>(message))
    ++stats_.refusals;
  actions_.push_back(SendMessage{id, std::move(message)});
}

void Owner::refuse(ConnectionId id, const SwarmId& swarm, std::string text) {
  send(id, Refusal{swarm, std::move(text)});
}

void Owner::push_news(const SwarmId& swarm, const PeerId& newcomer) {
  const auto entry = table_.find(swarm, newcomer);
  if (!entry || !entry->endpoint.is_dialable()) return;
  const PeerRecord near{entry->endpoint, entry->complete};
  const PeerRecord far{entry->endpoint, entry->complete, true};
  if (entry->zone.empty()) {
    for (const PeerId& peer : table_.sample_incomplete(swarm, newcomer, kNewsPeers)) {
      const auto reader = table_.find(swarm, peer);
      if (reader->zone.empty() || reader->gateway)
        push(swarm, peer, reader->zone.empty() ? near : far);
    }
    return;
  }
  for (const PeerId& peer : table_.sample_incomplete_near(swarm, newcomer, kNewsPeers))
    push(swarm, peer, near);
  if (!entry->gateway) return;
  for (const PeerId& peer : table_.sample_gateways(swarm, newcomer, kNewsPeers))
    push(swarm, peer, far);
}

void Owner::push(const SwarmId& swarm, const PeerId& to, const PeerRecord& record) {
  const ConnectionId id = table_.find(swarm, to)->connection;
  const auto connection = connections_.find(id);
  if (connection == connections_.end()) return;  // gone, and in its grace
  if (record.endpoint.address.is_loopback() && !connection->second.observed.is_loopback()) return;
  send(id, Handout{swarm, Duration::zero(), {record}});
}

// A gateway goes: the first of a few others that is connected takes its place.
void Owner::dismiss(const SwarmId& swarm, const PeerId& peer) {
  table_.dismiss(swarm, peer);
  for (const PeerId& next : table_.sample_incomplete_near(swarm, peer, kNewsPeers)) {
    const auto entry = table_.find(swarm, next);
    const auto connection = connections_.find(entry->connection);
    if (entry->gateway || connection == connections_.end()) continue;
    table_.appoint(swarm, next, false, now_);
    auto far = table_.sample_far(swarm, next, connection->second.observed, kFarPeers);
    if (!has_self_in(swarm, entry->zone))
      add_self(far, swarm, connection->second, kFarPeers, 0, true);
    if (!far.empty()) send(entry->connection, Handout{swarm, Duration::zero(), std::move(far)});
    return;
  }
}

bool Owner::serves(const SwarmId& swarm) const {
  return !config_.own_swarms_only || selves_.contains(swarm);
}

bool Owner::is_self(const SwarmId& swarm, const PeerId& peer) const {
  const auto self = selves_.find(swarm);
  return self != selves_.end() && self->second.peer == peer;
}

Endpoint Owner::endpoint_of(const Connection& connection, const Announce& announce) const {
  const IpAddress& observed = connection.observed;
  // Port 0 says that nobody should dial, whatever is advertised.
  if (config_.trust_advertised && announce.port != 0) {
    const Endpoint* best = best_of(announce.advertised, [&](const IpAddress& address) {
      if (address.is_loopback()) return observed.is_loopback() ? 1 : 0;
      return same_family(address, observed) ? 3 : 2;
    });
    if (best != nullptr) return *best;
  }
  return Endpoint{observed, announce.port};
}

std::vector<PeerRecord> Owner::handout(const SwarmId& swarm, const Connection& to, std::size_t want,
                                       bool with_shares) {
  want = std::min(want, kMaxPeersInMessage);
  std::vector<PeerRecord> peers = table_.sample(swarm, to.peer, to.observed, want, with_shares);
  add_self(peers, swarm, to, want, table_.swarm_size(swarm), false, with_shares);
  return peers;
}

std::vector<PeerRecord> Owner::handout_by_zone(const Announce& announce, const Connection& to) {
  const SwarmId& swarm = announce.swarm;
  const std::size_t want = std::min<std::size_t>(announce.want, kMaxPeersInMessage);
  // One that has just started has not asked anybody yet.
  const bool starves = announce.starving && announce.event != Event::kStarted;
  const bool was_gateway = table_.find(swarm, to.peer)->gateway;
  const bool is_gateway = table_.appoint(swarm, to.peer, starves, now_);
  const bool self_is_near = has_self_in(swarm, table_.find(swarm, to.peer)->zone);

  std::vector<PeerRecord> peers = table_.sample_near(swarm, to.peer, to.observed, want);
  if (self_is_near) add_self(peers, swarm, to, want, table_.zone_size(swarm, to.peer), false);
  if (!is_gateway) return peers;
  std::size_t far_want = std::max(kFarPeers, want - peers.size());
  if (was_gateway) far_want = std::min(far_want, want);
  auto far = table_.sample_far(swarm, to.peer, to.observed, far_want);
  if (!self_is_near) add_self(far, swarm, to, far_want, 0, true);
  peers.resize(std::min(peers.size(), std::max(want, far.size()) - far.size()));
  peers.insert(peers.end(), far.begin(), far.end());
  return peers;
}

bool Owner::has_self_in(const SwarmId& swarm, std::string_view zone) const {
  const auto self = selves_.find(swarm);
  return self != selves_.end() && self->second.zone == zone;
}

void Owner::add_self(std::vector<PeerRecord>& peers, const SwarmId& swarm, const Connection& to,
                     std::size_t want, std::size_t others, bool far, bool with_shares) {
  const auto self = selves_.find(swarm);
  if (self == selves_.end() || self->second.peer == to.peer || want == 0) return;
  const Endpoint* endpoint = best_of(self->second.endpoints, [&](const IpAddress& address) {
    const int family = same_family(address, to.observed) ? 1 : 0;
    if (address.is_loopback()) return to.observed.is_loopback() ? 3 + family : 0;
    return 1 + family;
  });
  if (endpoint == nullptr) return;
  PeerRecord record{*endpoint, self->second.complete, far};
  if (with_shares) record.have_percent = self->second.have_percent;
  if (peers.size() < want) {
    peers.push_back(record);
    std::swap(peers.back(), peers[random_.below(peers.size())]);
  } else if (random_.below(others + 1) < want) {
    // One more member of the swarm, as likely as each of the others to be among those drawn.
    peers[random_.below(peers.size())] = record;
  }
}

void Owner::set_self(const SwarmId& swarm, const PeerId& self, std::vector<Endpoint> endpoints,
                     bool complete, std::string zone, std::uint16_t have_permille) {
  selves_.insert_or_assign(swarm, Self{self, std::move(endpoints), complete, std::move(zone),
                                       complete ? kFullPercent : percent_of(have_permille)});
}

// Every entry announces once an interval: entries / interval announces arrive a second.
Duration Owner::draw_interval() {
  double seconds = to_seconds(config_.max_interval);
  if (config_.announces_per_second > 0)
    seconds =
        std::min(seconds, static_cast<double>(table_.entry_count()) / config_.announces_per_second);
  seconds = std::max(seconds, to_seconds(config_.min_interval));
  seconds *= 1 + kIntervalJitter * (2 * random_.unit() - 1);
  const Duration interval = std::clamp(from_seconds(std::min(seconds, to_seconds(kMaxInterval))),
                                       kMinInterval, kMaxInterval);
  return std::chrono::duration_cast<std::chrono::milliseconds>(interval);
}

std::optional<OwnerAction> Owner::poll_action() {
  if (actions_.empty()) return std::nullopt;
  OwnerAction action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

}  // namespace p2p::tracker
