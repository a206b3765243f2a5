// The zones of a swarm: who is in which, who stands for it, and what it is told of the others.
#include <algorithm>

#include "tracker/peer_table.h"

namespace p2p::tracker {
namespace {

// A far peer is drawn by lot until it suits, this often for each that is wanted: the lists from
// which it comes hold peers of the asker's own zone too.
constexpr std::size_t kFarTries = 24;

}  // namespace

// Joins no list: that is join_group's.
void PeerTable::enter_zone(Slot slot, std::string_view name) {
  Entry& entry = at(slot);
  if (name.empty()) return;
  ZoneKey key{entry.swarm, std::string(name)};
  if (const auto found = zone_of_name_.find(key); found != zone_of_name_.end()) {
    entry.zone = found->second;
    return;
  }
  Swarm& swarm = swarms_[entry.swarm];
  if (zone_count() >= limits_.zones || swarm.zones >= limits_.zones_per_swarm) return;
  ++swarm.zones;
  entry.zone = static_cast<std::uint32_t>(zones_.size());
  if (free_zones_.empty()) {
    zones_.emplace_back();
  } else {
    entry.zone = free_zones_.back();
    free_zones_.pop_back();
  }
  zones_[entry.zone].name = name;
  zones_[entry.zone].swarm = entry.swarm;
  zone_of_name_.emplace(std::move(key), entry.zone);
}

// After leave_group; the last one to leave ends the zone.
void PeerTable::leave_zone(Slot slot) {
  Entry& entry = at(slot);
  if (entry.zone == kNoZone) return;
  Zone& zone = zones_[entry.zone];
  if (size_of(zone.groups) == 0) {
    zone_of_name_.erase(ZoneKey{zone.swarm, zone.name});
    --swarms_[zone.swarm].zones;
    zone = Zone{};  // the lists' memory goes with it
    free_zones_.push_back(entry.zone);
  }
  entry.zone = kNoZone;
}

const PeerTable::Zone* PeerTable::zone_of(Slot slot) const {
  return slot == kNoSlot || at(slot).zone == kNoZone ? nullptr : &zones_[at(slot).zone];
}

bool PeerTable::appoint(const SwarmId& swarm, const PeerId& peer, bool starving, Time now) {
  const Slot slot = find_slot(swarm, peer);
  if (zone_of(slot) == nullptr) return false;
  Entry& entry = at(slot);
  if (entry.gateway != kNoGateway) return true;
  if (entry.group % 2 == 1) return false;
  Zone& zone = zones_[entry.zone];
  if (zone.gateways.size() >= kGateways) {
    if (!starving || now < zone.change_at) return false;
    zone.change_at = now + zone.term;
    zone.term = std::min(2 * zone.term, kLastGatewayTerm);
    dismiss(zone.gateways.front());
  }
  zone.gateways.push_back(slot);
  std::vector<Slot>& gateways = swarms_[entry.swarm].gateways;
  entry.gateway = static_cast<std::uint32_t>(gateways.size());
  gateways.push_back(slot);
  return true;
}

void PeerTable::dismiss(const SwarmId& swarm, const PeerId& peer) {
  const Slot slot = find_slot(swarm, peer);
  if (slot != kNoSlot) dismiss(slot);
}

void PeerTable::dismiss(Slot slot) {
  Entry& entry = at(slot);
  if (entry.gateway == kNoGateway) return;
  std::erase(zones_[entry.zone].gateways, slot);
  std::vector<Slot>& gateways = swarms_[entry.swarm].gateways;
  gateways[entry.gateway] = gateways.back();
  at(gateways.back()).gateway = entry.gateway;
  gateways.pop_back();
  entry.gateway = kNoGateway;
}

std::vector<PeerRecord> PeerTable::sample_near(const SwarmId& swarm, const PeerId& asker,
                                               const IpAddress& to, std::size_t want) {
  const Slot slot = find_slot(swarm, asker);
  const Zone* zone = zone_of(slot);
  if (zone == nullptr) return {};
  return draw_records(zone->groups, Skip{at(slot).group, at(slot).zone_position}, to, want);
}

std::vector<PeerId> PeerTable::sample_incomplete_near(const SwarmId& swarm, const PeerId& except,
                                                      std::size_t want) {
  const Slot slot = find_slot(swarm, except);
  const Zone* zone = zone_of(slot);
  if (zone == nullptr) return {};
  return draw_incomplete(zone->groups, Skip{at(slot).group, at(slot).zone_position}, want);
}

// One who may stand for another zone, by lot: a gateway, somebody complete, or somebody without a
// zone. kNoSlot where the lot falls on nobody.
PeerTable::Slot PeerTable::draw_far(const Swarm& swarm, bool loopback) {
  const auto one_of = [&](const std::vector<Slot>& first, const std::vector<Slot>& second) {
    const std::size_t row = first.size() + (loopback ? second.size() : 0);
    if (row == 0) return kNoSlot;
    const std::size_t drawn = random_.below(row);
    return drawn < first.size() ? first[drawn] : second[drawn - first.size()];
  };
  switch (random_.below(3)) {
    case 0:
      return one_of(swarm.gateways, {});
    case 1:
      return one_of(swarm.groups[kPublic + 1], swarm.groups[kLoopback + 1]);
    default: {
      const Slot slot = one_of(swarm.groups[kPublic], swarm.groups[kLoopback]);
      return slot == kNoSlot || at(slot).zone != kNoZone ? kNoSlot : slot;
    }
  }
}

std::vector<PeerRecord> PeerTable::sample_far(const SwarmId& swarm, const PeerId& asker,
                                              const IpAddress& to, std::size_t want) {
  const Slot slot = find_slot(swarm, asker);
  if (zone_of(slot) == nullptr) return {};
  const Entry& self = at(slot);
  std::array<Slot, kMaxPeersInMessage> drawn;
  want = std::min(want, drawn.size());
  std::size_t count = 0;
  for (std::size_t tries = kFarTries * want; tries > 0 && count < want; --tries) {
    const Slot other = draw_far(swarms_[self.swarm], to.is_loopback());
    if (other == kNoSlot || at(other).zone == self.zone) continue;
    const Endpoint& endpoint = at(other).endpoint;
    if (!endpoint.is_dialable() || (endpoint.address.is_loopback() && !to.is_loopback())) continue;
    if (std::find(drawn.begin(), drawn.begin() + count, other) != drawn.begin() + count) continue;
    drawn[count++] = other;
  }
  std::vector<PeerRecord> records;
  for (const Slot other : std::span(drawn).first(count))
    records.push_back(PeerRecord{at(other).endpoint, at(other).group % 2 == 1, true});
  return records;
}

std::vector<PeerId> PeerTable::sample_gateways(const SwarmId& swarm, const PeerId& newcomer,
                                               std::size_t want) {
  const Slot slot = find_slot(swarm, newcomer);
  if (zone_of(slot) == nullptr) return {};
  const std::vector<Slot>& gateways = swarms_[at(slot).swarm].gateways;
  std::vector<PeerId> peers;
  for (std::size_t tries = kFarTries * want; tries > 0 && peers.size() < want; --tries) {
    if (gateways.empty()) break;
    const Entry& other = at(gateways[random_.below(gateways.size())]);
    if (other.zone == at(slot).zone) continue;
    if (std::find(peers.begin(), peers.end(), other.peer) == peers.end())
      peers.push_back(other.peer);
  }
  return peers;
}

std::size_t PeerTable::zone_size(const SwarmId& swarm, const PeerId& peer) const {
  const Zone* zone = zone_of(find_slot(swarm, peer));
  return zone == nullptr ? 0 : size_of(zone->groups);
}

}  // namespace p2p::tracker
