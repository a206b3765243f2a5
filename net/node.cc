#include "net/node.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "base/check.h"
#include "crypto/keys.h"
#include "net/address.h"
#include "net/link_owners.h"
#include "net/log.h"

namespace p2p::net {
Node::Node(Loop& loop, TransportConfig config)
    : loop_(loop),
      random_(random_seed()),
      first_message_timeout_(config.timeouts.first_message),
      cluster_psks_(config.accepted_psks),
      transport_(loop, std::move(config), [this](const Event& event) { on_event(event); }),
      silent_timer_(loop, [this] { close_silent(); }) {}

void Node::answer_announces(tracker::OwnerConfig config, std::optional<StoreAddress> store) {
  owner_service_.emplace(loop_, transport_, config, random_.fork("owner"), std::move(store));
}

HostedSwarm& Node::host(SessionConfig config, SessionHandlers handlers) {
  const SwarmId id = config.swarm;
  const auto [place, added] = swarms_.try_emplace(id, loop_, transport_, std::move(config),
                                                  std::move(handlers), random_.fork(id.hex()));
  P2P_CHECK(added && swarms_.size() <= kMaxHostedSwarms);
  accept_psks();
  return place->second;
}

void Node::drop(const SwarmId& swarm) {
  const auto found = swarms_.find(swarm);
  P2P_CHECK(found != swarms_.end());
  payload_of_dropped_ += found->second.payload();
  found->second.stop();
  for (auto& [id, connection] : opened_) {
    if (connection.swarm != &found->second) continue;
    transport_.close(id);
    connection.closing = true;
    connection.swarm = nullptr;
  }
  if (owner_service_) owner_service_->forget_self(swarm);
  swarms_.erase(found);  // and `swarm` with it, where that is the swarm's own id
  accept_psks();
}

PayloadBytes Node::payload() const {
  PayloadBytes sum = payload_of_dropped_;
  for (const auto& [id, swarm] : swarms_) sum += swarm.payload();
  return sum;
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

void Node::rank_members() {
  for (auto& [id, swarm] : swarms_) swarm.rank_members(table_psk_);
}

void Node::announce(HostedSwarm& swarm, const LinkOwners& owners) {
  announce_to_link(swarm, owners);
  if (gossip_) swarm.announce_to_table(swarm.announcer_config(), *gossip_, table_psk_);
  swarm.refresh(owner_service());  // so that the first announce says how it stands
}

// Contents that are closed by the cluster's key share one.
void Node::accept_psks() {
  std::vector<Secret> accepted;
  absl::flat_hash_set<std::string_view> known;
  const auto accept = [&](const Secret& psk) {
    const ByteView bytes = psk.view();
    if (known.emplace(reinterpret_cast<const char*>(bytes.data()), bytes.size()).second)
      accepted.push_back(psk);
  };
  for (const Secret& psk : cluster_psks_) accept(psk);
  for (const auto& [id, swarm] : swarms_) accept(swarm.psk());
  transport_.set_accepted_psks(std::move(accepted));
}

void Node::set_cluster_keys(const Keyring& keys) {
  cluster_psks_ = keys.secrets();
  accept_psks();
  if (!gossip_) return;
  table_psk_ = keys[0];
  gossip_->set_keys(keys);
  rank_members();
}

void Node::refresh_announcers() {
  for (auto& [id, swarm] : swarms_) swarm.refresh(owner_service());
}

// Asked once for each connection.
HostedSwarm* Node::dialler_of(ConnectionId id) {
  for (auto& [swarm_id, swarm] : swarms_)
    if (swarm.session().owns(id) || swarm.announcer_of(id)) return &swarm;
  return nullptr;
}

void Node::stop() {
  for (auto& [id, swarm] : swarms_) swarm.stop();
  if (gossip_) gossip_->leave();
  for (const auto& [id, connection] : opened_) transport_.close(id);
}

void Node::on_event(const Event& event) {
  const ConnectionId id = event.connection;
  if (const auto* opened = std::get_if<Opened>(&event.what)) return on_opened(id, *opened);
  if (const auto* received = std::get_if<Received>(&event.what))
    return on_received(id, received->message);
  if (const auto* closed = std::get_if<Closed>(&event.what)) return on_closed(id, closed->why);
  const auto found = opened_.find(id);
  if (found != opened_.end() && found->second.swarm)
    found->second.swarm->session().on_transfer(event);
}

void Node::on_opened(ConnectionId id, const Opened& opened) {
  OpenConnection& connection = opened_.emplace(id, OpenConnection{opened}).first->second;
  const Time deadline = Loop::now() + first_message_timeout_;
  if (unheard_.empty()) silent_timer_.arm(deadline);
  unheard_.emplace_back(deadline, id);
  if (!opened.outbound) return;
  connection.swarm = dialler_of(id);
  if (!connection.swarm) return close(id, connection, "was dialled for a swarm that is gone");
  if (AnnounceClient* announcer = connection.swarm->announcer_of(id)) {
    connection.family = Family::kAnnounce;
    announcer->on_opened(id);
  } else {
    connection.family = Family::kSwarm;
    connection.swarm->session().on_opened(id, opened);
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
    if (AnnounceClient* announcer = connection.swarm ? connection.swarm->announcer_of(id) : nullptr)
      return announcer->on_message(id, *announce);
    if (owner_service_) {
      if (!std::exchange(connection.announces, true)) owner_service_->on_opened(id, from);
      return owner_service_->on_message(id, *announce);
    }
    transport_.send(id,
                    tracker::Message(tracker::Refusal{{}, "this peer does not answer announces"}));
    return close(id, connection, "announces to a peer that is no owner");
  }
  const auto& said = std::get<peer::Message>(message);
  if (!connection.swarm && !find_swarm(id, connection, said)) return;
  // Of our own dials only the session's are to peers.
  if (from.outbound && !connection.swarm->session().owns(id))
    return close(id, connection, "is an owner, and speaks as a peer");
  connection.swarm->session().on_message(id, from, said);
}

// By the first message of one who connected. False: there is none, or it is not for him.
bool Node::find_swarm(ConnectionId id, OpenConnection& connection, const peer::Message& first) {
  if (std::holds_alternative<peer::Peers>(first)) return false;  // does not say why it came
  const auto refuse = [&](peer::Bye bye, const std::string& why) {
    transport_.send(id, peer::Message(std::move(bye)));
    close(id, connection, why);
    return false;
  };
  if (swarms_.empty())
    return refuse({peer::ByeReason::kNotServed, "a tracker holds no contents"},
                  "asks a tracker for a content");
  const auto* join = std::get_if<peer::Join>(&first);
  if (!join)
    return refuse({peer::ByeReason::kViolation, "a message before Join"}, "speaks before it joins");
  if (join->version != peer::kProtocolVersion)
    return refuse(other_version_bye(), "speaks another version");
  const auto found = swarms_.find(join->swarm);
  if (found == swarms_.end())
    return refuse({peer::ByeReason::kNotServed, ""}, "asks for a content that is not here");
  // The cluster's keys open the table, which knows swarms by their ids alone; a content is for
  // those who have its own key.
  if (found->second.psk() != connection.opened.psk) {
    close(id, connection, "has no key of the swarm");
    return false;
  }
  connection.swarm = &found->second;
  return true;
}

void Node::close(ConnectionId id, OpenConnection& connection, const std::string& why) {
  connection.closing = true;
  log_debug("closing " + connection.opened.remote.to_string() + ": it " + why);
  transport_.close(id);
}

void Node::on_closed(ConnectionId id, const Error& why) {
  const auto found = opened_.find(id);
  HostedSwarm* const swarm = found == opened_.end() ? dialler_of(id) : found->second.swarm;
  if (found == opened_.end()) {
    if (why.code != ErrorCode::kUnreachable) log_debug("connection failed: " + why.message);
  } else {
    opened_.erase(found);
  }
  if (owner_service_) owner_service_->on_closed(id);
  if (swarm) swarm->on_closed(id, why);
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

TransportConfig transport_config(const PeerConfig& config) {
  TransportConfig transport;
  transport.keys = config.identity;
  transport.lanes = config.lanes;
  transport.limits = config.limits;
  transport.timeouts = config.timeouts;
  if (!config.gossip) return transport;
  transport.accepted_psks = config.gossip->keys.secrets();
  transport.max_connections = kMaxMemberConnections;
  return transport;
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
