// What trackers that share a store (a database beside them) write there of their peers, and say to
// each other through it. docs/protocol.md specifies the encoding and the names of the keys.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/result.h"

namespace p2p::tracker {

// The largest, with an IPv6 endpoint and a zone of kMaxZoneBytes, takes 175 bytes.
inline constexpr std::size_t kMaxStoreRecordBytes = 256;

// A peer of a swarm as the tracker that it announced to knows it.
struct StoredPeer {
  PeerId peer;
  Endpoint endpoint;  // port 0: it listens nowhere, is counted and never handed out
  bool complete = false;
  std::string zone;  // base/zone.h; empty: none
  bool operator==(const StoredPeer&) const = default;
};

struct StoreRecord {
  std::uint64_t writer = 0;  // the tracker's number, drawn at its start: it skips its own news
  SwarmId swarm;
  StoredPeer peer;
  // Milliseconds since 1970 (UTC) by the server's clock, at most kMaxStoreTimeMs.
  std::uint64_t expires_ms = 0;
  bool operator==(const StoreRecord&) const = default;
};
inline constexpr std::uint64_t kMaxStoreTimeMs = std::uint64_t{1} << 53;  // the year 287,396

// The peer said that it leaves. Published, never kept.
struct StoreRemoval {
  std::uint64_t writer = 0;
  SwarmId swarm;
  PeerId peer;
  bool operator==(const StoreRemoval&) const = default;
};

using StoreMessage = std::variant<StoreRecord, StoreRemoval>;

// Canonical msgpack:
//
//   StoreRecord   [1, writer, swarm, peer, endpoint, complete, zone, expires_ms]
//   StoreRemoval  [2, writer, swarm, peer]
//
// decode_store_message refuses whatever encode would not have written, and what is longer than
// kMaxStoreRecordBytes before it looks at it: others may write to the store.
Bytes encode(const StoreMessage& message);
Result<StoreMessage> decode_store_message(ByteView bytes);

}  // namespace p2p::tracker
