// The packets as bytes: what is written is read again, and nothing else is.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "gossip/messages.h"
#include "tests/gossip/support.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;

namespace {

constexpr std::uint8_t kU32 = 0xce;  // msgpack's mark of a number of 4 bytes

void require_same(const News& a, const News& b) {
  REQUIRE(*a.claim == *b.claim);
  REQUIRE(a.status == b.status);
  REQUIRE(a.accuser == b.accuser);
}
void require_same(const std::vector<News>& a, const std::vector<News>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) require_same(a[i], b[i]);
}
void require_same(const Ping& a, const Ping& b) {
  REQUIRE(a.number == b.number);
  REQUIRE(a.observer == b.observer);
  REQUIRE(a.self == b.self);
  REQUIRE(a.you == b.you);
  REQUIRE(a.seen == b.seen);
  REQUIRE(a.view == b.view);
}
void require_same(const Ack& a, const Ack& b) {
  REQUIRE(a.number == b.number);
  REQUIRE(a.challenge == b.challenge);
  REQUIRE(a.self == b.self);
  REQUIRE(a.you == b.you);
  REQUIRE(a.seen == b.seen);
  REQUIRE(a.view == b.view);
}
void require_same(const Relay& a, const Relay& b) {
  REQUIRE(a.number == b.number);
  REQUIRE(a.target == b.target);
  REQUIRE(a.endpoint == b.endpoint);
}
void require_same(const RelayAnswer& a, const RelayAnswer& b) {
  REQUIRE(a.number == b.number);
  REQUIRE(a.answered == b.answered);
}
void require_same(const Greet& a, const Greet& b) { REQUIRE(a.number == b.number); }
void require_same(const Welcome& a, const Welcome& b) {
  REQUIRE(a.number == b.number);
  REQUIRE(a.self == b.self);
  REQUIRE(a.seen == b.seen);
  require_same(a.introductions, b.introductions);
}
void require_same(const Gossip& a, const Gossip& b) { require_same(a.news, b.news); }
void require_same(const Digests& a, const Digests& b) {
  REQUIRE(a.proof == b.proof);
  REQUIRE(a.live == b.live);
  REQUIRE(a.digests == b.digests);
}
void require_same(const Listing& a, const Listing& b) {
  REQUIRE(a.salt == b.salt);
  REQUIRE(a.buckets == b.buckets);
}
void require_same(const Want& a, const Want& b) {
  REQUIRE(a.salt == b.salt);
  REQUIRE(a.buckets == b.buckets);
}
void require_same(const Records& a, const Records& b) { require_same(a.records, b.records); }
void require_same(const AskAbsent& a, const AskAbsent& b) {
  REQUIRE(a.number == b.number);
  REQUIRE(a.proof == b.proof);
  REQUIRE(a.from == b.from);
}
void require_same(const Absent& a, const Absent& b) {
  REQUIRE(a.number == b.number);
  REQUIRE(a.more == b.more);
  REQUIRE(a.members.size() == b.members.size());
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    require_same(a.members[i].news, b.members[i].news);
    REQUIRE(a.members[i].seconds == b.members[i].seconds);
  }
}

