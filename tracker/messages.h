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
// While somebody looks at a swarm, its owner asks peers to report on themselves, for so long from
// the last time it asked; they do once in an interval. A report has the chunks in columns, each a
// run of them: enough for a picture, and bounded whatever the content.
inline constexpr Duration kReportInterval = std::chrono::seconds(2);
// A report that follows the last of its peer sooner is ignored, and tells of no newer rates.
inline constexpr Duration kMinReportGap = std::chrono::seconds(1);
inline constexpr Duration kMaxWatchLease = std::chrono::minutes(1);
inline constexpr std::size_t kReportColumns = 64;
inline constexpr std::uint8_t kFullColumn = 255;
inline constexpr std::size_t kMaxReportNameBytes = 255;
inline constexpr std::uint64_t kMaxReportedBytes = std::uint64_t{kMaxChunks} * kMaxChunkBytes;
inline constexpr std::uint64_t kMaxReportedRate = std::uint64_t{1} << 40;
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

// An owner to a peer that is announced there: somebody looks, report for so long. Not answered but
// by Reports.
struct Watch {
  SwarmId swarm;
  Duration lease{0};  // whole milliseconds, at most kMaxWatchLease
  bool operator==(const Watch&) const = default;
};

// What a peer has, and how fast it is. Sent to an owner that asked for it, and to no other.
struct Report {
  SwarmId swarm;
  std::string
      name;  // of the content, any bytes; only for an owner that is trusted with it, or empty
  std::uint64_t bytes = 0;
  std::uint32_t chunks = 0, have_chunks = 0;
  std::uint64_t down_rate = 0, up_rate = 0;  // payload bytes a second
  // For each of column_count(chunks) columns the share of its chunks that the peer has, of
  // kFullColumn; that exactly where it has all.
  Bytes columns;
  bool operator==(const Report&) const = default;
};

// Column i has the chunks from i * chunks / columns on, up to those of the next.
inline constexpr std::size_t column_count(std::uint32_t chunks) {
  return chunks < kReportColumns ? chunks : kReportColumns;
}

using Message = std::variant<Announce, Lookup, Handout, Refusal, Watch, Report>;

// Canonical msgpack, an array whose first element is the message's number:
//
//   Announce  [1, swarm, event, port, complete, have_permille, want, [endpoint...],
//             zone, starving]
//   Lookup    [2, swarm, want]
//   Handout   [3, swarm, interval_ms, [[endpoint, complete, far] or [endpoint, have_percent]...]]
//   Refusal   [4, swarm, text]
//   Watch     [5, swarm, lease_ms]
//   Report    [6, swarm, name, bytes, chunks, have_chunks, down_rate, up_rate, columns]
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
