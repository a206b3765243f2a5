// What digests, listings and wants are answered with.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/gossip/sync_support.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;
using namespace std::chrono_literals;

namespace {

// One with many members, the first of whom has proven where it is.
struct Proven {
  Random random{kSeed};
  OneMember one;
  explicit Proven(std::size_t members = 600) {
    one.know(members, random);
    one.call([&](Membership& core, Time now) { core.reach(other().id, now); });
    one.forget();
  }
  const Friend& other() { return one.friend_at(0); }
  void hear(const Packet& packet) { one.hear(other().sender(), packet); }
  const MemberTable& table() { return one.core().table(); }
  std::vector<Claim> in_bucket(std::size_t bucket) {
    std::vector<Claim> members;
    table().each_of_bucket(
        bucket, [&](const MemberTable::Member& member) { members.push_back(*member.claim); });
    return members;
  }
  BucketMarks marks_of(std::size_t bucket, std::uint32_t salt) {
    BucketMarks marks{static_cast<std::uint8_t>(bucket), 0, 1, {}};
    for (const Claim& claim : in_bucket(bucket))
      marks.marks.push_back(MemberTable::mark_of(claim, salt));
    return marks;
  }
  // The ids of the records that it was sent.
  std::set<PeerId> records() {
    std::set<PeerId> ids;
    for (const Records& packet : one.sent_to<Records>(other().endpoint))
      for (const News& news : packet.records) ids.insert(news.id());
    return ids;
  }
};

}  // namespace

TEST_CASE("digests that differ in a few buckets are answered with what is in these") {
  Proven proven;
  Digests digests = digests_of(proven.table(), 0);
  proven.hear(digests);
  REQUIRE(proven.one.sent().empty());
  for (const std::size_t bucket : {3, 77, 250}) ++digests.digests[bucket];
  proven.hear(digests);
  const auto listings = proven.one.sent_to<Listing>(proven.other().endpoint);
  REQUIRE(listings.size() == 1);
  std::set<std::size_t> listed;
  for (const BucketMarks& bucket : listings[0].buckets) {
    listed.insert(bucket.bucket);
    REQUIRE(bucket == proven.marks_of(bucket.bucket, listings[0].salt));
  }
  REQUIRE(listed == std::set<std::size_t>{3, 77, 250});
  REQUIRE(proven.records().empty());
}