std::string hex(const Bytes& bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string refusal(const Bytes& bytes) {
  const auto packet = decode_packet(bytes);
  return packet ? "" : packet.error().message;
}
std::string refusal(const Packet& packet) { return refusal(encode_packet(packet)); }

Bytes joined(const Bytes& a, ByteView b) {
  Bytes both(a.size() + b.size());
  std::copy(b.begin(), b.end(), std::copy(a.begin(), a.end(), both.begin()));
  return both;
}

// The encoding with its only occurrence of `from` replaced by `to`.
Bytes replaced(const Packet& packet, const Bytes& from, const Bytes& to) {
  const Bytes bytes = encode_packet(packet);
  const auto at = std::search(bytes.begin(), bytes.end(), from.begin(), from.end());
  REQUIRE(at != bytes.end());
  REQUIRE(std::search(at + 1, bytes.end(), from.begin(), from.end()) == bytes.end());
  const auto before = static_cast<std::size_t>(at - bytes.begin());
  const ByteView all = bytes;
  return joined(joined(Bytes(bytes.begin(), at), to), all.subspan(before + from.size()));
}

News largest_news() {
  auto claim = std::make_shared<Claim>();
  claim->id = id_of(0xff);
  claim->epoch = ~std::uint64_t{0};
  claim->incarnation = kMaxIncarnation;
  claim->endpoint = address6(0xffffffff);
  claim->service_port = 0xffff;
  return {claim, MemberStatus::kLeft, ~std::uint64_t{0}};
}

const SelfClaim kLargestSelf{kMaxIncarnation, address6(0xffffffff), 0xffff};

News news_at(const Endpoint& endpoint) {
  News news = largest_news();
  auto claim = std::make_shared<Claim>(*news.claim);
  claim->endpoint = endpoint;
  news.claim = claim;
  return news;
}

Bytes endpoint_bytes(const Endpoint& endpoint) {
  const ByteView address = endpoint.address.wire_bytes();
  std::uint8_t port[2];
  put_u16(port, endpoint.port);
  return joined(joined({0xc4, static_cast<std::uint8_t>(address.size() + 2)}, address), port);
}

}  // namespace

TEST_CASE("packets of every kind are read as they were written, and are as long as was said") {
  Random random(kSeed);
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    INFO(kind_name(kind));
    for (int i = 0; i < 300; ++i) {
      const Packet packet = random_packet(kind, random);
      const Bytes bytes = encode_packet(packet);
      REQUIRE(bytes.size() == encoded_bytes(packet));
      REQUIRE(bytes.size() <= kMaxPacketBytes);
      const auto read = decode_packet(bytes);
      INFO(hex(bytes));
      INFO((read ? "" : read.error().message));
      REQUIRE(read);
      REQUIRE(read->index() == kind);
      std::visit(
          [&](const auto& written) {
            require_same(written, std::get<std::decay_t<decltype(written)>>(*read));
          },
          packet);
      REQUIRE(encode_packet(*read) == bytes);
    }
  }
}

TEST_CASE("news is as long as was said") {
  Random random(kSeed);
  const std::size_t empty = encoded_bytes(Packet(Gossip{}));
  for (int i = 0; i < 300; ++i) {
    const News news = random_news(random);
    REQUIRE(encode_packet(Gossip{{news}}).size() == empty + encoded_bytes(news));
  }
}

TEST_CASE("a packet cut off anywhere is refused, and one with something after it") {
  Random random(kSeed);
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    INFO(kind_name(kind));
    for (int i = 0; i < 5; ++i) {
      const Bytes bytes = encode_packet(random_packet(kind, random));
      for (std::size_t size = 0; size < bytes.size(); ++size)
        REQUIRE_FALSE(decode_packet(ByteView(bytes).first(size)));
      Bytes longer = bytes;
      longer.push_back(0);
      REQUIRE_FALSE(decode_packet(longer));
      longer = bytes;
      longer.insert(longer.end(), bytes.begin(), bytes.end());
      REQUIRE_FALSE(decode_packet(longer));
    }
  }
}

TEST_CASE("a byte changed anywhere makes another packet or none, never the same") {
  Random random(kSeed);
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    INFO(kind_name(kind));
    const Bytes bytes = encode_packet(random_packet(kind, random));
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      Bytes changed = bytes;
      changed[at] = static_cast<std::uint8_t>(changed[at] ^ (1 + random.below(255)));
      // There is one spelling of each packet.
      if (const auto read = decode_packet(changed)) REQUIRE(encode_packet(*read) == changed);
    }
  }
}

