// The hash table: which members own a swarm's peer list. A one-hop table without any state of its
// own: whoever knows the members knows the owners.
#pragma once

#include <cstddef>
#include <vector>

#include "base/id.h"
#include "gossip/member_table.h"

namespace p2p::gossip {

// So many own a swarm, and so many of them are asked by one who looks it up.
inline constexpr std::size_t kOwners = 3;
inline constexpr std::size_t kAskedOwners = 2;

// The best `count` of the live members that answer announces, by rendezvous hashing
// (crypto/rendezvous.h), best first. Costs a short hash a member: keep it until
// MemberTable::version() rises.
std::vector<ClaimPtr> owners_of(const MemberTable& table, const SwarmId& swarm,
                                std::size_t count = kOwners);

// The same in the order to ask them: those that are suspected of being dead come last.
std::vector<ClaimPtr> owners_to_ask(const MemberTable& table, const SwarmId& swarm);

}  // namespace p2p::gossip
