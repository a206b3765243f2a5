// The packets of members to each other, one to a sealed datagram (crypto/datagram.h), which says
// and proves who sent it. docs/protocol.md specifies the encoding.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "gossip/member.h"

namespace p2p::gossip {

// An encoded packet: with the datagram's own bytes it is to stay below 1,400.
inline constexpr std::size_t kMaxPacketBytes = 1300;
// What a datagram adds to it, with the headers of UDP and IPv4: for budgets.
inline constexpr std::size_t kDatagramBytes = 100;
inline constexpr std::size_t kPingFilling = 24;
inline constexpr std::size_t kRelayBytes = 120;
// A Greet is filled up to this, so that its answer is not larger.
inline constexpr std::size_t kGreetBytes = 340;
inline constexpr std::size_t kUsualNewsBytes = 64;  // of one item, for budgets
inline constexpr std::size_t kMaxNewsInPacket = 24;
inline constexpr std::size_t kMaxIntroductions =
    3;                                         // in a Welcome, so that it stays within kGreetBytes
inline constexpr std::size_t kBuckets = 256;   // of a view: by the first byte of the id
inline constexpr std::size_t kMaxMarks = 500;  // of one bucket in a packet
inline constexpr std::uint32_t kMaxBucketParts = 256;

// All that is needed to tell two views apart at once.
struct ViewSummary {
  std::uint64_t digest = 0;  // of all live members, MemberTable::summary()
  std::uint32_t live = 0;    // how many they are
  bool operator==(const ViewSummary&) const = default;
};

// What its sender claims of itself, without what the datagram says.
struct SelfClaim {
  Incarnation incarnation = 0;
  Endpoint endpoint;
  std::uint16_t service_port = 0;
  bool operator==(const SelfClaim&) const = default;
};

// What the sender thinks of the one it is for, so that a suspect can say at once that it lives.
struct YouAre {
  Incarnation incarnation = 0;
  MemberStatus status = MemberStatus::kAlive;
  bool operator==(const YouAre&) const = default;
};

// "Are you there?" Answered by an Ack with the same number. It is filled up by kPingFilling zeros,
// so that the answer may hold a challenge and where the ping came from, and is not longer.
struct Ping {
  std::uint32_t number = 0;
  bool observer = false;  // the sender only looks on: it is no member, and never in a view
  SelfClaim self;
  YouAre you;
  Endpoint seen;  // where the receiver's datagrams come from, as far as the sender knows; or none
  ViewSummary view;
};
struct Ack {
  std::uint32_t number = 0;
  // To be named by the receiver in what it asks next, which shows that it is where it says; 0:
  // known to be there.
  std::uint32_t challenge = 0;
  SelfClaim self;
  YouAre you;
  Endpoint seen;
  ViewSummary view;
};
// "Ping this one for me." Answered by a RelayAnswer: whether it did. It is filled up to
// kRelayBytes, so that the ping, which goes wherever its sender says, is not larger.
struct Relay {
  std::uint32_t number = 0;
  MemberKey target;
  Endpoint endpoint;
};
struct RelayAnswer {
  std::uint32_t number = 0;
  bool answered = false;
};
// From one who knows nobody, to an address. Nothing is learned from it.
struct Greet {
  std::uint32_t number = 0;
};
// Who is here, and a few others.
struct Welcome {
  std::uint32_t number = 0;  // of the Greet
  SelfClaim self;
  Endpoint seen;
  std::vector<News> introductions;
};
struct Gossip {
  std::vector<News> news;
};
// "This is my view; tell me what differs."
struct Digests {
  std::uint32_t proof = 0;  // the challenge of the receiver's Ack; 0: none
  std::uint32_t live = 0;
  // kBuckets of them. Not in place: most packets are small, and are moved about a lot.
  std::vector<std::uint32_t> digests = std::vector<std::uint32_t>(kBuckets);
};
// A claim in two bytes, MemberTable::mark_of(): a hash of it with the packet's salt. Two claims
// that look alike in one packet do not in the next, so what one exchange overlooks another finds.
using Mark = std::uint16_t;
// Members of one bucket, or of one of its equal parts by the second byte of the id.
struct BucketMarks {
  std::uint8_t bucket = 0;
  std::uint32_t part = 0, parts = 1;  // a power of two
  std::vector<Mark> marks;
  bool operator==(const BucketMarks&) const = default;
};
// "Of these buckets I have these live members, and no others."
struct Listing {
  std::uint32_t salt = 0;
  std::vector<BucketMarks> buckets;  // at most kBuckets; they ascend, as do parts of one
};
// "Send me these."
struct Want {
  std::uint32_t salt = 0;
  std::vector<BucketMarks> buckets;  // likewise
};
// Whole records of members, as a sync brings them.
struct Records {
  std::vector<News> records;
};

// "Who is not alive, of those with the tag `from` and above?" A sync brings the live ones alone,
// which is not enough for one who looks on to tell a person who died. Answered by an Absent.
struct AskAbsent {
  std::uint32_t number = 0;
  std::uint32_t proof = 0;  // as of Digests
  std::uint64_t from = 0;
};
struct AbsentMember {
  News news;
  std::uint32_t seconds = 0;  // it has had this status for so long, as the sender saw it
};
// Suspects, the dead and those who left: as many as fit, in the order of their tags.
struct Absent {
  std::uint32_t number = 0;  // of the AskAbsent
  bool more = false;         // there are others after the last of these
  std::vector<AbsentMember> members;
};

using Packet = std::variant<Ping, Ack, Relay, RelayAnswer, Greet, Welcome, Gossip, Digests, Listing,
                            Want, Records, AskAbsent, Absent>;

// Their sizes, without building them.
std::size_t encoded_bytes(const Packet& packet);
std::size_t encoded_bytes(const News& news);
std::size_t encoded_bytes(const BucketMarks& marks);

Bytes encode_packet(const Packet& packet);
// Malformed bytes are an error that names the field. Every claim in it has an endpoint that could
// be dialed.
Result<Packet> decode_packet(ByteView bytes);

}  // namespace p2p::gossip
