#include <algorithm>
#include <string_view>

#include "base/canonical_msgpack.h"
#include "base/field_codec.h"
#include "gossip/messages.h"

namespace p2p::gossip {
namespace {

// The first element of a packet. The order of Packet's alternatives.
enum : std::uint64_t {
  kPing,
  kAck,
  kRelay,
  kRelayAnswer,
  kGreet,
  kWelcome,
  kGossip,
  kDigests,
  kListing,
  kWant,
  kRecords,
  kAskAbsent,
  kAbsent,
  kKinds
};

constexpr std::uint64_t kMaxU16 = 0xffff, kMaxU32 = 0xffffffff, kMaxU64 = ~std::uint64_t{0};
constexpr std::size_t kMarkBytes = 2, kDigestBytes = 4;
constexpr std::uint32_t kBucketElements = 4;
constexpr std::size_t kUsualPacketBytes = 256;

// ---- sizes of canonical msgpack ----

std::size_t size_of_uint(std::uint64_t value) {
  if (value < 0x80) return 1;
  if (value <= 0xff) return 2;
  if (value <= kMaxU16) return 3;
  return value <= kMaxU32 ? 5 : 9;
}
std::size_t size_of_array(std::size_t count) { return count < 16 ? 1 : 3; }
std::size_t size_of_bin(std::size_t bytes) { return bytes + (bytes <= 0xff ? 2 : 3); }
bool is_none(const Endpoint& endpoint) { return endpoint == Endpoint{}; }
std::size_t size_of(const Endpoint& endpoint) {
  if (is_none(endpoint)) return size_of_bin(0);
  return size_of_bin(endpoint.address.is_v4() ? kMinEndpointBytes : kMaxEndpointBytes);
}
std::size_t size_of(const SelfClaim& self) {
  return size_of_uint(self.incarnation) + size_of(self.endpoint) + size_of_uint(self.service_port);
}
std::size_t size_of(const YouAre& you) { return size_of_uint(you.incarnation) + 1; }
std::size_t size_of(const ViewSummary& view) {
  return size_of_uint(view.digest) + size_of_uint(view.live);
}
std::size_t size_of(const std::vector<News>& news) {
  std::size_t bytes = size_of_array(news.size());
  for (const News& item : news) bytes += encoded_bytes(item);
  return bytes;
}

std::size_t size_of(const std::vector<BucketMarks>& buckets) {
  std::size_t bytes = size_of_array(kBucketElements * buckets.size());
  for (const BucketMarks& bucket : buckets) bytes += encoded_bytes(bucket);
  return bytes;
}

constexpr std::size_t kBinHead8 = 2, kBinHead16 = 3;  // of up to 255 bytes, and above
// What brings a packet to its full length.
std::size_t filling_of(const Relay& r) {
  return kRelayBytes - 2 - size_of_uint(r.number) - size_of_bin(PeerId::kSize) -
         size_of_uint(r.target.epoch) - size_of(r.endpoint) - kBinHead8;
}
std::size_t filling_of(const Greet& g) {
  return kGreetBytes - 2 - size_of_uint(g.number) - kBinHead16;
}

// Without the array's head and the kind, which are a byte each.
std::size_t body_bytes(const Ping& p) {
  return size_of_uint(p.number) + 1 + size_of(p.self) + size_of(p.you) + size_of(p.seen) +
         size_of(p.view) + size_of_bin(kPingFilling);
}
std::size_t body_bytes(const Ack& a) {
  return size_of_uint(a.number) + size_of_uint(a.challenge) + size_of(a.self) + size_of(a.you) +
         size_of(a.seen) + size_of(a.view);
}
std::size_t body_bytes(const Relay&) { return kRelayBytes - 2; }
std::size_t body_bytes(const RelayAnswer& r) { return size_of_uint(r.number) + 1; }
std::size_t body_bytes(const Greet&) { return kGreetBytes - 2; }
std::size_t body_bytes(const Welcome& w) {
  return size_of_uint(w.number) + size_of(w.self) + size_of(w.seen) + size_of(w.introductions);
}
std::size_t body_bytes(const Gossip& g) { return size_of(g.news); }
std::size_t body_bytes(const Digests& d) {
  return size_of_uint(d.proof) + size_of_uint(d.live) + size_of_bin(kBuckets * kDigestBytes);
}
std::size_t body_bytes(const Listing& l) { return size_of_uint(l.salt) + size_of(l.buckets); }
std::size_t body_bytes(const Want& w) { return size_of_uint(w.salt) + size_of(w.buckets); }
std::size_t body_bytes(const Records& r) { return size_of(r.records); }
std::size_t body_bytes(const AskAbsent& a) {
  return size_of_uint(a.number) + size_of_uint(a.proof) + size_of_uint(a.from);
}
std::size_t body_bytes(const Absent& a) {
  std::size_t bytes = size_of_uint(a.number) + 1 + 2 * size_of_array(a.members.size());
  for (const AbsentMember& member : a.members)
    bytes += encoded_bytes(member.news) + size_of_uint(member.seconds);
  return bytes;
}

// ---- writing ----

void write(CanonicalWriter& out, const Endpoint& endpoint) {
  if (is_none(endpoint)) return out.bin({});
  write_endpoint(out, endpoint);
}
void write(CanonicalWriter& out, const SelfClaim& self) {
  out.uint(self.incarnation);
  write(out, self.endpoint);
  out.uint(self.service_port);
}
void write(CanonicalWriter& out, const YouAre& you) {
  out.uint(you.incarnation);
  out.uint(static_cast<std::uint64_t>(you.status));
}
void write(CanonicalWriter& out, const ViewSummary& view) {
  out.uint(view.digest);
  out.uint(view.live);
}
void write(CanonicalWriter& out, const News& news) {
  const Claim& claim = *news.claim;
  out.array(7);
  out.bin(claim.id.view());
  out.uint(claim.epoch);
  out.uint(claim.incarnation);
  write(out, claim.endpoint);
  out.uint(claim.service_port);
  out.uint(static_cast<std::uint64_t>(news.status));
  out.uint(news.accuser);
}
void write(CanonicalWriter& out, const std::vector<News>& news) {
  out.array(static_cast<std::uint32_t>(news.size()));
  for (const News& item : news) write(out, item);
}
void write(CanonicalWriter& out, const std::vector<BucketMarks>& buckets) {
  out.array(kBucketElements * static_cast<std::uint32_t>(buckets.size()));
  for (const BucketMarks& bucket : buckets) {
    out.uint(bucket.bucket);
    out.uint(bucket.part);
    out.uint(bucket.parts);
    Bytes marks(bucket.marks.size() * kMarkBytes);
    for (std::size_t i = 0; i < bucket.marks.size(); ++i)
      put_u16(&marks[i * kMarkBytes], bucket.marks[i]);
    out.bin(marks);
  }
}

void head(CanonicalWriter& out, std::uint32_t elements, std::uint64_t kind) {
  out.array(elements);
  out.uint(kind);
}
void write(CanonicalWriter& out, const Ping& p) {
  head(out, 12, kPing);
  out.uint(p.number);
  out.boolean(p.observer);
  write(out, p.self);
  write(out, p.you);
  write(out, p.seen);
  write(out, p.view);
  out.bin(Bytes(kPingFilling));
}
void write(CanonicalWriter& out, const Ack& a) {
  head(out, 11, kAck);
  out.uint(a.number);
  out.uint(a.challenge);
  write(out, a.self);
  write(out, a.you);
  write(out, a.seen);
  write(out, a.view);
}
void write(CanonicalWriter& out, const Relay& r) {
  head(out, 6, kRelay);
  out.uint(r.number);
  out.bin(r.target.id.view());
  out.uint(r.target.epoch);
  write(out, r.endpoint);
  out.bin(Bytes(filling_of(r)));
}
void write(CanonicalWriter& out, const RelayAnswer& r) {
  head(out, 3, kRelayAnswer);
  out.uint(r.number);
  out.boolean(r.answered);
}
void write(CanonicalWriter& out, const Greet& g) {
  head(out, 3, kGreet);
  out.uint(g.number);
  out.bin(Bytes(filling_of(g)));
}
void write(CanonicalWriter& out, const Welcome& w) {
  head(out, 7, kWelcome);
  out.uint(w.number);
  write(out, w.self);
  write(out, w.seen);
  write(out, w.introductions);
}
void write(CanonicalWriter& out, const Gossip& g) {
  head(out, 2, kGossip);
  write(out, g.news);
}
void write(CanonicalWriter& out, const Digests& d) {
  head(out, 4, kDigests);
  out.uint(d.proof);
  out.uint(d.live);
  Bytes digests(kBuckets * kDigestBytes);
  for (std::size_t i = 0; i < kBuckets; ++i) put_u32(&digests[i * kDigestBytes], d.digests[i]);
  out.bin(digests);
}
void write(CanonicalWriter& out, const Listing& l) {
  head(out, 3, kListing);
  out.uint(l.salt);
  write(out, l.buckets);
}
void write(CanonicalWriter& out, const Want& w) {
  head(out, 3, kWant);
  out.uint(w.salt);
  write(out, w.buckets);
}
void write(CanonicalWriter& out, const Records& r) {
  head(out, 2, kRecords);
  write(out, r.records);
}
void write(CanonicalWriter& out, const AskAbsent& a) {
  head(out, 4, kAskAbsent);
  out.uint(a.number);
  out.uint(a.proof);
  out.uint(a.from);
}
void write(CanonicalWriter& out, const Absent& a) {
  head(out, 5, kAbsent);
  out.uint(a.number);
  out.boolean(a.more);
  out.array(static_cast<std::uint32_t>(a.members.size()));
  for (const AbsentMember& member : a.members) write(out, member.news);
  out.array(static_cast<std::uint32_t>(a.members.size()));
  for (const AbsentMember& member : a.members) out.uint(member.seconds);
}

// ---- reading ----

template <typename T>
T read_as(CanonicalReader& in, std::string_view field, std::uint64_t max) {
  return static_cast<T>(in.uint(max, field));
}
Incarnation read_incarnation(CanonicalReader& in, std::string_view field) {
  return read_as<Incarnation>(in, field, kMaxIncarnation);
}
std::uint32_t read_u32(CanonicalReader& in, std::string_view field) {
  return read_as<std::uint32_t>(in, field, kMaxU32);
}
SelfClaim read_self(CanonicalReader& in) {
  SelfClaim self;
  self.incarnation = read_incarnation(in, "incarnation");
  self.endpoint = read_dialable_or_none(in, "endpoint");
  self.service_port = read_as<std::uint16_t>(in, "service port", kMaxU16);
  return self;
}
MemberStatus read_status(CanonicalReader& in) {
  return read_as<MemberStatus>(in, "status", kMemberStatuses - 1);
}
YouAre read_you(CanonicalReader& in) {
  YouAre you;
  you.incarnation = read_incarnation(in, "your incarnation");
  you.status = read_status(in);
  return you;
}
ViewSummary read_view(CanonicalReader& in) {
  ViewSummary view;
  view.digest = in.uint(kMaxU64, "digest");
  view.live = read_u32(in, "live members");
  return view;
}
std::vector<News> read_news(CanonicalReader& in, std::string_view field,
                            std::size_t max = kMaxNewsInPacket) {
  std::vector<News> news(in.array(static_cast<std::uint32_t>(max), field));
  for (News& item : news) {
    in.tuple(7, field);
    auto claim = std::make_shared<Claim>();
    claim->id = read_id<PeerId>(in, "member id");
    claim->epoch = in.uint(kMaxU64, "epoch");
    claim->incarnation = read_incarnation(in, "incarnation");
    claim->endpoint = read_dialable(in, "endpoint");
    claim->service_port = read_as<std::uint16_t>(in, "service port", kMaxU16);
    item.status = read_status(in);
    item.accuser = in.uint(kMaxU64, "accuser");
    item.claim = std::move(claim);
    if (in.failed()) return {};
  }
  return news;
}

void read_filling(CanonicalReader& in, std::size_t bytes) {
  const ByteView filling = in.bin(bytes, "filling");
  if (filling.size() != bytes ||
      std::any_of(filling.begin(), filling.end(), [](std::uint8_t byte) { return byte != 0; }))
    in.fail("filling", "zeros to the full length are needed");
}

void read(CanonicalReader& in, Ping& p) {
  p.number = read_u32(in, "number");
  p.observer = in.boolean("observer");
  p.self = read_self(in);
  p.you = read_you(in);
  p.seen = read_dialable_or_none(in, "seen");
  p.view = read_view(in);
  read_filling(in, kPingFilling);
}
void read(CanonicalReader& in, Ack& a) {
  a.number = read_u32(in, "number");
  a.challenge = read_u32(in, "challenge");
  a.self = read_self(in);
  a.you = read_you(in);
  a.seen = read_dialable_or_none(in, "seen");
  a.view = read_view(in);
}
void read(CanonicalReader& in, Relay& r) {
  r.number = read_u32(in, "number");
  r.target.id = read_id<PeerId>(in, "target");
  r.target.epoch = in.uint(kMaxU64, "epoch");
  r.endpoint = read_dialable(in, "endpoint");
  read_filling(in, filling_of(r));
}
void read(CanonicalReader& in, RelayAnswer& r) {
  r.number = read_u32(in, "number");
  r.answered = in.boolean("answered");
}
void read(CanonicalReader& in, Greet& g) {
  g.number = read_u32(in, "number");
  read_filling(in, filling_of(g));
}
void read(CanonicalReader& in, Welcome& w) {
  w.number = read_u32(in, "number");
  w.self = read_self(in);
  w.seen = read_dialable_or_none(in, "seen");
  w.introductions = read_news(in, "introductions", kMaxIntroductions);
}
void read(CanonicalReader& in, Gossip& g) { g.news = read_news(in, "news"); }
void read(CanonicalReader& in, Digests& d) {
  d.proof = read_u32(in, "proof");
  d.live = read_u32(in, "live members");
  const ByteView digests = in.bin(kBuckets * kDigestBytes, "digests");
  if (digests.size() != kBuckets * kDigestBytes) return in.fail("digests", "256 are needed");
  for (std::size_t i = 0; i < kBuckets; ++i)
    d.digests[i] = get_u32(digests.data() + i * kDigestBytes);
}
std::vector<BucketMarks> read_buckets(CanonicalReader& in) {
  const std::uint32_t elements = in.array(kBucketElements * kBuckets, "buckets");
  if (elements % kBucketElements != 0) in.fail("buckets", "four elements are needed for each");
  std::vector<BucketMarks> buckets;
  for (std::uint32_t i = 0; i < elements / kBucketElements && !in.failed(); ++i) {
    BucketMarks& bucket = buckets.emplace_back();
    bucket.bucket = read_as<std::uint8_t>(in, "bucket", kBuckets - 1);
    bucket.part = read_as<std::uint32_t>(in, "part", kMaxBucketParts - 1);
    bucket.parts = read_as<std::uint32_t>(in, "parts", kMaxBucketParts);
    if (bucket.parts == 0 || (bucket.parts & (bucket.parts - 1)) != 0 ||
        bucket.part >= bucket.parts)
      in.fail("parts", "a power of two is needed, and a part of it");
    if (i > 0 && std::pair(buckets[i - 1].bucket, buckets[i - 1].part) >=
                     std::pair(bucket.bucket, bucket.part))
      in.fail("buckets", "they must ascend");  // each is looked through once
    const ByteView marks = in.bin(kMaxMarks * kMarkBytes, "marks");
    if (marks.size() % kMarkBytes != 0) in.fail("marks", "2 bytes are needed for each");
    for (std::size_t k = 0; k + kMarkBytes <= marks.size(); k += kMarkBytes)
      bucket.marks.push_back(get_u16(marks.data() + k));
  }
  return buckets;
}
void read(CanonicalReader& in, Listing& l) {
  l.salt = read_u32(in, "salt");
  l.buckets = read_buckets(in);
}
void read(CanonicalReader& in, Want& w) {
  w.salt = read_u32(in, "salt");
  w.buckets = read_buckets(in);
}
void read(CanonicalReader& in, Records& r) { r.records = read_news(in, "records"); }
void read(CanonicalReader& in, AskAbsent& a) {
  a.number = read_u32(in, "number");
  a.proof = read_u32(in, "proof");
  a.from = in.uint(kMaxU64, "from");
}
void read(CanonicalReader& in, Absent& a) {
  a.number = read_u32(in, "number");
  a.more = in.boolean("more");
  for (News& news : read_news(in, "members")) {
    if (news.status == MemberStatus::kAlive) in.fail("members", "one of them is alive");
    a.members.push_back({std::move(news), 0});
  }
  in.tuple(static_cast<std::uint32_t>(a.members.size()), "seconds");
  for (AbsentMember& member : a.members) member.seconds = read_u32(in, "seconds");
}

template <typename T>
Packet read_packet(CanonicalReader& in) {
  T packet;
  read(in, packet);
  return packet;
}

constexpr Packet (*kReaders[])(CanonicalReader&) = {
    read_packet<Ping>,    read_packet<Ack>,     read_packet<Relay>,   read_packet<RelayAnswer>,
    read_packet<Greet>,   read_packet<Welcome>, read_packet<Gossip>,  read_packet<Digests>,
    read_packet<Listing>, read_packet<Want>,    read_packet<Records>, read_packet<AskAbsent>,
    read_packet<Absent>};
constexpr std::uint32_t kElements[] = {12, 11, 6, 3, 3, 7, 2, 4, 3, 3, 2, 4, 5};
static_assert(std::size(kReaders) == kKinds && std::size(kElements) == kKinds &&
              std::variant_size_v<Packet> == kKinds);

}  // namespace

std::size_t encoded_bytes(const News& news) {
  const Claim& claim = *news.claim;
  return 1 + size_of_bin(PeerId::kSize) + size_of_uint(claim.epoch) +
         size_of_uint(claim.incarnation) + size_of(claim.endpoint) +
         size_of_uint(claim.service_port) + 1 + size_of_uint(news.accuser);
}

std::size_t encoded_bytes(const BucketMarks& bucket) {
  return size_of_uint(bucket.bucket) + size_of_uint(bucket.part) + size_of_uint(bucket.parts) +
         size_of_bin(bucket.marks.size() * kMarkBytes);
}

std::size_t encoded_bytes(const Packet& packet) {
  return 2 + std::visit([](const auto& p) { return body_bytes(p); }, packet);
}

Bytes encode_packet(const Packet& packet) {
  Bytes bytes;
  CanonicalWriter out(bytes, kUsualPacketBytes);
  std::visit([&](const auto& p) { write(out, p); }, packet);
  out.finish();
  return bytes;
}

Result<Packet> decode_packet(ByteView bytes) {
  constexpr std::string_view kWhat = "gossip packet";
  if (bytes.size() > kMaxPacketBytes)
    return Error{ErrorCode::kLimit, "gossip packet: longer than may be"};
  CanonicalReader in(bytes);
  const std::uint32_t elements = in.array(12, "packet");
  const std::uint64_t kind = in.uint(kKinds - 1, "kind");
  if (!in.failed() && elements != kElements[kind]) in.fail("packet", "a wrong number of elements");
  if (in.failed()) return in.finish(kWhat).error();
  Packet packet = kReaders[kind](in);
  if (const Status status = in.finish(kWhat); !status) return status.error();
  return packet;
}

}  // namespace p2p::gossip