TEST_CASE("a listing leaves room for what will be wanted of it") {
  // To one who can only ask, and who hears one member alone: as many are known there, and of some
  // an earlier claim, or fewer.
  for (const std::size_t members : {std::size_t{15'000}, std::size_t{49'000}})
    for (const std::size_t differ : {100, 300, 1000, 3000})
      for (const bool missing : {false, true}) {
        INFO(members << " members, " << differ << (missing ? " missing" : " changed"));
        Random random(kSeed);
        OneMember one;
        std::vector<ClaimPtr> now = claims(random, members), before = now;
        for (std::size_t i = 0; i < differ; ++i) {
          auto claim = std::make_shared<Claim>(*now[i]);
          ++claim->incarnation;
          if (!missing) now[i] = claim;
        }
        if (missing) before.erase(before.begin(), before.begin() + static_cast<long>(differ));
        one.call([&](Membership& core, Time at) { core.adopt(now, at); });
        MemberTable asking;
        for (const ClaimPtr& claim : before) asking.put(alive(claim), one.now());
        asking.put(alive(std::make_shared<Claim>(one.core().self())), one.now());
        Friend other = make_friend(random, 90'000);
        const std::uint32_t challenge = challenge_for(one, other);
        std::size_t syncs = 0;
        for (; syncs < 100 && asking.summary() != one.core().table().summary(); ++syncs) {
          one.run_for(300ms);
          one.forget();
          one.hear(other.sender(), digests_of(asking, challenge));
          for (const Listing& listing : one.sent_to<Listing>(other.endpoint))
            one.hear(other.sender(), unknown_of(listing, asking));
          for (const Records& records : one.sent_to<Records>(other.endpoint))
            for (const News& news : records.records) asking.put(news, one.now());
        }
        CAPTURE(syncs);
        // A record takes 60 bytes of the budget.
        REQUIRE(syncs <= 3 + differ / 25);
      }
}

TEST_CASE("a bucket with more members than one packet holds goes in parts") {
  Proven proven(1);
  for (std::size_t i = 0; i < kMaxMarks + 100; ++i) {
    PeerId id = random_id(proven.random);
    id.bytes[0] = 9;
    proven.hear(Records{{alive(claim_of(id))}});
  }
  proven.one.run_for(2s);
  proven.one.forget();
  Digests digests = digests_of(proven.table(), 0);
  ++digests.digests[9];
  proven.hear(digests);
  std::vector<Mark> listed;
  std::uint32_t next = 0, salt = 0;
  for (const Listing& listing : proven.one.sent_to<Listing>(proven.other().endpoint)) {
    salt = listing.salt;
    for (const BucketMarks& part : listing.buckets) {
      REQUIRE(part.bucket == 9);
      REQUIRE(part.parts == 4);
      REQUIRE(part.part == next++);
      REQUIRE(part.marks.size() < kMaxMarks / 2);
      listed.insert(listed.end(), part.marks.begin(), part.marks.end());
    }
  }
  REQUIRE(next == 4);
  std::vector<Mark> expected = proven.marks_of(9, salt).marks;
  std::sort(listed.begin(), listed.end());
  std::sort(expected.begin(), expected.end());
  REQUIRE(listed == expected);
}

TEST_CASE("a listing is answered with what it lacks, and by asking for what is unknown here") {
  Proven proven(2000);
  const std::size_t bucket = 100;
  const std::vector<Claim> members = proven.in_bucket(bucket);
  REQUIRE(members.size() >= 4);
  Listing listing{77, {proven.marks_of(bucket, 77)}};
  proven.hear(listing);
  REQUIRE(proven.one.sent().empty());

  std::vector<Mark>& marks = listing.buckets[0].marks;
  Claim newer = members[1];
  ++newer.incarnation;
  const Mark unknown = MemberTable::mark_of(newer, 77);
  marks[1] = unknown;              // another claim of it there
  marks.erase(marks.begin() + 2);  // nothing of it there
  proven.hear(listing);
  REQUIRE(proven.records() == std::set<PeerId>{members[1].id, members[2].id});
  const auto wants = proven.one.sent_to<Want>(proven.other().endpoint);
  REQUIRE(wants.size() == 1);
  REQUIRE(wants[0].salt == 77);
  REQUIRE(wants[0].buckets == std::vector<BucketMarks>{{bucket, 0, 1, {unknown}}});
}

TEST_CASE("a part of a listing says nothing of the other parts") {
  Proven proven(2000);
  const std::size_t bucket = 100;
  Listing listing{1, {{bucket, 1, 2, {}}}};
  proven.hear(listing);
  std::set<PeerId> expected;
  for (const Claim& claim : proven.in_bucket(bucket))
    if (claim.id.bytes[1] >= 0x80) expected.insert(claim.id);
  REQUIRE(expected.size() >= 2);
  REQUIRE(proven.records() == expected);
}

TEST_CASE("one who is listed as live and known to be dead is told of") {
  Proven proven;
  const Friend& dead = proven.one.friend_at(5);
  const std::size_t bucket = dead.id.bytes[0];
  const Listing listing{1, {proven.marks_of(bucket, 1)}};
  proven.hear(Gossip{{dead.news(MemberStatus::kDead, 1)}});
  proven.hear(listing);
  REQUIRE(proven.records() == std::set<PeerId>{dead.id});
  // And nothing of it to one who does not list it.
  proven.one.forget();
  proven.hear(Listing{1, {{static_cast<std::uint8_t>(bucket), 0, 1, {}}}});
  REQUIRE(proven.records().count(dead.id) == 0);
}

TEST_CASE("no more than kMaxWanted are wanted at one time") {
  Proven proven;
  Listing listing{1, std::vector<BucketMarks>(3)};
  for (std::uint8_t i = 0; i < 3; ++i) {
    listing.buckets[i].bucket = i;
    for (std::size_t k = 0; k < kMaxMarks / 2; ++k)
      listing.buckets[i].marks.push_back(static_cast<Mark>(proven.random.next()));
  }
  proven.hear(listing);
  std::size_t wanted = 0;
  for (const Want& want : proven.one.sent_to<Want>(proven.other().endpoint))
    for (const BucketMarks& bucket : want.buckets) wanted += bucket.marks.size();
  REQUIRE(wanted == kMaxWanted);
}

TEST_CASE("what is wanted is given, the dead and the departed too") {
  Proven proven;
  const Friend& dead = proven.one.friend_at(5);
  proven.hear(Gossip{{dead.news(MemberStatus::kDead, 1)}});
  Want want{1, {}};
  add_mark(want, dead.id);
  add_mark(want, proven.one.friend_at(6).id);
  add_mark(want, random_id(proven.random));
  proven.hear(want);
  REQUIRE(proven.records() == std::set<PeerId>{dead.id, proven.one.friend_at(6).id});
}

TEST_CASE("who says that one lives who is dead is told so") {
  Proven proven;
  const Friend& dead = proven.one.friend_at(5);
  proven.hear(Gossip{{dead.news(MemberStatus::kDead, 1)}});
  proven.hear(Records{{dead.news(MemberStatus::kAlive)}});
  REQUIRE(proven.one.status(dead.id) == MemberStatus::kDead);
  const auto records = proven.one.sent_to<Records>(proven.other().endpoint);
  REQUIRE(records.size() == 1);
  REQUIRE(records[0].records.at(0).id() == dead.id);
  REQUIRE(records[0].records[0].status == MemberStatus::kDead);
}

TEST_CASE("what a sync brings is not told on; what is told is") {
  for (const bool synced : {true, false}) {
    Proven proven;
    const News news = alive(claim_of(random_id(proven.random)));
    proven.hear(synced ? Packet(Records{{news}}) : Packet(Gossip{{news}}));
    REQUIRE(proven.one.find(news.id()) != nullptr);
    proven.one.run_for(1s);
    REQUIRE(proven.one.sent_of_kind<Gossip>().empty() == synced);
  }
}
