// MemberTable: what one member knows of all others; sans-IO. One entry an id: the highest-ranking
// news of it. Also digests of the live ones, so that two tables can find what differs.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/random.h"
#include "base/time.h"
#include "gossip/member.h"
#include "gossip/messages.h"

namespace p2p::gossip {

// Live and remembered ones together. News of more is not taken.
inline constexpr std::size_t kMaxMembers = 50'000;
// The dead are remembered for so long, lest old news bring them back, and so that they are looked
// for; those who left are not looked for. In a full table newcomers take the places of those that
// have been gone for longest.
inline constexpr Duration kRemembered = std::chrono::hours(24);
inline constexpr Duration kLeftRemembered = std::chrono::hours(1);
// So many of the gone are forgotten at one time then, since it costs a look at all members.
inline constexpr std::size_t kForgottenAtOnce = 1000;

// Which of the equal parts of its bucket a member belongs to; `parts` a power of two up to 256.
inline std::uint32_t part_of(const PeerId& id, std::uint32_t parts) {
  return id.bytes[1] * parts >> 8;
}

// A member's place in the table: valid until forget_old() or the next put() of another member.
using MemberIndex = std::uint32_t;
inline constexpr MemberIndex kNobody = ~MemberIndex{0};

class MemberTable {
 public:
  struct Member {
    ClaimPtr claim;
    Time since;  // it has this status
    MemberIndex next_in_bucket = kNobody;
    MemberStatus status = MemberStatus::kAlive;
    // It answered from the endpoint of its claim: more may be sent there than came from it.
    bool proven = false;

    Rank rank() const { return {claim->epoch, claim->incarnation, status}; }
    MemberKey key() const { return {claim->id, claim->epoch}; }
  };

  MemberTable() { heads_.fill(kNobody); }
  MemberTable(const MemberTable&) = delete;
  MemberTable& operator=(const MemberTable&) = delete;

  // Takes it when it ranks higher than what is known; tells whether it did. A full table takes
  // nobody new.
  bool put(const News& news, Time now);
  // Forgets who has been dead for kRemembered, or has left kLeftRemembered ago.
  void forget_old(Time now);

  const Member* find(const PeerId& id) const;
  Member* find(const PeerId& id);
  const Member& at(MemberIndex index) const { return members_[index]; }

  ViewSummary summary() const { return {digest_, static_cast<std::uint32_t>(live_)}; }
  const std::array<std::uint64_t, kBuckets>& digests() const { return bucket_digests_; }
  // As they travel: the lower half of each.
  static std::uint32_t short_digest(std::uint64_t digest) {
    return static_cast<std::uint32_t>(digest);
  }
  // Two bytes of a claim's digest, others with each salt.
  static Mark mark_of(const Claim& claim, std::uint32_t salt);
  // Calls `each(member)` for all of the bucket, the dead too.
  template <typename Each>
  void each_of_bucket(std::size_t bucket, Each each) const {
    for (MemberIndex i = heads_[bucket]; i != kNobody; i = members_[i].next_in_bucket)
      each(members_[i]);
  }
  static std::size_t bucket_of(const PeerId& id) { return id.bytes[0]; }

  std::size_t size() const { return members_.size(); }
  std::size_t live() const { return live_; }
  std::size_t dead() const { return dead_; }  // without those who left
  // In no particular order, the dead too.
  const std::vector<Member>& members() const { return members_; }
  // Rises when a member comes to life, dies or changes its claim.
  std::uint64_t version() const { return version_; }

  // A live one, or a dead one, each as likely; kNobody when there is none.
  MemberIndex random_live(Random& random) const;
  MemberIndex random_dead(Random& random) const;
  // The live one that follows in the order of ids, the least after the greatest; null when there is
  // no other than `id`. Looks at a 256th of the members.
  const Member* successor(const PeerId& id) const;

 private:
  // Looked up by id, kept by index: an entry takes 4 bytes of the set.
  struct Hash {
    using is_transparent = void;
    const std::vector<Member>* members;
    std::size_t operator()(MemberIndex index) const { return (*this)((*members)[index].claim->id); }
    // A public key's bytes are as good as random.
    std::size_t operator()(const PeerId& id) const { return tag_of(id); }
  };
  struct Same {
    using is_transparent = void;
    const std::vector<Member>* members;
    bool operator()(MemberIndex a, MemberIndex b) const { return a == b; }
    bool operator()(MemberIndex a, const PeerId& id) const { return (*members)[a].claim->id == id; }
    bool operator()(const PeerId& id, MemberIndex a) const { return (*members)[a].claim->id == id; }
  };

  MemberIndex index_of(const PeerId& id) const;
  template <typename Old>
  void forget(Old old);
  bool make_room();
  void count(const Member& member, int sign);
  template <typename Wanted>
  MemberIndex random_of(Random& random, std::size_t how_many, Wanted wanted) const;

  std::vector<Member> members_;
  absl::flat_hash_set<MemberIndex, Hash, Same> by_id_{0, Hash{&members_}, Same{&members_}};
  std::array<MemberIndex, kBuckets> heads_;
  std::array<std::uint64_t, kBuckets> bucket_digests_{};
  std::uint64_t digest_ = 0;
  std::size_t live_ = 0, dead_ = 0;
  std::uint64_t version_ = 0;
};

}  // namespace p2p::gossip
