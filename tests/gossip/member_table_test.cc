// What one member knows of all others: what is said in whatever order, the view is the same.
#include "gossip/member_table.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/gossip/support.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

constexpr Time kStart{seconds(1000)};

// What a table holds, without since and proven.
std::map<PeerId, std::pair<Claim, MemberStatus>> view_of(const MemberTable& table) {
  std::map<PeerId, std::pair<Claim, MemberStatus>> view;
  for (const MemberTable::Member& member : table.members())
    view.emplace(member.claim->id, std::pair{*member.claim, member.status});
  return view;
}

News as(const ClaimPtr& claim, MemberStatus status) { return {claim, status, 0}; }

// The digests from nothing, as a reader of docs/protocol.md would make them.
ViewSummary summary_of(const MemberTable& table) {
  const auto mixed = [](std::uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  };
  ViewSummary summary;
  for (const MemberTable::Member& member : table.members()) {
    if (member.status > MemberStatus::kSuspect) continue;
    ++summary.live;
    const Claim& claim = *member.claim;
    summary.digest ^=
        mixed(mixed(get_u64(claim.id.bytes.data()) ^ mixed(claim.epoch)) + claim.incarnation);
  }
  return summary;
}

void require_consistent(const MemberTable& table) {
  REQUIRE(table.summary() == summary_of(table));
  std::uint64_t all = 0;
  for (const std::uint64_t digest : table.digests()) all ^= digest;
  REQUIRE(all == table.summary().digest);
  std::size_t live = 0, dead = 0, in_buckets = 0;
  for (const MemberTable::Member& member : table.members()) {
    live += is_live(member.status);
    dead += member.status == MemberStatus::kDead;
    REQUIRE(table.find(member.claim->id) == &member);
  }
  REQUIRE(table.live() == live);
  REQUIRE(table.dead() == dead);
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket)
    table.each_of_bucket(bucket, [&](const MemberTable::Member& member) {
      REQUIRE(MemberTable::bucket_of(member.claim->id) == bucket);
      ++in_buckets;
    });
  REQUIRE(in_buckets == table.size());
}

// Different things said of a few members: several lives, claims and statuses of each.
std::vector<News> sayings(Random& random, std::size_t members) {
  std::vector<News> news;
  for (std::size_t i = 0; i < members; ++i) {
    const PeerId id = random_id(random);
    for (std::uint64_t epoch = 1; epoch <= 2; ++epoch)
      for (Incarnation incarnation = 0; incarnation < 2; ++incarnation) {
        auto claim = std::make_shared<Claim>(*claim_of(id, epoch, incarnation));
        claim->service_port = static_cast<std::uint16_t>(random.below(100));
        for (std::uint64_t status = 0; status < kMemberStatuses; ++status)
          if (random.chance(0.6)) news.push_back(as(claim, static_cast<MemberStatus>(status)));
      }
  }
  return news;
}

}  // namespace

TEST_CASE("the same news in any order, and again and again, makes the same view") {
  Random random(kSeed);
  for (int round = 0; round < 30; ++round) {
    std::vector<News> news = sayings(random, 12);
    std::map<PeerId, News> highest;
    for (const News& item : news) {
      const auto [at, is_new] = highest.emplace(item.id(), item);
      if (!is_new && item.rank() > at->second.rank()) at->second = item;
    }
    std::map<PeerId, std::pair<Claim, MemberStatus>> expected;
    for (const auto& [id, item] : highest)
      expected.emplace(id, std::pair{*item.claim, item.status});
    ViewSummary first;
    for (int order = 0; order < 10; ++order) {
      random.shuffle(news);
      MemberTable table;
      for (std::size_t i = 0; i < news.size(); ++i) {
        table.put(news[i], kStart);
        table.put(news[random.below(i + 1)], kStart);
      }
      REQUIRE(view_of(table) == expected);
      require_consistent(table);
      if (order == 0) first = table.summary();
      REQUIRE(table.summary() == first);
    }
  }
}

TEST_CASE("put() takes what ranks higher and nothing else, and says so") {
  const PeerId id = id_of(7);
  // Each overrules all before it: the epoch first, then the incarnation, then the status.
  std::vector<News> ladder;
  for (std::uint64_t epoch = 1; epoch <= 2; ++epoch)
    for (Incarnation incarnation = 0; incarnation < 2; ++incarnation)
      for (std::uint64_t status = 0; status < kMemberStatuses; ++status)
        ladder.push_back(as(claim_of(id, epoch, incarnation), static_cast<MemberStatus>(status)));
  MemberTable table;
  for (std::size_t i = 0; i < ladder.size(); ++i) {
    REQUIRE(table.put(ladder[i], kStart));
    for (std::size_t lower = 0; lower <= i; ++lower)
      REQUIRE_FALSE(table.put(ladder[lower], kStart));
    REQUIRE(table.find(id)->rank() == ladder[i].rank());
    REQUIRE(table.size() == 1);
  }
}

