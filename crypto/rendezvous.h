// Rendezvous hashing: who owns a swarm's peer list, of all who could. Each candidate has a score
// for the swarm, and the highest scores own it. All who know the same candidates choose the same
// owners without asking anybody, swarms spread evenly over candidates, and a candidate that comes
// or goes moves those swarms alone that it gains or had ("highest random weight", Thaler and
// Ravishankar 1998).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "crypto/keys.h"

namespace p2p {

// The scores of one swarm. A candidate's name is any bytes: owner_name() of a tracker, the public
// key of a member of the cluster.
class Rendezvous {
 public:
  explicit Rendezvous(const SwarmId& swarm);
  // The first 8 bytes, big-endian, of keyed(derive("p2p 1 owner", swarm id), name).
  std::uint64_t score(ByteView name) const;

 private:
  Secret key_;
};

// The positions in `names` of the best `count` (fewer where there are fewer), best first. Of equal
// scores the smaller name (bytewise) is the better; a name that stands twice is ranked twice.
// Costs a short hash a name, and no sorting of more than is asked for.
std::vector<std::size_t> best_owners(const SwarmId& swarm, std::span<const ByteView> names,
                                     std::size_t count);

// A tracker's name as a candidate: HOST:PORT, one spelling for each: an address as it is printed,
// IPv6 in brackets, a DNS name in lower case without a dot at its end.
std::string owner_name(const HostPort& tracker);

}  // namespace p2p
