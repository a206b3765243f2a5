#include "gossip/member_table.h"

#include <algorithm>

namespace p2p::gossip {
namespace {

// What a live member adds to a digest; digests are the exclusive or of them. A suspect adds the
// same as when it was alive: suspicions come and go too fast to be synchronised.
std::uint64_t digest_of(const Claim& claim) {
  return mixed(mixed(tag_of(claim.id) ^ mixed(claim.epoch)) + claim.incarnation);
}

// So many tries for a member of the kind wanted; then all are looked at.
constexpr int kTries = 32;

}  // namespace

const char* name_of(MemberStatus status) {
  switch (status) {
    case MemberStatus::kAlive:
      return "alive";
    case MemberStatus::kSuspect:
      return "suspect";
    case MemberStatus::kDead:
      return "dead";
    case MemberStatus::kLeft:
      return "left";
  }
  return "";
}

Mark MemberTable::mark_of(const Claim& claim, std::uint32_t salt) {
  return static_cast<Mark>(mixed(digest_of(claim) + salt));
}

std::uint64_t tag_of(const PeerId& id) { return get_u64(id.bytes.data()); }

MemberIndex MemberTable::index_of(const PeerId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? kNobody : *found;
}

const MemberTable::Member* MemberTable::find(const PeerId& id) const {
  const MemberIndex index = index_of(id);
  return index == kNobody ? nullptr : &members_[index];
}

MemberTable::Member* MemberTable::find(const PeerId& id) {
  const MemberIndex index = index_of(id);
  return index == kNobody ? nullptr : &members_[index];
}

void MemberTable::count(const Member& member, int sign) {
  if (member.status == MemberStatus::kDead) dead_ += static_cast<std::size_t>(sign);
  if (!is_live(member.status)) return;
  live_ += static_cast<std::size_t>(sign);
  const std::uint64_t digest = digest_of(*member.claim);
  bucket_digests_[bucket_of(member.claim->id)] ^= digest;
  digest_ ^= digest;
}

bool MemberTable::put(const News& news, Time now) {
  MemberIndex index = index_of(news.id());
  if (index == kNobody) {
    if (members_.size() >= kMaxMembers && !make_room()) return false;
    index = static_cast<MemberIndex>(members_.size());
    MemberIndex& head = heads_[bucket_of(news.id())];
    members_.push_back({news.claim, now, head, news.status});
    head = index;
    by_id_.insert(index);
    count(members_[index], +1);
    ++version_;
    return true;
  }
  Member& member = members_[index];
  if (news.rank() <= member.rank()) return false;
  const bool was_live = is_live(member.status);
  const bool same_claim = *member.claim == *news.claim;
  count(member, -1);
  if (member.claim->endpoint != news.claim->endpoint || member.claim->epoch != news.claim->epoch)
    member.proven = false;
  // An equal claim that is kept already is kept on: the other copy can be freed.
  if (!same_claim) member.claim = news.claim;
  member.since = now;
  member.status = news.status;
  count(member, +1);
  if (!same_claim || was_live != is_live(member.status)) ++version_;
  return true;
}

void MemberTable::forget_old(Time now) {
  const auto old = [&](const Member& member) {
    const Duration kept = member.status == MemberStatus::kLeft ? kLeftRemembered : kRemembered;
    return !is_live(member.status) && member.since + kept <= now;
  };
  if (std::any_of(members_.begin(), members_.end(), old)) forget(old);
}

// False when all are live.
bool MemberTable::make_room() {
  std::vector<Time> gone;
  for (const Member& member : members_)
    if (!is_live(member.status)) gone.push_back(member.since);
  if (gone.empty()) return false;
  const std::size_t most = std::min(kForgottenAtOnce, gone.size()) - 1;
  std::nth_element(gone.begin(), gone.begin() + static_cast<std::ptrdiff_t>(most), gone.end());
  const Time last = gone[most];
  std::size_t left = kForgottenAtOnce;  // of those that went at the same time
  forget([&](const Member& member) {
    return !is_live(member.status) && member.since <= last && left > 0 && left-- > 0;
  });
  return true;
}

template <typename Old>
void MemberTable::forget(Old old) {
  by_id_.clear();
  heads_.fill(kNobody);
  std::vector<Member> kept;
  for (Member& member : members_) {
    if (old(member))
      count(member, -1);
    else
      kept.push_back(std::move(member));
  }
  members_.swap(kept);
  for (MemberIndex i = 0; i < members_.size(); ++i) {
    MemberIndex& head = heads_[bucket_of(members_[i].claim->id)];
    members_[i].next_in_bucket = head;
    head = i;
    by_id_.insert(i);
  }
}

template <typename Wanted>
MemberIndex MemberTable::random_of(Random& random, std::size_t how_many, Wanted wanted) const {
  if (how_many == 0) return kNobody;
  for (int i = 0; i < kTries; ++i) {
    const auto index = static_cast<MemberIndex>(random.below(members_.size()));
    if (wanted(members_[index].status)) return index;
  }
  std::uint64_t skip = random.below(how_many);
  for (MemberIndex index = 0; index < members_.size(); ++index)
    if (wanted(members_[index].status) && skip-- == 0) return index;
  return kNobody;
}

MemberIndex MemberTable::random_live(Random& random) const {
  return random_of(random, live_, is_live);
}

const MemberTable::Member* MemberTable::successor(const PeerId& id) const {
  const Member* next = nullptr;
  // Its own bucket is the first, for the greater ids, and the last, for the lesser ones.
  for (std::size_t i = 0; i <= kBuckets && !next; ++i)
    each_of_bucket((bucket_of(id) + i) % kBuckets, [&](const Member& member) {
      if (!is_live(member.status) || member.claim->id == id) return;
      if (i == 0 && member.claim->id < id) return;
      if (!next || member.claim->id < next->claim->id) next = &member;
    });
  return next;
}

MemberIndex MemberTable::random_dead(Random& random) const {
  return random_of(random, dead_,
                   [](MemberStatus status) { return status == MemberStatus::kDead; });
}

}  // namespace p2p::gossip
