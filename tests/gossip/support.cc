#include "tests/gossip/support.h"

#include <algorithm>

#include "base/check.h"

namespace p2p::gossip::test {
namespace {

constexpr std::uint64_t kMaxU64 = ~std::uint64_t{0};
constexpr std::uint16_t kPort = 7946;

std::uint32_t random_u32(Random& random) {
  return static_cast<std::uint32_t>(random_number(random, 0xffffffff));
}
Incarnation random_incarnation(Random& random) {
  return static_cast<Incarnation>(random_number(random, kMaxIncarnation));
}
std::uint16_t random_port(Random& random) {
  return static_cast<std::uint16_t>(random_number(random, 0xffff));
}
MemberStatus random_status(Random& random) {
  return static_cast<MemberStatus>(random.below(kMemberStatuses));
}
Endpoint endpoint_or_none(Random& random) {
  return random.chance(0.3) ? Endpoint{} : random_endpoint(random);
}
SelfClaim random_self(Random& random) {
  return {random_incarnation(random), endpoint_or_none(random), random_port(random)};
}
YouAre random_you(Random& random) { return {random_incarnation(random), random_status(random)}; }
ViewSummary random_view(Random& random) {
  return {random_number(random, kMaxU64), random_u32(random)};
}

// Packets' lists are as long as fits; each length is as likely.
std::vector<News> random_list(Random& random, std::size_t max) {
  std::vector<News> news;
  std::size_t bytes = 8;
  for (std::size_t left = random.below(max + 1); left > 0; --left) {
    News item = random_news(random);
    bytes += encoded_bytes(item);
    if (bytes > kMaxPacketBytes) break;
    news.push_back(std::move(item));
  }
  return news;
}

std::vector<BucketMarks> random_buckets(Random& random) {
  std::vector<BucketMarks> buckets(random.below(random.chance(0.1) ? kBuckets / 2 : 10));
  std::size_t left = kMaxMarks;
  for (BucketMarks& bucket : buckets) {
    bucket.bucket = static_cast<std::uint8_t>(random.below(kBuckets));
    bucket.parts = 1u << random.below(9);
    bucket.part = static_cast<std::uint32_t>(random.below(bucket.parts));
    bucket.marks.resize(random.below(std::min<std::size_t>(left, 200) + 1));
    left -= bucket.marks.size();
    for (Mark& mark : bucket.marks) mark = static_cast<Mark>(random.next());
  }
  const auto place = [](const BucketMarks& of) { return std::pair(of.bucket, of.part); };
  std::sort(buckets.begin(), buckets.end(),
            [&](const BucketMarks& a, const BucketMarks& b) { return place(a) < place(b); });
  buckets.erase(
      std::unique(buckets.begin(), buckets.end(),
                  [&](const BucketMarks& a, const BucketMarks& b) { return place(a) == place(b); }),
      buckets.end());
  while (encoded_bytes(Packet(Want{0xffffffff, buckets})) > kMaxPacketBytes) buckets.pop_back();
  return buckets;
}

Absent random_absent(std::uint32_t number, Random& random) {
  Absent absent{number, random.chance(0.5), {}};
  std::size_t bytes = encoded_bytes(Packet(absent)) + 4;
  for (News& news : random_list(random, kMaxNewsInPacket)) {
    if (news.status == MemberStatus::kAlive) news.status = MemberStatus::kLeft;
    bytes += encoded_bytes(news) + 5;
    if (bytes > kMaxPacketBytes) break;
    absent.members.push_back({std::move(news), random_u32(random)});
  }
  return absent;
}

}  // namespace

PeerId id_of(std::uint8_t fill) { return *PeerId::from_bytes(Bytes(PeerId::kSize, fill)); }

PeerId random_id(Random& random) {
  PeerId id;
  for (std::uint8_t& byte : id.bytes) byte = static_cast<std::uint8_t>(random.next());
  return id;
}

Endpoint address(std::uint32_t number) {
  std::uint8_t bytes[4];
  put_u32(bytes, 10u << 24 | (number & 0xffffff));
  return {IpAddress::from_bytes(bytes).value(), kPort};
}

Endpoint address6(std::uint32_t number) {
  std::uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
  put_u32(bytes + 12, number);
  return {IpAddress::from_bytes(bytes).value(), kPort};
}

Endpoint random_endpoint(Random& random) {
  const auto number = static_cast<std::uint32_t>(random.next());
  return random.chance(0.5) ? address(number) : address6(number);
}

std::uint64_t random_number(Random& random, std::uint64_t max) {
  return std::min(max, random.next() >> random.below(64));
}

News random_news(Random& random) {
  return {std::make_shared<Claim>(Claim{random_id(random), random_number(random, kMaxU64),
                                        random_incarnation(random), random_endpoint(random),
                                        random_port(random)}),
          random_status(random), random_number(random, kMaxU64)};
}

ClaimPtr claim_of(const PeerId& id, std::uint64_t epoch, Incarnation incarnation) {
  return std::make_shared<Claim>(Claim{id, epoch, incarnation, address(id.bytes[0]), 7000});
}

const char* kind_name(std::size_t kind) {
  static constexpr const char* kNames[] = {
      "Ping",    "Ack",     "Relay", "RelayAnswer", "Greet",     "Welcome", "Gossip",
      "Digests", "Listing", "Want",  "Records",     "AskAbsent", "Absent"};
  static_assert(std::size(kNames) == kKinds);
  return kNames[kind];
}

Packet random_packet(std::size_t kind, Random& random) {
  const std::uint32_t number = random_u32(random);
  switch (kind) {
    case 0:
      return Ping{number,
                  random.chance(0.5),
                  random_self(random),
                  random_you(random),
                  endpoint_or_none(random),
                  random_view(random)};
    case 1:
      return Ack{number,
                 random_u32(random),
                 random_self(random),
                 random_you(random),
                 endpoint_or_none(random),
                 random_view(random)};
    case 2:
      return Relay{
          number, {random_id(random), random_number(random, kMaxU64)}, random_endpoint(random)};
    case 3:
      return RelayAnswer{number, random.chance(0.5)};
    case 4:
      return Greet{number};
    case 5:
      return Welcome{number, random_self(random), endpoint_or_none(random),
                     random_list(random, kMaxIntroductions)};
    case 6:
      return Gossip{random_list(random, kMaxNewsInPacket)};
    case 7: {
      Digests digests{number, random_u32(random)};
      for (std::uint32_t& digest : digests.digests) digest = random_u32(random);
      return digests;
    }
    case 8:
      return Listing{number, random_buckets(random)};
    case 9:
      return Want{number, random_buckets(random)};
    case 10:
      return Records{random_list(random, kMaxNewsInPacket)};
    case 11:
      return AskAbsent{number, random_u32(random), random_number(random, kMaxU64)};
    default:
      P2P_CHECK(kind == 12);
      return random_absent(number, random);
  }
}

}  // namespace p2p::gossip::test
