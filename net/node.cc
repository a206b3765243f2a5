#include "net/node.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/check.h"
#include "crypto/keys.h"
#include "gossip/ownership.h"
#include "net/address.h"
#include "net/log.h"

namespace p2p::net {
namespace {

std::uint16_t permille_of(const Bitfield& have) {
  if (have.size() == 0) return tracker::kFullPermille;
  return static_cast<std::uint16_t>(std::uint64_t{have.count()} * tracker::kFullPermille /
                                    have.size());
}

}  // namespace

Node::Node(Loop& loop, TransportConfig config)
    : loop_(loop),
      random_(random_seed()),
      first_message_timeout_(config.timeouts.first_message),
      transport_(loop, std::move(config), [this](const Event& event) { on_event(event); }),
      silent_timer_(loop, [this] { close_silent(); }) {}

void Node::answer_announces(tracker::OwnerConfig config, std::optional<StoreAddress> store) {
  owner_service_.emplace(loop_, transport_, config, random_.fork("owner"), std::move(store));
}

AnnounceClient& Node::announce_to(const std::vector<OwnerAddress>& ranked,
                                  tracker::AnnouncerConfig config) {
  return announcers_.emplace_back(
      loop_, transport_, ranked, std::move(config),
      random_.fork("announcer " + std::to_string(announcers_.size())),
      [this](const std::vector<tracker::PeerRecord>& found) { add_candidates(found); });
}

Result<Endpoint> Node::join_cluster(GossipConfig config, std::uint16_t service_port,
                                    std::function<void()> on_superseded) {
  P2P_CHECK(owner_service_ || config.observer);
  table_psk_ = config.keys[0];
  GossipHandlers handlers;
  handlers.on_change = [this] {
    log_debug("members of the cluster: " + std::to_string(gossip_->membership().table().live()));
    rank_members();
  };
  handlers.on_superseded = std::move(on_superseded);
  gossip_.emplace(loop_, std::move(config), transport_.self(), random_.fork("cluster"),
                  std::move(handlers));
  return gossip_->start(service_port);
}

void Node::announce_to_table(tracker::AnnouncerConfig config) {
  config.spread = gossip::kOwners;
  table_config_ = config;
  table_announcer_ = &announce_to({}, std::move(config));
  table_announcer_->set_on_lost([this](const HostPort& where) { doubt_owner(where); });
  rank_members();
}

// Whoever is not reached by TCP is pinged at once: a crash is found sooner than by chance.
void Node::doubt_owner(const HostPort& where) {
  const auto found = table_owners_.find(where);
  if (found != table_owners_.end()) gossip_->doubt(found->second);
}

// This node's own table is told by own_entry(); the others by announces. A few more than the spread
// are named, so that an old owner is left only when a new one has answered.
void Node::rank_members() {
  if (!table_announcer_) return;
  std::vector<OwnerAddress> ranked;
  table_owners_.clear();
  for (const gossip::ClaimPtr& owner :
       gossip::owners_of(gossip_->membership().table(), table_config_->swarm, 2 * gossip::kOwners))
    if (owner->id != transport_.self()) {
      ranked.push_back({{owner->endpoint.address.to_string(), owner->service_port}, table_psk_});
      table_owners_.emplace(ranked.back().where, owner->id);
    }
  table_announcer_->set_owners(ranked);
}

void Node::own_entry() {
  if (!table_announcer_ || !owner_service_) return;
  const bool complete = session_->running() && session_->swarm().complete();
  // In steps of a percent, as owners tell it.
  const std::uint16_t have = session_->running() ? permille_of(session_->swarm().have()) : 0;
  if (own_entry_ == std::pair(complete, have / 10)) return;
  own_entry_ = {complete, have / 10};
  std::vector<Endpoint> endpoints = table_config_->advertised;
  if (endpoints.empty()) endpoints = reachable_endpoints(transport_.local());
  owner_service_->set_self(table_config_->swarm, std::move(endpoints), complete,
                           table_config_->zone, have);
}

void Node::set_cluster_keys(const Keyring& keys, const std::optional<Secret>& own) {
  transport_.set_accepted_psks(accepted_keys(own, keys));
  if (!gossip_) return;
  table_psk_ = keys[0];
  gossip_->set_keys(keys);
  rank_members();
}

AnnounceClient* Node::announcer_of(ConnectionId id) {
  for (AnnounceClient& announcer : announcers_)
    if (announcer.owns(id)) return &announcer;
  return nullptr;
}

void Node::add_candidates(const std::vector<tracker::PeerRecord>& found) {
  if (!session_) return;
  std::vector<Endpoint> near, far;
  for (const tracker::PeerRecord& peer : found) (peer.far ? far : near).push_back(peer.endpoint);
  session_->add_candidates(near, false);
  session_->add_far_candidates(far);
}

void Node::join_swarm(SessionConfig config, SessionHandlers handlers) {
  session_.emplace(loop_, transport_, std::move(config), std::move(handlers),
                   random_.fork("session"));
}

void Node::refresh_announcers() {
  if (!session_) return;
  const bool starving = session_->hunger() == peer::Hunger::kStarved;
  for (AnnounceClient& announcer : announcers_) {
    tell_progress(announcer);
    announcer.set_wanted(session_->wanted(), starving);
  }
  own_entry();
}

void Node::tell_progress(AnnounceClient& announcer) {
  if (!session_->running()) return;
  announcer.set_progress(permille_of(session_->swarm().have()), session_->swarm().complete());
}

void Node::stop() {
  for (AnnounceClient& announcer : announcers_) announcer.stop();
  if (session_) session_->stop();
  if (gossip_) gossip_->leave();
  for (const auto& [id, connection] : opened_) transport_.close(id);
}

void Node::on_event(const Event& event) {
  const ConnectionId id = event.connection;
  if (const auto* opened = std::get_if<Opened>(&event.what)) return on_opened(id, *opened);
  if (const auto* received = std::get_if<Received>(&event.what))
    return on_received(id, received->message);
  if (const auto* closed = std::get_if<Closed>(&event.what)) return on_closed(id, closed->why);
  if (session_) session_->on_transfer(event);
}

void Node::on_opened(ConnectionId id, const Opened& opened) {
  OpenConnection& connection = opened_.emplace(id, OpenConnection{opened}).first->second;
  const Time deadline = Loop::now() + first_message_timeout_;
  if (unheard_.empty()) silent_timer_.arm(deadline);
  unheard_.emplace_back(deadline, id);
  if (AnnounceClient* announcer = announcer_of(id)) {
    connection.family = Family::kAnnounce;
    announcer->on_opened(id);
  } else if (session_ && session_->owns(id)) {
    connection.family = Family::kSwarm;
    session_->on_opened(id, opened);
  }
}

void Node::on_received(ConnectionId id, const WireMessage& message) {
  const auto found = opened_.find(id);
  if (found == opened_.end() || found->second.closing) return;
  OpenConnection& connection = found->second;
  const Family family = family_of(message);
  if (connection.family.value_or(family) != family)
    return close(id, connection, "mixes announces and a swarm on one connection");
  connection.family = family;
  const auto* swarm = std::get_if<peer::Message>(&message);
  connection.settled |= !swarm || std::holds_alternative<peer::Join>(*swarm);
  hand_on(id, connection, message);
}

void Node::hand_on(ConnectionId id, OpenConnection& connection, const WireMessage& message) {
  const Opened& from = connection.opened;
  if (const auto* announce = std::get_if<tracker::Message>(&message)) {
    if (AnnounceClient* announcer = announcer_of(id)) return announcer->on_message(id, *announce);
    if (owner_service_) {
      if (!std::exchange(connection.announces, true)) owner_service_->on_opened(id, from);
      return owner_service_->on_message(id, *announce);
    }
    transport_.send(id,
                    tracker::Message(tracker::Refusal{{}, "this peer does not answer announces"}));
    return close(id, connection, "announces to a peer that is no owner");
  }
  // The cluster's keys open the table, which knows swarms by their ids alone; a content is for
  // those who have its own key, the first.
  if (!from.outbound && from.psk_index != 0)
    return close(id, connection, "has no key of the swarm");
  // Of our own dials only the session's are to peers.
  if (session_ && from.outbound && !session_->owns(id))
    return close(id, connection, "is an owner, and speaks as a peer");
  if (session_) return session_->on_message(id, from, std::get<peer::Message>(message));
  transport_.send(
      id, peer::Message(peer::Bye{peer::ByeReason::kNotServed, "a tracker holds no contents"}));
  close(id, connection, "asks a tracker for a content");
}

void Node::close(ConnectionId id, OpenConnection& connection, const std::string& why) {
  connection.closing = true;
  log_debug("closing " + connection.opened.remote.to_string() + ": it " + why);
  transport_.close(id);
}

void Node::on_closed(ConnectionId id, const Error& why) {
  const auto found = opened_.find(id);
  if (found == opened_.end()) {
    if (why.code != ErrorCode::kUnreachable) log_debug("connection failed: " + why.message);
  } else {
    opened_.erase(found);
  }
  if (AnnounceClient* announcer = announcer_of(id)) announcer->on_closed(id, why);
  if (owner_service_) owner_service_->on_closed(id);
  if (session_) session_->on_closed(id, why);
}

void Node::close_silent() {
  const Time now = Loop::now();
  while (!unheard_.empty() && unheard_.front().first <= now) {
    const auto found = opened_.find(unheard_.front().second);
    if (found != opened_.end() && !found->second.settled && !found->second.closing)
      close(found->first, found->second, "does not say what it came for");
    unheard_.pop_front();
  }
  if (!unheard_.empty()) silent_timer_.arm(unheard_.front().first);
}

std::vector<Secret> accepted_keys(const std::optional<Secret>& own, const Keyring& keys) {
  std::vector<Secret> accepted;
  if (own) accepted.push_back(*own);
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (!own || !(keys[i] == *own)) accepted.push_back(keys[i]);
  return accepted;
}

Endpoint default_listen_endpoint() {
  const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage any = sockaddr_of(Endpoint{*IpAddress::parse("::"), 0});
  const bool v6 =
      probe >= 0 && bind(probe, reinterpret_cast<sockaddr*>(&any), sizeof(sockaddr_in6)) == 0;
  if (probe >= 0) ::close(probe);
  return Endpoint{*IpAddress::parse(v6 ? "::" : "0.0.0.0"), 0};
}

std::vector<Endpoint> reachable_endpoints(const Endpoint& local) {
  if (!local.address.is_any()) return {local};
  std::vector<Endpoint> endpoints;
  for (const IpAddress& address : host_addresses())
    if (!local.address.is_v4() || address.is_v4()) endpoints.push_back({address, local.port});
  return endpoints;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace p2p::net
