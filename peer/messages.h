// What peers of one swarm say to each other, over sealed message frames. Chunk bytes travel in data
// frames beside them and never enter these objects. docs/protocol.md specifies the encoding.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/zone.h"
#include "content/bitfield.h"
#include "content/layout.h"
#include "content/outline.h"
#include "content/partial_chunk.h"

namespace p2p::peer {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::size_t kMaxManifestPartBytes = 256 * 1024;
inline constexpr std::size_t kMaxChunksInHave = 4096;
inline constexpr std::size_t kMaxByeTextBytes = 200;
inline constexpr std::size_t kMaxOutlinePartBytes = 256 * 1024;
inline constexpr std::size_t kMaxGroupsInDetail = 64;
inline constexpr std::size_t kMaxDetailBytes =
    kMaxGroupsInDetail * kMaxSegmentsInGroup * kSegmentRecordBytes;
// Details that one side may have asked of the other and not got; more is a violation.
inline constexpr std::size_t kMaxQueuedDetails = 8;
inline constexpr std::size_t kMaxRangesInPartial = 4096;  // and so many chunks
// Of all that a side has told to another; more is a violation.
inline constexpr std::size_t kMaxRangesTold = 262'144;
static_assert(kMaxRanges < kMaxRangesTold);
// Requests one side may have unanswered with the other; more is a violation.
inline constexpr std::size_t kMaxQueuedRequests = 256;

// Stands for a chunk of the sender's choice in Request, Cancel and Reject.
inline constexpr ChunkIndex kAnyChunk = 0xffffffff;

// The first message of each side.
struct Join {
  std::uint32_t version = kProtocolVersion;
  SwarmId swarm;
  std::uint16_t port = 0;  // where the sender listens; 0: it does not
  std::string zone;        // base/zone.h; empty: none
  bool operator==(const Join&) const = default;
};

// The manifest, from anyone who has it; it is checked whole, against the content id.
struct ManifestRequest {
  std::uint32_t offset = 0;
  bool operator==(const ManifestRequest&) const = default;
};
struct ManifestPart {
  std::uint32_t total_bytes = 0;
  std::uint32_t offset = 0;
  Bytes data;  // empty when the sender has no manifest; total_bytes is 0 then
  bool operator==(const ManifestPart&) const = default;
};

// "I have the manifest, and these chunks of it": once from each side, as soon as it has the
// manifest. No chunk message goes to a side that has not sent it.
struct Chunks {
  Bitfield have;
  bool operator==(const Chunks&) const = default;
};
// More chunks since then, all verified; with none it is a keep-alive, or tells a changed load.
struct Have {
  std::vector<ChunkIndex> chunks;
  // Requests of others than the receiver that wait at the sender or are being served.
  std::uint32_t load = 0;
  bool operator==(const Have&) const = default;
};
// Chunks that the sender cannot give any more.
struct Lost {
  std::vector<ChunkIndex> chunks;
  bool operator==(const Lost&) const = default;
};

// Every Request ends in the whole chunk or one Reject. A request for kAnyChunk leaves the choice to
// the other side, which names it by a Give before its data (or Reject{kAnyChunk} when it has
// nothing the asker lacks). A chunk is not requested again before its answer, also when it was
// cancelled; and none by name while a request for kAnyChunk is unanswered, for it might cross with
// a Give of the same chunk.
struct Request {
  ChunkIndex chunk = kAnyChunk;
  bool operator==(const Request&) const = default;
};
struct Give {
  ChunkIndex chunk = 0;
  std::uint32_t load = 0;  // as in Have
  bool operator==(const Give&) const = default;
};
// Answered by Reject{kCancelled}, unless the whole chunk was already sent.
struct Cancel {
  ChunkIndex chunk = kAnyChunk;
  bool operator==(const Cancel&) const = default;
};
enum class RejectReason : std::uint8_t {
  kCancelled = 1,
  kNotHere = 2,
  kBusy = 3,
  kSourceChanged = 4
};
struct Reject {
  ChunkIndex chunk = kAnyChunk;
  RejectReason reason = RejectReason::kNotHere;
  bool operator==(const Reject&) const = default;
};

// Peers the sender is connected to.
struct Peers {
  std::vector<Endpoint> endpoints;
  bool operator==(const Peers&) const = default;
};

enum class ByeReason : std::uint8_t {
  kStopping = 1,
  kFull = 2,       // try the peers named just before
  kDuplicate = 3,  // there is a connection between the two already
  kSelf = 4,       // both ends are the same peer
  kNotServed = 5,  // no such swarm here, or not with this secret
  kBanned = 6,     // for a bad chunk
  kViolation = 7,  // of the protocol; the text says which
  kTimeout = 8,
  kBothComplete = 9,  // neither can do anything for the other
  kVersion = 10,
};
struct Bye {
  ByeReason reason = ByeReason::kStopping;
  std::string text;
  bool operator==(const Bye&) const = default;
};

// The outline of the content (content/outline.h), asked for like the manifest by who has an older
// version. Nobody need have one, and nothing in it is believed.
struct OutlineRequest {
  std::uint32_t offset = 0;
  bool operator==(const OutlineRequest&) const = default;
};
struct OutlinePart {
  std::uint32_t total_bytes = 0;
  std::uint32_t offset = 0;
  Bytes data;  // empty when the sender has no outline; total_bytes is 0 then
  bool operator==(const OutlinePart&) const = default;
};
// The segments of consecutive groups of it.
struct DetailRequest {
  std::uint32_t first = 0;
  std::uint32_t count = 1;
  bool operator==(const DetailRequest&) const = default;
};
struct DetailPart {
  std::uint32_t first = 0;
  std::uint32_t count = 1;
  Bytes data;  // empty when the sender has not got them
  bool operator==(const DetailPart&) const = default;
};
// "Of these chunks I lack these ranges only": whenever the receiver sends one of them from now on,
// it sends no other bytes. A chunk without ranges is wanted whole again. None of them may be asked
// for, or may be given for a request for any chunk, while this is on its way.
struct Partial {
  std::vector<PartialChunk> chunks;
  bool operator==(const Partial&) const = default;
};

using Message = std::variant<Join, ManifestRequest, ManifestPart, Chunks, Have, Lost, Request, Give,
                             Cancel, Reject, Peers, Bye, OutlineRequest, OutlinePart, DetailRequest,
                             DetailPart, Partial>;

// Canonical msgpack arrays, first element the message's number. decode refuses whatever is not
// exactly a message within its limits. `head` is what the encoding is to stand behind.
Bytes encode(const Message& message, Bytes head = {});
Result<Message> decode(ByteView bytes);

}  // namespace p2p::peer
