// UploadQueue: who gets the next upload slot, and with which chunk. It holds the requests that
// wait and the sends that are under way.
//
// First who is not being sent anything. Among these, who is behind the others, so that a newcomer
// can soon give something itself and all end together; then the chunks that few have; then who has
// the fewest; then who was served least recently. A send that takes far longer than sends usually
// do gives its slot up, and its neighbour gets no other until it ends: who does not read holds
// nobody else up.
//
// It begins with few slots, and opens one more for each kSendsPerSlot chunks sent: while few peers
// have any chunk, those that do pass it on soonest by sending to few at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/cache.h"
#include "base/random.h"
#include "base/time.h"
#include "content/bitfield.h"
#include "peer/availability.h"
#include "peer/giveaway.h"
#include "peer/messages.h"

namespace p2p::peer {

// One neighbour's side of the queue. The swarm owns it inside its neighbour; its address is its
// name, and must not change.
struct UploadClient {
  struct Send {
    ChunkIndex chunk;
    Time since;
    bool stopping = false;   // StopSending was asked for
    bool cancelled = false;  // and the neighbour did, so that it waits for a Reject
  };
  void* owner = nullptr;          // the queue's user knows the client by it
  std::vector<ChunkIndex> queue;  // in order of asking; kAnyChunk may stand in it often
  std::vector<Send> sends;
  // Chunks that it has, asked for, got or turned down: not to be chosen for it. Made when it first
  // asks for kAnyChunk, of size 0 before.
  Bitfield settled;
  std::uint64_t turn = 0;  // when it was last served; 0: never
  std::uint32_t held = 0;  // how many chunks it has, by its own word
  std::uint32_t got = 0;   // chunks that it was sent whole
  bool blocked = false;    // one of its sends gave its slot up

  // Nobody is believed to have less than it was sent: to be served first it would be enough to say
  // nothing.
  std::uint32_t has() const { return std::max(held, got); }
};

class UploadQueue {
 public:
  enum class Pushed { kQueued, kDuplicate, kTooMany };
  enum class Cancelled { kUnknown, kRemoved, kStop };
  struct Start {
    UploadClient* client;
    ChunkIndex chunk;     // kAnyChunk: there is nothing to choose for it; no slot is taken
    bool chosen = false;  // by us, for a request for kAnyChunk
  };

  // The product's numbers stand in SwarmConfig.
  struct Slots {
    std::uint32_t first;
    std::uint32_t most;
  };
  static constexpr std::uint32_t kSendsPerSlot = 4;

  // `have`: the chunks that can be given. `patience`: how long a send may take before any has
  // been measured.
  UploadQueue(Slots slots, Duration patience, const Bitfield& have, Random random);

  // `theirs`: what the client has. Not the same chunk twice before it is answered.
  Pushed push(UploadClient& client, ChunkIndex chunk, const Bitfield& theirs);
  // Has the client asked for the chunk by name, or is it being sent to it?
  bool is_open(UploadClient& client, ChunkIndex chunk) const;
  // kRemoved: the request is gone. kStop: the send must be stopped.
  Cancelled cancel(UploadClient& client, ChunkIndex chunk);
  // Forgets all its requests and sends; the slots are free at once.
  void remove(UploadClient& client);

  void on_has(UploadClient& client, ChunkIndex chunk);   // it told us so
  void on_lost(UploadClient& client, ChunkIndex chunk);  // it told us so

  void on_verified(ChunkIndex chunk) { giveaway_.add(chunk); }
  // A chunk that cannot be given any more: the requests of a client for it go too. Returns whether
  // there was one.
  void on_gone(ChunkIndex chunk) { giveaway_.remove(chunk); }
  bool drop_request(UploadClient& client, ChunkIndex chunk);

  // The next send, while a slot is free and somebody waits. `availability`: how many of the
  // neighbours have each chunk; without it all chunks are alike.
  std::optional<Start> start(Time now, const Availability* availability = nullptr);
  // Ends a send; `whole`: all of it went out. Nothing when there was no such send.
  std::optional<UploadClient::Send> finish(UploadClient& client, ChunkIndex chunk, bool whole,
                                           Time now);

  // Takes the slots of sends that outlast our patience.
  void on_timeout(Time now);
  // When that is due; kNever while nobody waits for a slot.
  Time next_timeout() const;

  // A hint: it is going to be used.
  void fetch() const {
    fetch_into_cache(waiting_.data(), sizeof(waiting_[0]));
    fetch_into_cache(slots_used_.data(), sizeof(slots_used_[0]));
  }

  std::uint32_t most_slots() const { return slots_.most; }
  // Requests waiting or being served.
  std::uint32_t load() const { return load_; }
  // The same of everyone but `client`.
  std::uint32_t load_beside(const UploadClient& client) const;

 private:
  struct Slot {
    UploadClient* client;
    ChunkIndex chunk;
    Time since;  // as in its Send
  };
  std::size_t open_slots() const;
  struct Waiting {
    UploadClient* client = nullptr;
    std::size_t place = 0;  // of the request in its queue
  };
  Waiting next_request(const Availability* availability) const;
  void leave_waiting(UploadClient& client);
  Duration patience() const;

  Slots slots_;
  std::uint64_t whole_sends_ = 0;
  Duration mean_send_;
  std::vector<UploadClient*> waiting_;  // those with a queue, in order of coming
  std::vector<Slot> slots_used_;        // in order of starting
  std::uint32_t load_ = 0;
  std::uint64_t turns_ = 0;
  Giveaway giveaway_;
};

}  // namespace p2p::peer