TEST_CASE("kinds that there are not, and wrong numbers of elements, are refused") {
  Random random(kSeed);
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    INFO(kind_name(kind));
    const Bytes bytes = encode_packet(random_packet(kind, random));
    REQUIRE(bytes[1] == kind);
    for (std::uint8_t elements = 0; elements < 16; ++elements) {
      Bytes changed = bytes;
      changed[0] = static_cast<std::uint8_t>(0x90 | elements);
      if (changed[0] != bytes[0]) REQUIRE_FALSE(decode_packet(changed));
    }
    for (std::size_t other = kKinds; other < 0x80; ++other) {
      Bytes changed = bytes;
      changed[1] = static_cast<std::uint8_t>(other);
      REQUIRE(absl::StrContains(refusal(changed), "kind"));
    }
  }
  REQUIRE_FALSE(refusal(Bytes{}).empty());
}

TEST_CASE("the largest packets of all kinds stay below the limit") {
  const Endpoint far = address6(0xffffffff);
  const ViewSummary view{~std::uint64_t{0}, 0xffffffff};
  const YouAre you{kMaxIncarnation, MemberStatus::kLeft};
  const BucketMarks bucket{0xff, kMaxBucketParts - 1, kMaxBucketParts,
                           std::vector<Mark>(kMaxMarks, 0xffff)};
  Digests digests{0xffffffff, 0xffffffff};
  digests.digests.assign(kBuckets, 0xffffffff);
  const std::vector<Packet> largest = {
      Ping{0xffffffff, true, kLargestSelf, you, far, view},
      Ack{0xffffffff, 0xffffffff, kLargestSelf, you, far, view},
      Relay{0xffffffff, {id_of(0xff), ~std::uint64_t{0}}, far},
      RelayAnswer{0xffffffff, true},
      Greet{0xffffffff},
      Welcome{0xffffffff, kLargestSelf, far, std::vector<News>(kMaxIntroductions, largest_news())},
      digests,
      Listing{0xffffffff, {bucket}},
      Want{0xffffffff, {bucket}},
  };
  for (const Packet& packet : largest) {
    INFO(kind_name(packet.index()));
    REQUIRE(encode_packet(packet).size() <= kMaxPacketBytes);
    REQUIRE(refusal(packet) == "");
  }
}

TEST_CASE("a Relay is as long as any, and not shorter than the ping that it asks for") {
  const Endpoint far = address6(0xffffffff);
  for (const Relay& relay : {Relay{0xffffffff, {id_of(0xff), ~std::uint64_t{0}}, far},
                             Relay{0, {id_of(0), 0}, address(1)}})
    REQUIRE(encode_packet(relay).size() == kRelayBytes);
  const Ping largest{0xffffffff,   true,
                     kLargestSelf, {kMaxIncarnation, MemberStatus::kLeft},
                     far,          {~std::uint64_t{0}, 0xffffffff}};
  REQUIRE(encode_packet(largest).size() <= kRelayBytes);
}

TEST_CASE("a packet beyond kMaxPacketBytes is refused, whatever is in it") {
  // Longer than any list of news may be: the length is what is refused.
  REQUIRE(refusal(Gossip{std::vector<News>(kMaxNewsInPacket, largest_news())}) ==
          "gossip packet: longer than may be");
  REQUIRE(refusal(Bytes(kMaxPacketBytes + 1)) == "gossip packet: longer than may be");
  REQUIRE(refusal(Bytes(kMaxPacketBytes)) != "gossip packet: longer than may be");
}

