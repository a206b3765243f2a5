// Fetches what the next events need into the cache. In a large swarm each event is at another host,
// and a simulator would do little but wait for memory.
#include "base/cache.h"
#include "tools/sim/world.h"

namespace p2p::sim {
namespace {

// How many events before its turn each step is taken; a step needs what the one before it fetched.
constexpr std::size_t kEndAhead = 18;
constexpr std::size_t kHostAhead = 15;
constexpr std::size_t kCoreAhead = 12;
constexpr std::size_t kSwarmAhead = 9;
constexpr std::size_t kIndexAhead = 6;
constexpr std::size_t kNeighbourAhead = 3;
constexpr std::size_t kBitsAhead = 1;
static_assert(kEndAhead < EventQueue::kAhead);

bool is_of_end(const Event& event) {
  return event.kind() <= EventKind::kClosed || event.kind() == EventKind::kDialArrived;
}

}  // namespace

// That the event is about; kAnyChunk where it is about none.
ChunkIndex World::chunk_of(const Event& event) const {
  if (event.kind() != EventKind::kMessage) return event.b;
  const auto* have = std::get_if<peer::Have>(&in_flight_[event.b]);
  return have != nullptr && !have->chunks.empty() ? have->chunks.front() : peer::kAnyChunk;
}

const peer::Swarm* World::swarm_of(EndIndex end) const {
  const Host& host = hosts_[ends_[end].host];
  return host.core ? host.core->swarm.get() : nullptr;
}

void World::fetch_ahead() const {
  const auto with_end = [&](std::size_t ahead, auto&& step) {
    const Event* event = events_.ahead(ahead);
    if (event != nullptr && is_of_end(*event)) step(event->a, *event);
  };
  with_end(kEndAhead, [&](EndIndex end, const Event& event) {
    fetch_into_cache(&ends_[end], kCacheLineBytes);
    if (event.kind() == EventKind::kMessage) {
      fetch_into_cache(&in_flight_[event.b], sizeof(peer::Message));
    } else if (event.kind() != EventKind::kData) {
      fetch_into_cache(&ends_[end].left, kCacheLineBytes);
      fetch_into_cache(&ends_[end ^ 1], kCacheLineBytes);
    }
  });
  with_end(kHostAhead, [&](EndIndex end, const Event& event) {
    fetch_into_cache(&hosts_[ends_[end].host], kCacheLineBytes);
    if (event.kind() != EventKind::kFlowEnd && event.kind() != EventKind::kChunkArrived) return;
    links_.fetch(end);
    fetch_into_cache(&hosts_[ends_[end].host].report, sizeof(HostReport));
    fetch_into_cache(&hosts_[ends_[end ^ 1].host], 2 * kCacheLineBytes);
  });
  with_end(kCoreAhead, [&](EndIndex end, const Event& event) {
    fetch_into_cache(hosts_[ends_[end].host].core.get(), kCacheLineBytes);
    if (event.kind() != EventKind::kMessage) return;
    if (const auto* have = std::get_if<peer::Have>(&in_flight_[event.b]))
      fetch_into_cache(have->chunks.data(), sizeof(ChunkIndex));
  });
  with_end(kSwarmAhead, [&](EndIndex end, const Event&) {
    if (const peer::Swarm* swarm = swarm_of(end)) swarm->fetch();
  });
  with_end(kIndexAhead, [&](EndIndex end, const Event&) {
    if (const peer::Swarm* swarm = swarm_of(end)) swarm->fetch_index(end + 1);
  });
  with_end(kNeighbourAhead, [&](EndIndex end, const Event& event) {
    if (const peer::Swarm* swarm = swarm_of(end)) swarm->fetch_neighbour(end + 1, chunk_of(event));
  });
  with_end(kBitsAhead, [&](EndIndex end, const Event& event) {
    const peer::Swarm* swarm = swarm_of(end);
    if (swarm == nullptr) return;
    swarm->fetch_bits(end + 1, chunk_of(event));
    hosts_[ends_[end].host].verified.fetch(chunk_of(event));
  });
}

}  // namespace p2p::sim
