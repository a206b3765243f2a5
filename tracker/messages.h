// What peers and owners say to each other about who has a content. An owner is a tracker, a seeder
// that answers announces itself, or (later) a member of the hash table: all speak these messages
// over sealed message frames. docs/protocol.md specifies the encoding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/time.h"
#include "base/zone.h"

namespace p2p::tracker {

inline constexpr std::size_t kMaxAdvertised = 4;
inline constexpr std::size_t kMaxRefusalTextBytes = 200;
inline constexpr std::uint16_t kFullPermille = 1000;
inline constexpr std::uint8_t kFullPercent = 100;
// Intervals between announces, for owners and announcers alike. An owner cannot be made to name,
// nor a peer to keep, one outside these bounds.
inline constexpr Duration kMinInterval = std::chrono::seconds(5);
inline constexpr Duration kMaxInterval = std::chrono::hours(1);
// The largest message, a Handout of kMaxPeersInMessage IPv6 peers, takes 1194 bytes.
inline constexpr std::size_t kMaxTrackerMessageBytes = 2048;

enum class Event : std::uint8_t { kNone = 0, kStarted = 1, kCompleted = 2, kStopped = 3 };

// "I am in this swarm." Answered by a Handout or a Refusal; with kStopped not at all. The sender's
// identity is its key, proven by the handshake.
struct Announce {
  SwarmId swarm;
  Event event = Event::kNone;
  std::uint16_t port = 0;  // where the sender listens; 0: it does not, and is never handed out
  bool complete = false;   // it has every chunk
  std::uint16_t have_permille = 0;   // 0..1000
  std::uint8_t want = 0;             // how many peers it would like, at most kMaxPeersInMessage
  std::vector<Endpoint> advertised;  // believed only from those the owner trusts
  std::string zone;                  // base/zone.h; empty: none
  // It lacks chunks and has nobody to ask for them: whom it knows may all lack the same.
  bool starving = false;
  bool operator==(const Announce&) const = default;
};

// "Who is in this swarm?" without joining it. Answered by a Handout.
struct Lookup {
  SwarmId swarm;
  std::uint8_t want = 0;
  bool operator==(const Lookup&) const = default;
};

struct PeerRecord {
  Endpoint endpoint;
  bool complete = false;
  bool far = false;  // of another zone than the asker's, for a few of each zone to know
  // Of an answer to a Lookup, where the owner knows it: how much the peer had when it announced
  // last. 0..100, 100 exactly where it is complete; such a record is not far.
  std::optional<std::uint8_t> have_percent = {};
  bool operator==(const PeerRecord&) const = default;
};

// The answer to Announce and Lookup; also pushed as news, then with interval 0: keep the one you
// have.
struct Handout {
  SwarmId swarm;
  Duration interval{0};  // announce again after it; whole milliseconds, at most an hour
  std::vector<PeerRecord> peers;
  bool operator==(const Handout&) const = default;
};

// The owner will not keep the sender's announce.
struct Refusal {
  SwarmId swarm;
  std::string text;  // for the person: printable ASCII, so that it is safe on a terminal
  bool operator==(const Refusal&) const = default;
};

using Message = std::variant<Announce, Lookup, Handout, Refusal>;

// Canonical msgpack, an array whose first element is the message's number:
//
//   Announce  [1, swarm, event, port, complete, have_permille, want, [endpoint...],
//             zone, starving]
//   Lookup    [2, swarm, want]
//   Handout   [3, swarm, interval_ms, [[endpoint, complete, far] or [endpoint, have_percent]...]]
//   Refusal   [4, swarm, text]
//
// A swarm is a binary of 32 bytes. An endpoint is a binary of 6 or 18 bytes: the address in its
// shortest form (so never an IPv4 address mapped into IPv6), then the port, big-endian.
//
// encode trusts its argument. decode refuses whatever is not exactly a message within its limits:
// unknown numbers, wrong types, missing or extra elements, peers that nobody could dial, and any
// spelling that encode would not choose. So every message has one encoding.
//
// `head` is what the encoding is to stand behind, in one block of memory.
Bytes encode(const Message& message, Bytes head = {});
Result<Message> decode(ByteView bytes);

}  // namespace p2p::tracker
