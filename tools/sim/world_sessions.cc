// Connections between hosts, and what is said on them before, beside and after the swarm's own
// messages: as net/swarm_session.cc does it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tools/sim/world.h"

namespace p2p::sim {
namespace {

// TCP's three packets and the three of the handshake, the last with the Join behind it.
constexpr int kDialLatencies = 5;
constexpr Duration kMinPeersInterval = std::chrono::seconds(5);
// A lost packet is noticed by those behind it, or by a timer; this much later at least.
constexpr int kLateLatencies = 3;
constexpr Duration kLeastLate = std::chrono::milliseconds(2);

}  // namespace

HostIndex World::host_of(const Endpoint& endpoint) const {
  const ByteView bytes = endpoint.address.wire_bytes();
  const HostIndex high = scenario_.racks > 1 ? 0 : HostIndex{bytes[1]} << 16;
  return high | HostIndex{bytes[2]} << 8 | bytes[3];
}

// A rack is a zone.
std::string World::zone_of(HostIndex index) const {
  return scenario_.racks > 1 && scenario_.zones ? absl::StrCat("rack-", hosts_[index].rack) : "";
}

void World::dial(HostIndex index, const Endpoint& endpoint) {
  Core& core = *hosts_[index].core;
  const auto dialler = static_cast<EndIndex>(ends_.size());
  for (HostIndex host : {index, host_of(endpoint)}) {
    End& end = ends_.add();
    end.host = host;
    end.endpoint = endpoint;
  }
  ends_[dialler].open = true;
  ends_[dialler].dialled = true;
  ends_[dialler].life = core.life;
  core.ends.push_back(dialler);
  events_.push(now_ + kDialLatencies * scenario_.latency, EventKind::kDialArrived, dialler + 1);
}

void World::on_dial_arrived(EndIndex index) {
  const EndIndex dialler = index ^ 1;
  if (!ends_[dialler].open || !is_alive(dialler)) return;
  End& end = ends_[index];
  Host& host = hosts_[end.host];
  if (!host.core || host.endpoint != end.endpoint) {
    events_.push(arrival(dialler), EventKind::kClosed, dialler);
    return;
  }
  end.open = true;
  end.life = host.core->life;
  host.core->ends.push_back(index);
  on_join(index);
  drain(end.host);
}

Time World::arrival(EndIndex to) {
  Time at = now_ + scenario_.latency;
  if (scenario_.loss > 0) {
    if (loss_random_.chance(scenario_.loss))
      at += std::max(kLateLatencies * scenario_.latency, kLeastLate);
    at = std::max(at, ends_[to].last_arrival);
    ends_[to].last_arrival = at;
  }
  return at;
}

void World::send(EndIndex from, peer::Message&& message) {
  if (!ends_[from].open) return;
  events_.push(arrival(from ^ 1), EventKind::kMessage, from ^ 1,
               in_flight_.put(std::move(message)));
}

// What is advertised is verified.
void World::check_sent(EndIndex index, const peer::Message& message) {
  const HostIndex host = ends_[index].host;
  note(message.index());
  if (const auto* have = std::get_if<peer::Have>(&message)) {
    for (ChunkIndex chunk : have->chunks) {
      note(chunk);
      if (!has(host, chunk)) broken(host, absl::StrCat("it tells of chunk ", chunk));
    }
    note(have->load);
  } else if (const auto* chunks = std::get_if<peer::Chunks>(&message)) {
    const Bitfield& verified = hosts_[host].verified;
    note(chunks->have.count());
    if (chunks->have.size() != verified.size() || chunks->have.has_any_not_in(verified))
      broken(host, "it tells of chunks it has not");
  } else if (const auto* give = std::get_if<peer::Give>(&message)) {
    note(give->chunk);
    note(give->load);
    if (!has(host, give->chunk)) broken(host, absl::StrCat("it gives chunk ", give->chunk));
  } else if (const auto* request = std::get_if<peer::Request>(&message)) {
    note(request->chunk);
    if (has(host, request->chunk))
      broken(host, absl::StrCat("it requests chunk ", request->chunk, ", which it has"));
  } else if (const auto* cancel = std::get_if<peer::Cancel>(&message)) {
    note(cancel->chunk);
  } else if (const auto* reject = std::get_if<peer::Reject>(&message)) {
    note(reject->chunk);
    note(static_cast<std::uint64_t>(reject->reason));
  } else if (const auto* lost = std::get_if<peer::Lost>(&message)) {
    for (ChunkIndex chunk : lost->chunks) note(chunk);
  }
}

void World::on_message(EndIndex index, peer::Message& message) {
  End& end = ends_[index];
  if (!end.open || !is_alive(index)) return;
  Core& core = *hosts_[end.host].core;
  if (end.joined && core.swarm && message.index() != 0 &&
      !std::holds_alternative<peer::Bye>(message) &&
      !std::holds_alternative<peer::Peers>(message) &&
      !std::holds_alternative<peer::ManifestRequest>(message) &&
      !std::holds_alternative<peer::ManifestPart>(message)) {
    note_answer(index, message);
    tell_swarm(end.host, &peer::Swarm::on_message, index + 1, message);
  } else if (const auto* bye = std::get_if<peer::Bye>(&message)) {
    on_bye(index, *bye);
  } else if (std::holds_alternative<peer::Join>(message)) {
    on_join(index);
  } else if (const auto* peers = std::get_if<peer::Peers>(&message)) {
    if (now_ >= end.next_peers) core.book->on_candidates(peers->endpoints, false, now_);
    end.next_peers = now_ + kMinPeersInterval;
    core.book_dirty = true;
  } else if (!end.joined) {
    broken(end.host, "it got a message before Join");
  } else if (const auto* request = std::get_if<peer::ManifestRequest>(&message)) {
    peer::ManifestPart part;
    if (core.swarm) {
      part.total_bytes = static_cast<std::uint32_t>(manifest_.size());
      part.offset = request->offset;
      const std::size_t bytes =
          std::min(manifest_.size() - request->offset, peer::kMaxManifestPartBytes);
      part.data.assign(manifest_.begin() + request->offset,
                       manifest_.begin() + static_cast<std::ptrdiff_t>(request->offset + bytes));
    }
    send(index, std::move(part));
  } else if (const auto* part = std::get_if<peer::ManifestPart>(&message)) {
    if (core.manifest) core.manifest->on_part(index + 1, *part, now_);
  } else if (auto* chunks = std::get_if<peer::Chunks>(&message)) {
    if (end.early) broken(end.host, "it got Chunks twice");
    end.early = std::move(*chunks);
    core.manifest->on_has_manifest(index + 1, now_);
  } else {
    broken(end.host, "it got a chunk message and has sent no Chunks");
  }
  drain(ends_[index].host);
}

// The other side has said Join.
void World::on_join(EndIndex index) {
  End& end = ends_[index];
  Core& core = *hosts_[end.host].core;
  const End& other = ends_[index ^ 1];
  if (!end.dialled) send(index, peer::Join{});
  core.book_dirty = true;
  std::optional<Endpoint> dialled;
  Endpoint listens = end.endpoint;
  if (end.dialled)
    dialled = end.endpoint;
  else
    listens = hosts_[other.host].endpoint;
  // Whoever dialled is alive, or has been a latency ago.
  PeerId peer;
  if (hosts_[other.host].core) peer = hosts_[other.host].core->id;
  if (!core.book->on_joined(index + 1, peer, dialled, listens, zone_of(other.host), now_)) return;
  end.joined = true;
  check_cap(end.host, "neighbours", core.book->neighbours(), scenario_.max_neighbours);
  if (core.swarm)
    enter_swarm(index);
  else
    core.manifest->on_connected(index + 1, now_);
}

void World::enter_swarm(EndIndex index) {
  End& end = ends_[index];
  const Host& other = hosts_[ends_[index ^ 1].host];
  tell_swarm(end.host, &peer::Swarm::on_connected, index + 1,
             other.core ? other.core->id : PeerId{});
  if (const auto early = std::exchange(end.early, std::nullopt))
    tell_swarm(end.host, &peer::Swarm::on_message, index + 1, peer::Message(*early));
}

void World::on_bye(EndIndex index, const peer::Bye& bye) {
  part(index, bye.reason == peer::ByeReason::kSelf);
  close_end(index);
}

// Tells the cores that it is over: with a neighbour, or with an attempt to make one (then
// `for_good`: there is no use in another).
void World::part(EndIndex index, bool for_good) {
  End& end = ends_[index];
  Core& core = *hosts_[end.host].core;
  core.book_dirty = true;
  if (!std::exchange(end.joined, false)) {
    if (end.dialled) core.book->on_dial_failed(end.endpoint, for_good, now_);
    return;
  }
  core.book->on_disconnected(index + 1, now_);
  if (core.swarm)
    tell_swarm(end.host, &peer::Swarm::on_disconnected, index + 1);
  else
    core.manifest->on_disconnected(index + 1, now_);
}

void World::say_bye(EndIndex index, peer::Bye bye) {
  if (!ends_[index].open) return;
  part(index, true);
  send(index, std::move(bye));
  close_end(index);
}

void World::shut(EndIndex index) {
  End& end = ends_[index];
  end.open = false;
  forget_asked(index);
  drop_queue(index);
  std::erase(hosts_[end.host].core->ends, index);
}

// The other side hears of it when what was said before has arrived.
void World::close_end(EndIndex index) {
  if (!ends_[index].open) return;
  shut(index);
  events_.push(arrival(index ^ 1), EventKind::kClosed, index ^ 1);
}

void World::on_closed(EndIndex index) {
  if (!ends_[index].open || !is_alive(index)) return;
  part(index, false);
  shut(index);
  drain(ends_[index].host);
}

}  // namespace p2p::sim
