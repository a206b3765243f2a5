// What lanes tell the control thread, and what they share with it. Payload never crosses: only
// indexes and lengths do.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "base/endpoint.h"
#include "base/id.h"
#include "base/result.h"
#include "content/chunk_reader.h"
#include "content/layout.h"
#include "content/manifest.h"
#include "content/reuse_plan.h"
#include "crypto/channel.h"
#include "net/wire_message.h"

namespace p2p::net {

using ConnectionId = std::uint64_t;  // never reused; 0 is none

// Where the chunks of a content are read from and written to. Shared by lanes; all of it is
// thread-safe.
struct ContentIo {
  std::shared_ptr<const Manifest> manifest;
  Layout layout;
  std::shared_ptr<const ChunkReader> reader;
  std::shared_ptr<ChunkWriter> writer;  // null for a seeder: it writes nothing
  Bytes encoded_manifest;               // what neighbours are given of it
  // What older contents have of it: fills in what neighbours are told to leave out.
  std::shared_ptr<const ReusePlan> reuse = nullptr;
};

// Events of a connection.
struct Opened {
  PeerId peer;
  Endpoint remote;
  Secret psk;  // that both sides have
  bool outbound;
  Cipher cipher;
};
struct Received {
  WireMessage message;
};
// The last event of a connection, also of a dial that failed.
struct Closed {
  Error why;
};
struct ChunkData {
  ChunkIndex chunk;
  std::uint32_t bytes;
  // kDropped: thrown away. kWhole: the last of the chunk is among it, which the writer has now; one
  // of the four verdicts follows, whatever becomes of the connection.
  enum class Fate { kKept, kWhole, kDropped } fate = Fate::kKept;
};
struct ChunkVerified {
  ChunkIndex chunk;
  std::uint32_t known_bytes = 0;  // of it were in older contents
};
// What came of it and what was known of it are not the chunk: either may be at fault.
struct ChunkMisfit {
  ChunkIndex chunk;
};
struct ChunkCorrupt {
  ChunkIndex chunk;
};
// The chunk was right but could not be written.
struct ChunkUnstored {
  ChunkIndex chunk;
  Error why;
};
struct ChunkSent {
  ChunkIndex chunk;
};
struct SendStopped {
  ChunkIndex chunk;
};
struct ChunkUnreadable {
  ChunkIndex chunk;
  Error why;
};

struct Event {
  ConnectionId connection;
  std::variant<Opened, Received, Closed, ChunkData, ChunkVerified, ChunkMisfit, ChunkCorrupt,
               ChunkUnstored, ChunkSent, SendStopped, ChunkUnreadable>
      what;
  // What it takes of its connection's budget; to be given back when it was dealt with.
  std::size_t weight = 0;
};

// From the lanes to the control thread, in the order of each lane.
class EventQueue {
 public:
  // `wake` is called from the pushing thread when the queue was empty.
  explicit EventQueue(std::function<void()> wake) : wake_(std::move(wake)) {}

  void push(Event event) {
    bool first;
    {
      std::lock_guard lock(mutex_);
      first = events_.empty();
      events_.push_back(std::move(event));
    }
    if (first) wake_();
  }

  std::vector<Event> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(events_, {});
  }

 private:
  std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<Event> events_;  // guarded by mutex_
};

}  // namespace p2p::net
