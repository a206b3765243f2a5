// Discovery: announcers, and the owners that they announce to.
#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tools/sim/world.h"

namespace p2p::sim {
namespace {

// TCP and the handshake.
constexpr int kConnectLatencies = 4;

}  // namespace

void World::start_owners() {
  if (scenario_.tracker) {
    owners_.emplace_back();
    on_tracker_up();
  }
  if (!scenario_.direct) return;
  for (HostIndex i = scenario_.peers; i < hosts_.size(); ++i) {
    tracker::OwnerConfig config;
    config.own_swarms_only = true;
    owners_.push_back(
        {std::make_unique<tracker::Owner>(config, random_.fork(absl::StrCat("owner ", i)), now_)});
    PeerId self;
    self.bytes[0] = 1;
    owners_.back().owner->set_self(swarm_id_, self, {hosts_[i].endpoint}, true, zone_of(i));
  }
}

void World::on_tracker_up() {
  if (owners_[0].owner != nullptr) return;
  owners_[0].owner = std::make_unique<tracker::Owner>(
      tracker::OwnerConfig{}, random_.fork(absl::StrCat("tracker ", tracker_lives_++)), now_);
}

void World::on_tracker_down() {
  owners_[0].owner.reset();
  for (std::uint32_t i = 0; i < owner_connections_.size(); ++i) {
    OwnerConnection& connection = owner_connections_[i];
    if (connection.owner != 0 || !std::exchange(connection.open, false)) continue;
    events_.push(now_ + scenario_.latency, EventKind::kOwnerGone, i + 1);
  }
}

void World::start_announcer(HostIndex index) {
  Host& host = hosts_[index];
  Core& core = *host.core;
  tracker::AnnouncerConfig config;
  config.swarm = swarm_id_;
  // A seeder answers for itself; it announces to the tracker only.
  const std::size_t owner_count = host.report.seeder ? scenario_.tracker : owners_.size();
  config.owners.resize(owner_count);
  std::iota(config.owners.begin(), config.owners.end(), tracker::OwnerNumber{0});
  config.listen_port = host.endpoint.port;
  config.zone = zone_of(index);
  core.owner_connections.resize(owner_count, 0);
  core.announcer = std::make_unique<tracker::Announcer>(
      config, random_.fork(absl::StrCat("announcer ", index, " life ", core.life)), now_);
  const bool complete = host.verified.size() > 0 && host.verified.all();
  core.announcer->set_progress(complete ? tracker::kFullPermille : 0, complete, now_);
  core.announcer->set_wanted(core.book->wanted(), now_);
}

bool World::drain_announcer(HostIndex index) {
  bool any = false;
  Core& core = *hosts_[index].core;
  while (auto action = core.announcer->poll_action()) {
    any = true;
    if (const auto* connect = std::get_if<tracker::ConnectOwner>(&*action)) {
      events_.push(now_ + kConnectLatencies * scenario_.latency, EventKind::kOwnerUp, index,
                   connect->owner, core.life);
    } else if (const auto* disconnect = std::get_if<tracker::DisconnectOwner>(&*action)) {
      const std::uint32_t connection = std::exchange(core.owner_connections[disconnect->owner], 0);
      if (connection != 0) drop_owner_connection(connection);
    } else if (const auto* left = std::get_if<tracker::LeaveOwner>(&*action)) {
      const std::uint32_t connection = std::exchange(core.owner_connections[left->owner], 0);
      if (connection != 0) drop_owner_connection(connection);
    } else if (auto* message = std::get_if<tracker::SendToOwner>(&*action)) {
      const std::uint32_t connection = core.owner_connections[message->owner];
      if (connection != 0) send_owner(EventKind::kToOwner, connection, std::move(message->message));
    } else {
      std::vector<Endpoint> near, far;
      for (const tracker::PeerRecord& peer : std::get<tracker::FoundPeers>(*action).peers)
        (peer.far ? far : near).push_back(peer.endpoint);
      core.book->on_candidates(near, false, now_);
      core.book->on_far_candidates(far, now_);
      core.book_dirty = true;
    }
  }
  return any;
}

void World::send_owner(EventKind kind, std::uint32_t connection, tracker::Message message) {
  events_.push(now_ + scenario_.latency, kind,
               owner_in_flight_.put({connection, std::move(message)}));
}

// The connection stands, or could not be made.
void World::on_owner_up(HostIndex index, std::uint32_t owner, std::uint32_t life) {
  Host& host = hosts_[index];
  if (!host.core || host.core->life != life) return;
  if (owners_[owner].owner == nullptr) {
    announcer_of(*host.core).on_owner_disconnected(owner, now_);
    return drain(index);
  }
  owner_connections_.push_back({index, life, owner});
  const auto connection = static_cast<std::uint32_t>(owner_connections_.size());
  host.core->owner_connections[owner] = connection;
  owners_[owner].owner->on_connected(connection, host.core->id, host.endpoint.address, now_);
  drain_owner(owner);
  announcer_of(*host.core).on_owner_connected(owner, now_);
  drain(index);
}

// The announcer hears that its connection is gone.
void World::on_owner_gone(std::uint32_t id) {
  const OwnerConnection connection = owner_connection(id);
  Host& host = hosts_[connection.host];
  if (!host.core || host.core->life != connection.life) return;
  if (host.core->owner_connections[connection.owner] != id) return;
  host.core->owner_connections[connection.owner] = 0;
  announcer_of(*host.core).on_owner_disconnected(connection.owner, now_);
  drain(connection.host);
}

// The owner hears that its connection is gone.
void World::on_owner_lost(std::uint32_t id) {
  OwnerConnection& connection = owner_connection(id);
  if (!std::exchange(connection.open, false) || owners_[connection.owner].owner == nullptr) return;
  owners_[connection.owner].owner->on_disconnected(id, now_);
  drain_owner(connection.owner);
}

// The host's side ends it; the owner hears of it when what was said before has arrived.
void World::drop_owner_connection(std::uint32_t id) {
  OwnerConnection& connection = owner_connection(id);
  if (!connection.open) return;
  events_.push(now_ + scenario_.latency, EventKind::kOwnerLost, id);
}

void World::on_to_owner(const OwnerInFlight& message) {
  const OwnerConnection& connection = owner_connection(message.connection);
  if (!connection.open || owners_[connection.owner].owner == nullptr) return;
  owners_[connection.owner].owner->on_message(message.connection, message.message, now_);
  drain_owner(connection.owner);
}

void World::on_from_owner(const OwnerInFlight& message) {
  const OwnerConnection& connection = owner_connection(message.connection);
  Host& host = hosts_[connection.host];
  if (!host.core || host.core->life != connection.life) return;
  if (host.core->owner_connections[connection.owner] != message.connection) return;
  announcer_of(*host.core).on_message(connection.owner, message.message, now_);
  drain(connection.host);
}

void World::drain_owner(std::uint32_t index) {
  OwnerNode& node = owners_[index];
  while (auto action = node.owner->poll_action()) {
    if (auto* message = std::get_if<tracker::SendMessage>(&*action)) {
      send_owner(EventKind::kFromOwner, static_cast<std::uint32_t>(message->connection),
                 std::move(message->message));
    } else {
      const auto& close = std::get<tracker::CloseConnection>(*action);
      const auto id = static_cast<std::uint32_t>(close.connection);
      OwnerConnection& connection = owner_connection(id);
      const Host& host = hosts_[connection.host];
      // What a host left behind is no loss.
      if (host.core && host.core->life == connection.life &&
          host.core->owner_connections[connection.owner] == id)
        broken(connection.host, absl::StrCat("an owner closes its connection: ", close.reason));
      connection.open = false;
    }
  }
  const Time wake = node.owner->next_timeout();
  if (wake >= node.wake_at) return;
  node.wake_at = std::max(wake, now_);
  events_.push(node.wake_at, EventKind::kOwnerTimer, index);
}

void World::on_owner_timer(std::uint32_t index) {
  OwnerNode& node = owners_[index];
  if (node.wake_at != now_) return;
  node.wake_at = kNever;
  if (node.owner == nullptr) return;
  node.owner->on_timeout(now_);
  drain_owner(index);
}

}  // namespace p2p::sim