TEST_CASE("digests are equal when the live claims are, and differ otherwise") {
  Random random(kSeed);
  for (int round = 0; round < 50; ++round) {
    MemberTable a, b;
    std::vector<ClaimPtr> claims;
    for (int i = 0; i < 40; ++i) {
      claims.push_back(claim_of(random_id(random), 5, 1));
      a.put(alive(claims.back()), kStart);
    }
    random.shuffle(claims);
    for (const ClaimPtr& claim : claims) b.put(alive(claim), kStart + seconds(9));
    REQUIRE(a.summary() == b.summary());
    REQUIRE(a.digests() == b.digests());

    const Claim& old = *claims[random.below(claims.size())];
    const std::size_t bucket = MemberTable::bucket_of(old.id);
    auto changed = std::make_shared<Claim>(old);
    (round % 2 == 0 ? ++changed->incarnation : ++changed->epoch);
    b.put(alive(changed), kStart);
    REQUIRE(a.summary() != b.summary());
    for (std::size_t i = 0; i < kBuckets; ++i)
      REQUIRE((a.digests()[i] == b.digests()[i]) == (i != bucket));
    a.put(alive(changed), kStart);
    REQUIRE(a.summary() == b.summary());

    b.put(alive(claim_of(random_id(random))), kStart);
    REQUIRE(a.summary() != b.summary());
  }
}

TEST_CASE("a suspicion does not change a digest; a death, a departure and a return do") {
  MemberTable table;
  const ClaimPtr claim = claim_of(id_of(1));
  table.put(alive(claim_of(id_of(2))), kStart);
  const ViewSummary without = table.summary();
  table.put(alive(claim), kStart);
  const ViewSummary with = table.summary();
  REQUIRE(with != without);
  table.put(as(claim, MemberStatus::kSuspect), kStart);
  REQUIRE(table.summary() == with);
  table.put(as(claim, MemberStatus::kDead), kStart);
  REQUIRE(table.summary() == without);
  REQUIRE(table.dead() == 1);
  table.put(as(claim, MemberStatus::kLeft), kStart);
  REQUIRE(table.summary() == without);
  REQUIRE(table.dead() == 0);
  table.put(alive(claim_of(id_of(1), kEpoch, 1)), kStart);
  REQUIRE(table.summary().live == 2);
  REQUIRE(table.summary() != with);
  require_consistent(table);
}

TEST_CASE(
    "a full table takes nobody new but in the place of the dead, and still what is said of those "
    "it knows") {
  Random random(kSeed);
  MemberTable table;
  std::vector<PeerId> ids;
  for (std::size_t i = 0; i < kMaxMembers; ++i) {
    ids.push_back(random_id(random));
    REQUIRE(table.put(alive(claim_of(ids.back())), kStart));
  }
  REQUIRE_FALSE(table.put(alive(claim_of(random_id(random))), kStart));
  REQUIRE(table.size() == kMaxMembers);
  REQUIRE(table.put(as(claim_of(ids[0]), MemberStatus::kDead), kStart));
  REQUIRE(table.put(alive(claim_of(random_id(random))), kStart));
  REQUIRE(table.find(ids[0]) == nullptr);
  REQUIRE(table.size() == kMaxMembers);
  REQUIRE_FALSE(table.put(alive(claim_of(random_id(random))), kStart));
}

TEST_CASE("the dead are forgotten after kRemembered, the departed sooner, the living never") {
  Random random(kSeed);
  MemberTable table;
  std::vector<ClaimPtr> claims;
  for (int i = 0; i < 200; ++i) claims.push_back(claim_of(random_id(random)));
  for (const ClaimPtr& claim : claims) table.put(alive(claim), kStart);
  for (int i = 0; i < 200; ++i)
    table.put(as(claims[static_cast<std::size_t>(i)], static_cast<MemberStatus>(i % 4)), kStart);
  const ViewSummary before = table.summary();

  table.forget_old(kStart + kLeftRemembered - Duration(1));
  REQUIRE(table.size() == 200);
  table.forget_old(kStart + kRemembered - Duration(1));
  REQUIRE(table.size() == 150);
  table.forget_old(kStart + kRemembered);
  REQUIRE(table.size() == 100);
  REQUIRE(table.dead() == 0);
  REQUIRE(table.summary() == before);
  require_consistent(table);
  for (int i = 0; i < 200; ++i)
    REQUIRE((table.find(claims[static_cast<std::size_t>(i)]->id) != nullptr) == (i % 4 < 2));
  // Not known any more, old news counts again.
  REQUIRE(table.put(alive(claims[2]), kStart + kRemembered));
  require_consistent(table);
}