TEST_CASE("lists beyond their limits are refused by name") {
  const News small = {claim_of(id_of(1), 0), MemberStatus::kAlive, 0};
  const auto news = [&](std::size_t count) { return std::vector<News>(count, small); };
  REQUIRE(refusal(Gossip{news(kMaxNewsInPacket)}) == "");
  REQUIRE(absl::StrContains(refusal(Gossip{news(kMaxNewsInPacket + 1)}), "news"));
  REQUIRE(refusal(Records{news(kMaxNewsInPacket)}) == "");
  REQUIRE(absl::StrContains(refusal(Records{news(kMaxNewsInPacket + 1)}), "records"));
  REQUIRE(refusal(Welcome{1, {}, {}, news(kMaxIntroductions)}) == "");
  REQUIRE(
      absl::StrContains(refusal(Welcome{1, {}, {}, news(kMaxIntroductions + 1)}), "introductions"));
  for (const std::size_t marks : {kMaxMarks, kMaxMarks + 1}) {
    const std::vector<BucketMarks> buckets{{0, 0, 1, std::vector<Mark>(marks)}};
    for (const Packet& packet : {Packet(Listing{0, buckets}), Packet(Want{0, buckets})}) {
      if (marks == kMaxMarks)
        REQUIRE(refusal(packet) == "");
      else
        REQUIRE(absl::StrContains(refusal(packet), "marks"));
    }
  }
  // More of them than kBuckets do not fit, but the count alone is refused.
  std::vector<BucketMarks> five(5);
  for (std::uint8_t i = 0; i < 5; ++i) five[i].bucket = i;
  Bytes bytes = encode_packet(Listing{0, five});
  REQUIRE(bytes[3] == 0xdc);
  put_u16(&bytes[4], 4 * kBuckets + 4);
  REQUIRE(absl::StrContains(refusal(bytes), "buckets"));
}

TEST_CASE("an incarnation above kMaxIncarnation is refused wherever it stands") {
  const Bytes highest = {kU32, 0xff, 0xff, 0xff, 0xfe};
  const Bytes above = {kU32, 0xff, 0xff, 0xff, 0xff};
  const SelfClaim self{kMaxIncarnation, {}, 0};
  const YouAre you{kMaxIncarnation, MemberStatus::kAlive};
  News news = alive(claim_of(id_of(1), 0, kMaxIncarnation));
  for (const Packet& packet :
       {Packet(Ping{0, false, self, {}, {}, {}}), Packet(Ping{0, false, {}, you, {}, {}}),
        Packet(Ack{0, 0, self, {}, {}, {}}), Packet(Ack{0, 0, {}, you, {}, {}}),
        Packet(Welcome{0, self, {}, {}}), Packet(Welcome{0, {}, {}, {news}}),
        Packet(Gossip{{news}}), Packet(Records{{news}})}) {
    INFO(kind_name(packet.index()));
    REQUIRE(refusal(packet) == "");
    REQUIRE(absl::StrContains(refusal(replaced(packet, highest, above)), "incarnation"));
  }
}

TEST_CASE("a status that there is not is refused") {
  const News left{claim_of(id_of(1), 0), MemberStatus::kLeft, 0};
  for (const Packet& packet : {Packet(Gossip{{left}}), Packet(Records{{left}})}) {
    Bytes bytes = encode_packet(packet);
    REQUIRE(bytes[bytes.size() - 2] == 3);
    bytes[bytes.size() - 2] = kMemberStatuses;
    REQUIRE(absl::StrContains(refusal(bytes), "status"));
  }
  const Bytes ping = encode_packet(Ping{0, false, {}, {0, MemberStatus::kLeft}, {}, {}});
  Bytes changed = ping;
  std::replace(changed.begin() + 2, changed.end(), std::uint8_t{3}, std::uint8_t{4});
  REQUIRE(absl::StrContains(refusal(changed), "status"));
}

