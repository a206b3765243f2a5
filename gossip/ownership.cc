#include "gossip/ownership.h"

#include <algorithm>

#include "crypto/rendezvous.h"

namespace p2p::gossip {

std::vector<ClaimPtr> owners_of(const MemberTable& table, const SwarmId& swarm, std::size_t count) {
  std::vector<ByteView> names;
  std::vector<const ClaimPtr*> claims;
  for (const MemberTable::Member& member : table.members()) {
    if (!is_live(member.status) || member.claim->service_port == 0) continue;
    names.push_back(member.claim->id.view());
    claims.push_back(&member.claim);
  }
  std::vector<ClaimPtr> owners;
  for (const std::size_t place : best_owners(swarm, names, count)) owners.push_back(*claims[place]);
  return owners;
}

std::vector<ClaimPtr> owners_to_ask(const MemberTable& table, const SwarmId& swarm) {
  std::vector<ClaimPtr> owners = owners_of(table, swarm);
  std::stable_partition(owners.begin(), owners.end(), [&](const ClaimPtr& owner) {
    return table.find(owner->id)->status == MemberStatus::kAlive;
  });
  return owners;
}

}  // namespace p2p::gossip
