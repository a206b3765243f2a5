// A member of the cluster as the others speak of it. It is its public key and the epoch at which it
// started; its address is an attribute of it, which it may change.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <tuple>

#include "base/endpoint.h"
#include "base/id.h"

namespace p2p::gossip {

// In the order of what overrules what.
enum class MemberStatus : std::uint8_t {
  kAlive = 0,
  kSuspect = 1,  // it did not answer somebody, and may still say that it is well
  kDead = 2,
  kLeft = 3,  // it said so itself
};
inline constexpr std::uint64_t kMemberStatuses = 4;

inline bool is_live(MemberStatus status) { return status <= MemberStatus::kSuspect; }
const char* name_of(MemberStatus status);

using Incarnation = std::uint32_t;
// So that there is always one above what others may claim of us.
inline constexpr Incarnation kMaxIncarnation = 0xfffffffe;

// What a member says of itself. Nobody else makes one or changes it, so that all copies of one
// (id, epoch, incarnation) are the same.
struct Claim {
  PeerId id;
  // Of its start: a later one is another life of the same member. Milliseconds of its clock, or
  // more where that went back (crypto/datagram.h).
  std::uint64_t epoch = 0;
  Incarnation incarnation = 0;     // of its claims in this life
  Endpoint endpoint;               // where its datagrams are received
  std::uint16_t service_port = 0;  // where it answers announces, at the same address; 0: nowhere

  bool operator==(const Claim&) const = default;
};
// Shared among all who keep it; never null where it stands in a News.
using ClaimPtr = std::shared_ptr<const Claim>;

// The order of what is said about a member: the highest counts. Since it is a total order and all
// keep the highest that they have heard, all come to the same view, whatever arrives in whatever
// order.
struct Rank {
  std::uint64_t epoch = 0;
  Incarnation incarnation = 0;
  MemberStatus status = MemberStatus::kAlive;
  auto operator<=>(const Rank&) const = default;
};

struct News {
  ClaimPtr claim;
  MemberStatus status = MemberStatus::kAlive;
  // Of kSuspect and kDead: who found that it does not answer, by tag_of() its id; 0: not said.
  std::uint64_t accuser = 0;

  const PeerId& id() const { return claim->id; }
  Rank rank() const { return {claim->epoch, claim->incarnation, status}; }
};

// The first 8 bytes of an id: enough to tell members apart where a collision costs nothing but
// time.
std::uint64_t tag_of(const PeerId& id);

// Whom a datagram is for: one life of a member.
struct MemberKey {
  PeerId id;
  std::uint64_t epoch = 0;
  bool operator==(const MemberKey&) const = default;
};

}  // namespace p2p::gossip