TEST_CASE("a place where nobody can be is refused wherever it stands") {
  const Endpoint real = address(0x010203);
  const Bytes written = endpoint_bytes(real);
  // As others spell one: an address of IPv4 as IPv6 has it.
  const Bytes mapped =
      joined({0xc4, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, ByteView(written).subspan(2));
  std::vector<Bytes> wrong = {mapped, {0xc4, 5, 10, 1, 2, 3, 0}, {0xc4, 7, 10, 1, 2, 3, 0, 1, 1}};
  for (const char* text : {"10.1.2.3:0", "0.0.0.0:80", "224.0.0.1:80", "255.255.255.255:80",
                           "[::]:80", "[ff02::1]:80", "[2001:db8::1]:0"})
    wrong.push_back(endpoint_bytes(*Endpoint::parse(text)));
  const SelfClaim self{0, real, 0};
  const News news = news_at(real);
  for (const Packet& packet :
       {Packet(Ping{0, false, self, {}, {}, {}}), Packet(Ping{0, false, {}, {}, real, {}}),
        Packet(Ack{0, 0, self, {}, {}, {}}), Packet(Ack{0, 0, {}, {}, real, {}}),
        Packet(Relay{0, {}, real}), Packet(Welcome{0, self, {}, {}}),
        Packet(Welcome{0, {}, real, {}}), Packet(Welcome{0, {}, {}, {news}}),
        Packet(Gossip{{news}}), Packet(Records{{news}})}) {
    INFO(kind_name(packet.index()));
    REQUIRE(refusal(packet) == "");
    for (const Bytes& bytes : wrong) {
      INFO(hex(bytes));
      REQUIRE_FALSE(refusal(replaced(packet, written, bytes)).empty());
    }
  }
}

TEST_CASE("news and the target of a Relay are somewhere; a sender's own place may be unsaid") {
  const Endpoint real = address(0x010203);
  const Bytes none = {0xc4, 0};
  for (const Packet& packet :
       {Packet(Relay{0, {}, real}), Packet(Welcome{0, {}, {}, {news_at(real)}}),
        Packet(Gossip{{news_at(real)}}), Packet(Records{{news_at(real)}})})
    REQUIRE(absl::StrContains(refusal(replaced(packet, endpoint_bytes(real), none)), "endpoint"));
  REQUIRE(refusal(Ping{}) == "");
  REQUIRE(refusal(Ack{}) == "");
  REQUIRE(refusal(Welcome{}) == "");
}

TEST_CASE("a Greet is always kGreetBytes long, filled with zeros") {
  for (const std::uint32_t number : {0u, 0x7fu, 0x80u, 0xffu, 0x100u, 0xffffu, 0x10000u, ~0u}) {
    const Bytes bytes = encode_packet(Greet{number});
    REQUIRE(bytes.size() == kGreetBytes);
    REQUIRE(refusal(bytes) == "");
    Bytes changed = bytes;
    changed.back() = 1;
    REQUIRE(absl::StrContains(refusal(changed), "filling"));
    // Shorter by one, with the length that says so.
    changed = bytes;
    changed.pop_back();
    const std::size_t zeros =
        kGreetBytes -
        static_cast<std::size_t>(std::find(bytes.begin(), bytes.end(), 0xc5) - bytes.begin()) - 3;
    put_u16(&changed[kGreetBytes - zeros - 2], static_cast<std::uint16_t>(zeros - 1));
    REQUIRE(absl::StrContains(refusal(changed), "filling"));
  }
}

TEST_CASE("a Welcome with its introductions is no longer than the Greet that it answers") {
  const Welcome largest{0xffffffff, kLargestSelf, address6(0xffffffff),
                        std::vector<News>(kMaxIntroductions, largest_news())};
  // As sent: of live members, whom nobody is named to accuse.
  Welcome sent = largest;
  for (News& news : sent.introductions) news.accuser = 0;
  REQUIRE(encoded_bytes(sent) <= kGreetBytes);
}

TEST_CASE("a bucket is listed as a whole, or as one of a power of two of parts") {
  const auto bucket = [](std::uint32_t part, std::uint32_t parts) {
    return refusal(Listing{1, {{7, part, parts, {}}}});
  };
  REQUIRE(bucket(0, 1) == "");
  REQUIRE(bucket(kMaxBucketParts - 1, kMaxBucketParts) == "");
  REQUIRE_FALSE(bucket(0, 0).empty());
  REQUIRE_FALSE(bucket(1, 1).empty());
  REQUIRE_FALSE(bucket(0, 3).empty());
  REQUIRE_FALSE(bucket(0, 2 * kMaxBucketParts).empty());
  REQUIRE_FALSE(bucket(kMaxBucketParts, kMaxBucketParts).empty());
}

TEST_CASE("the buckets of a listing ascend, so that none is named twice") {
  const auto listing = [](std::vector<BucketMarks> buckets) {
    return refusal(Listing{1, std::move(buckets)});
  };
  REQUIRE(listing({{7, 0, 2, {}}, {7, 1, 2, {}}, {8, 0, 1, {}}}) == "");
  for (const auto& [a, b] : {std::pair(BucketMarks{7, 0, 1, {}}, BucketMarks{7, 0, 1, {}}),
                             std::pair(BucketMarks{8, 0, 1, {}}, BucketMarks{7, 0, 1, {}}),
                             std::pair(BucketMarks{7, 1, 2, {}}, BucketMarks{7, 0, 2, {}})})
    REQUIRE(absl::StrContains(listing({a, b}), "buckets"));
}

TEST_CASE("elements that come in fours are not taken in threes, nor marks in halves") {
  Bytes bytes = encode_packet(Listing{0, {{1, 0, 1, {}}, {2, 0, 1, {}}}});
  REQUIRE(bytes[3] == 0x98);
  bytes[3] = 0x97;
  bytes.erase(bytes.end() - 2, bytes.end());
  REQUIRE(absl::StrContains(refusal(bytes), "buckets"));

  bytes = encode_packet(Want{0, {{1, 0, 1, {5, 6}}}});
  REQUIRE(bytes[8] == 4);
  bytes[8] = 3;
  bytes.pop_back();
  REQUIRE(absl::StrContains(refusal(bytes), "marks"));

  bytes = encode_packet(Digests{});
  const std::size_t head = bytes.size() - 4 * kBuckets;
  put_u16(&bytes[head - 2], 4 * kBuckets - 4);
  bytes.erase(bytes.end() - 4, bytes.end());
  REQUIRE(absl::StrContains(refusal(bytes), "digests"));
}

TEST_CASE("an Absent tells of nobody who is alive, and of each since when") {
  const News left{claim_of(id_of(1), 0), MemberStatus::kLeft, 0};
  const News alive_one{claim_of(id_of(1), 0), MemberStatus::kAlive, 0};
  REQUIRE(refusal(Absent{0, false, {{left, 7}}}) == "");
  REQUIRE(absl::StrContains(refusal(Absent{0, false, {{alive_one, 7}}}), "members"));
  Bytes bytes = encode_packet(Absent{0, false, {{left, 7}}});
  REQUIRE(bytes[bytes.size() - 2] == 0x91);
  bytes[bytes.size() - 2] = 0x90;
  bytes.pop_back();
  REQUIRE(absl::StrContains(refusal(bytes), "seconds"));
  std::vector<AbsentMember> many(kMaxNewsInPacket, {left, 7});
  REQUIRE(refusal(Absent{0, false, many}) == "");
  many.push_back({left, 7});
  REQUIRE(absl::StrContains(refusal(Absent{0, false, many}), "members"));
}

TEST_CASE("random bytes are no packet, and what is one has that one spelling") {
  Random random(kSeed);
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes(random.below(64));
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    // So that some get past the head.
    if (bytes.size() > 2 && random.chance(0.8)) {
      bytes[0] = static_cast<std::uint8_t>(0x90 | random.below(12));
      bytes[1] = static_cast<std::uint8_t>(random.below(kKinds));
    }
    if (const auto packet = decode_packet(bytes)) {
      REQUIRE(encode_packet(*packet) == bytes);
      REQUIRE(encoded_bytes(*packet) == bytes.size());
    }
  }
}