TEST_CASE("a death counts from when it was heard, not from when the member came") {
  MemberTable table;
  const ClaimPtr claim = claim_of(id_of(1));
  table.put(alive(claim), kStart);
  table.put(as(claim, MemberStatus::kDead), kStart + hours(30));
  table.forget_old(kStart + hours(30) + kRemembered - Duration(1));
  REQUIRE(table.find(claim->id) != nullptr);
  table.forget_old(kStart + hours(30) + kRemembered);
  REQUIRE(table.find(claim->id) == nullptr);
}

TEST_CASE("random_live() and random_dead() give each of theirs as often, and nobody else") {
  Random random(kSeed);
  for (const std::size_t live : {std::size_t{1}, std::size_t{5}, std::size_t{300}}) {
    // Where hardly anybody is of the kind, all are looked at: the same must hold.
    MemberTable table;
    std::set<PeerId> living, dead;
    for (std::size_t i = 0; i < 305; ++i) {
      const ClaimPtr claim = claim_of(random_id(random));
      const bool lives = i < live;
      table.put(as(claim, lives      ? MemberStatus::kSuspect
                          : i == 304 ? MemberStatus::kLeft
                                     : MemberStatus::kDead),
                kStart);
      if (lives) living.insert(claim->id);
      if (!lives && i != 304) dead.insert(claim->id);
    }
    std::map<PeerId, int> drawn;
    const int draws = 100 * static_cast<int>(live);
    for (int i = 0; i < draws; ++i) ++drawn[table.at(table.random_live(random)).claim->id];
    REQUIRE(drawn.size() == live);
    for (const auto& [id, times] : drawn) {
      REQUIRE(living.contains(id));
      REQUIRE(times > 50);
      REQUIRE((times < 150 || live == 1));
    }
    drawn.clear();
    for (std::size_t i = 0; i < 30 * dead.size(); ++i)
      ++drawn[table.at(table.random_dead(random)).claim->id];
    REQUIRE(drawn.size() == dead.size());
    for (const auto& [id, times] : drawn) REQUIRE(dead.contains(id));
  }
  const MemberTable empty;
  REQUIRE(empty.random_live(random) == kNobody);
  REQUIRE(empty.random_dead(random) == kNobody);
}

TEST_CASE("the successor is the next live one in the order of ids, and the circle goes round") {
  Random random(kSeed);
  for (const int members : {1, 2, 3, 10, 1000}) {
    MemberTable table;
    std::set<PeerId> living;
    for (int i = 0; i < members; ++i) {
      const PeerId id = random_id(random);
      const bool lives = i == 0 || random.chance(0.7);
      table.put(as(claim_of(id), lives ? MemberStatus::kAlive : MemberStatus::kDead), kStart);
      if (lives) living.insert(id);
    }
    for (const PeerId& id : living) {
      auto next = living.upper_bound(id);
      if (next == living.end()) next = living.begin();
      const MemberTable::Member* successor = table.successor(id);
      if (living.size() == 1)
        REQUIRE(successor == nullptr);
      else
        REQUIRE(successor->claim->id == *next);
    }
    // Of one who is not in the table too.
    const MemberTable::Member* first = table.successor(id_of(0));
    REQUIRE(first->claim->id == *living.begin());
  }
  REQUIRE(MemberTable().successor(id_of(1)) == nullptr);
}

TEST_CASE("ids of one bucket stand in the circle in their own order") {
  MemberTable table;
  std::vector<PeerId> ids;
  for (std::uint8_t i = 0; i < 4; ++i) {
    PeerId id = id_of(9);
    id.bytes[31] = i;
    ids.push_back(id);
  }
  for (const std::size_t i : {2, 0, 3, 1}) table.put(alive(claim_of(ids[i])), kStart);
  for (std::size_t i = 0; i < 4; ++i)
    REQUIRE(table.successor(ids[i])->claim->id == ids[(i + 1) % 4]);
}

