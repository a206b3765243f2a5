// What the tests of gossip/ share: made-up members, and what is said about them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "gossip/messages.h"

namespace p2p::gossip::test {

inline constexpr std::uint64_t kSeed = 20260728;
inline constexpr std::uint64_t kEpoch = 1'700'000'000'000;

// Of id bytes that are all the same.
PeerId id_of(std::uint8_t fill);
PeerId random_id(Random& random);
// 10.x.y.z:7946
Endpoint address(std::uint32_t number);
Endpoint address6(std::uint32_t number);
// One that can be dialled, IPv4 or IPv6.
Endpoint random_endpoint(Random& random);
// A number of a random length: each spelling is as likely.
std::uint64_t random_number(Random& random, std::uint64_t max);
News random_news(Random& random);
// At address(the id's first byte), service port 7000.
ClaimPtr claim_of(const PeerId& id, std::uint64_t epoch = kEpoch, Incarnation incarnation = 0);
inline News alive(ClaimPtr claim) { return {std::move(claim), MemberStatus::kAlive, 0}; }

inline constexpr std::size_t kKinds = std::variant_size_v<Packet>;
const char* kind_name(std::size_t kind);
// Of the kind at this place of Packet; each field as large as it may be or smaller. A list of news
// is as long as fits.
Packet random_packet(std::size_t kind, Random& random);

}  // namespace p2p::gossip::test
