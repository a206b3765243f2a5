// UploadQueue: who gets the next upload slot, and with which chunk. It holds the requests that
// wait and the sends that are under way.
//
// A neighbour that has got nothing from us yet goes before the others (so that a newcomer can soon
// give something itself); after that, who was served least recently; and before either, who is not
// being sent anything. A send that takes far longer
// than sends usually do gives its slot up, and its neighbour gets no other until it ends: who does
// not read holds nobody else up.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "content/bitfield.h"
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
  bool blocked = false;    // one of its sends gave its slot up
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

  // `have`: the chunks that can be given. `patience`: how long a send may take before any has
  // been measured.
  UploadQueue(std::uint32_t slots, Duration patience, const Bitfield& have, Random random);

  // `theirs`: what the client has. Not the same chunk twice before it is answered.
  Pushed push(UploadClient& client, ChunkIndex chunk, const Bitfield& theirs);
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

  // The next send, while a slot is free and somebody waits.
  std::optional<Start> start(Time now);
  // Ends a send; `whole`: all of it went out. Nothing when there was no such send.
  std::optional<UploadClient::Send> finish(UploadClient& client, ChunkIndex chunk, bool whole,
                                           Time now);

  // Takes the slots of sends that outlast our patience.
  void on_timeout(Time now);
  // When that is due; kNever while nobody waits for a slot.
  Time next_timeout() const;

  // Requests waiting or being served.
  std::uint32_t load() const { return load_; }
  // The same of everyone but `client`: the load that it is told.
  std::uint32_t load_beside(const UploadClient& client) const;

 private:
  struct Slot {
    UploadClient* client;
    ChunkIndex chunk;
    Time since;  // as in its Send
  };
  UploadClient* next_client() const;
  void leave_waiting(UploadClient& client);
  Duration patience() const;

  std::uint32_t slots_;
  Duration mean_send_;
  Giveaway giveaway_;
  std::vector<UploadClient*> waiting_;  // those with a queue, in order of coming
  std::vector<Slot> slots_used_;        // in order of starting
  std::uint32_t load_ = 0;
  std::uint64_t turns_ = 0;
};

}  // namespace p2p::peer