TEST_CASE("one who moved or started anew is proven no longer; one who changed its port is") {
  MemberTable table;
  const PeerId id = id_of(3);
  const auto proven_after = [&](const Claim& claim, MemberStatus status) {
    table.find(id)->proven = true;
    REQUIRE(table.put({std::make_shared<Claim>(claim), status, 0}, kStart));
    return table.find(id)->proven;
  };
  Claim claim = *claim_of(id);
  table.put(alive(std::make_shared<Claim>(claim)), kStart);
  REQUIRE_FALSE(table.find(id)->proven);
  REQUIRE(proven_after(claim, MemberStatus::kSuspect));
  ++claim.incarnation;
  ++claim.service_port;
  REQUIRE(proven_after(claim, MemberStatus::kAlive));
  ++claim.incarnation;
  claim.endpoint = address(99);
  REQUIRE_FALSE(proven_after(claim, MemberStatus::kAlive));
  ++claim.epoch;
  claim.incarnation = 0;
  REQUIRE_FALSE(proven_after(claim, MemberStatus::kAlive));
}

TEST_CASE(
    "version() rises when a claim changes or a member comes, dies or returns, and only then") {
  MemberTable table;
  std::uint64_t version = table.version();
  const auto rises = [&](const News& news) {
    table.put(news, kStart);
    const bool rose = table.version() > version;
    version = table.version();
    return rose;
  };
  const ClaimPtr claim = claim_of(id_of(1));
  const ClaimPtr next = claim_of(id_of(1), kEpoch, 1);
  REQUIRE(rises(alive(claim)));
  REQUIRE_FALSE(rises(alive(claim)));
  REQUIRE_FALSE(rises(as(claim, MemberStatus::kSuspect)));
  REQUIRE(rises(as(claim, MemberStatus::kDead)));
  REQUIRE_FALSE(rises(as(claim, MemberStatus::kLeft)));
  REQUIRE(rises(alive(next)));
  REQUIRE(rises(as(claim_of(id_of(1), kEpoch, 2), MemberStatus::kSuspect)));
  REQUIRE_FALSE(rises(alive(claim)));
}

TEST_CASE("the parts of a bucket are equal, and everybody is in one of them") {
  for (std::uint32_t parts = 1; parts <= kMaxBucketParts; parts *= 2) {
    std::vector<int> members(parts);
    for (int byte = 0; byte < 256; ++byte) {
      PeerId id;
      id.bytes[1] = static_cast<std::uint8_t>(byte);
      ++members.at(part_of(id, parts));
    }
    for (const int count : members) REQUIRE(count == 256 / static_cast<int>(parts));
  }
}

TEST_CASE("a mark tells claims apart, and those that it does not with one salt with another") {
  Random random(kSeed);
  const ClaimPtr claim = claim_of(random_id(random));
  Claim next = *claim, later = *claim;
  ++next.incarnation;
  ++later.epoch;
  std::size_t alike = 0;
  const std::uint32_t salts = 200'000;
  for (std::uint32_t salt = 0; salt < salts; ++salt) {
    const Mark mark = MemberTable::mark_of(*claim, salt);
    REQUIRE(mark == MemberTable::mark_of(Claim(*claim), salt));
    alike += mark == MemberTable::mark_of(next, salt);
    alike += mark == MemberTable::mark_of(later, salt);
  }
  // By chance one in 65,536.
  REQUIRE(alike >= 1);
  REQUIRE(alike <= 20);
}

TEST_CASE("in a full table those make room that have been gone for longest") {
  Random random(kSeed);
  MemberTable table;
  std::vector<ClaimPtr> claims;
  for (std::size_t i = 0; i < kMaxMembers; ++i) {
    claims.push_back(claim_of(random_id(random)));
    // All but ten leave, each a moment after the one before.
    const MemberStatus status = i < 10 ? MemberStatus::kAlive : MemberStatus::kLeft;
    REQUIRE(table.put({claims.back(), status, 0}, kStart + std::chrono::seconds(i)));
  }
  REQUIRE(table.put(alive(claim_of(random_id(random))), kStart));
  REQUIRE(table.size() == kMaxMembers - kForgottenAtOnce + 1);
  REQUIRE(table.live() == 11);
  for (std::size_t i = 0; i < kMaxMembers; ++i)
    REQUIRE((table.find(claims[i]->id) != nullptr) == (i < 10 || i >= 10 + kForgottenAtOnce));
  require_consistent(table);
}
