// For tests of how two views are made equal: what one who asks says, and what it makes of the
// answers.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <utility>
#include <vector>

#include "tests/gossip/one_member.h"

namespace p2p::gossip::test {

inline std::size_t bytes_of(const std::vector<Sent>& sent, const Endpoint& where) {
  std::size_t bytes = 0;
  for (const Sent& s : sent)
    if (s.what.where == where) bytes += encoded_bytes(s.what.packet);
  return bytes;
}

// The friend says that it has nobody, or names its view.
inline Digests digests_of(const MemberTable& table, std::uint32_t proof) {
  Digests digests{proof, static_cast<std::uint32_t>(table.live())};
  for (std::size_t i = 0; i < kBuckets; ++i)
    digests.digests[i] = MemberTable::short_digest(table.digests()[i]);
  return digests;
}

// Of a friend, whose claim is its first.
inline void add_mark(Want& want, const PeerId& id) {
  want.buckets.push_back({id.bytes[0], 0, 1, {MemberTable::mark_of(*claim_of(id), want.salt)}});
}

// What a table that has other claims wants of a listing.
inline Want unknown_of(const Listing& listing, const MemberTable& table) {
  Want want{listing.salt, {}};
  for (const BucketMarks& listed : listing.buckets) {
    std::set<Mark> known;
    table.each_of_bucket(listed.bucket, [&](const MemberTable::Member& member) {
      known.insert(MemberTable::mark_of(*member.claim, listing.salt));
    });
    BucketMarks unknown{listed.bucket, listed.part, listed.parts, {}};
    for (const Mark mark : listed.marks)
      if (!known.contains(mark)) unknown.marks.push_back(mark);
    if (!unknown.marks.empty()) want.buckets.push_back(std::move(unknown));
  }
  return want;
}

// What it is given as a proof of where it is.
inline std::uint32_t challenge_for(OneMember& one, const Friend& who) {
  one.forget();
  one.hear(who.sender(), who.ping());
  const auto acks = one.sent_to<Ack>(who.endpoint);
  REQUIRE(acks.size() == 1);
  one.forget();
  return acks[0].challenge;
}

inline std::vector<ClaimPtr> claims(Random& random, std::size_t count) {
  std::vector<ClaimPtr> made;
  for (std::size_t i = 0; i < count; ++i) {
    auto claim = std::make_shared<Claim>(*claim_of(random_id(random)));
    claim->endpoint = address(1000 + static_cast<std::uint32_t>(i));
    made.push_back(claim);
  }
  return made;
}

}  // namespace p2p::gossip::test
