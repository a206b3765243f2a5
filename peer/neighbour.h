// What a swarm keeps for each neighbour. Only the swarm's own files include this.
#pragma once

#include <vector>

#include "base/cache.h"
#include "base/id.h"
#include "base/time.h"
#include "content/bitfield.h"
#include "peer/swarm.h"
#include "peer/upload_queue.h"

namespace p2p::peer {

// A neighbour with requests in our queue is told our load at least this often.
inline constexpr Duration kLoadInterval = std::chrono::seconds(5);

// A request of ours that the neighbour has not answered.
struct Ask {
  ChunkIndex chunk;  // kAnyChunk until the other side names it
  // Of data that answer it, once it has a chunk: all of the chunk, or what is missing of it.
  std::uint32_t bytes = 0;
  std::uint32_t received_bytes = 0;
  Time asked_at;
  Time first_byte_at = kNever;
  Time last_byte_at = kNever;
  Time expected_at;  // from the neighbour's queue and speed as they were then
  Time overdue_at;
  float queue = 1;         // requests it had to serve up to this one, when it was asked
  bool cancelled = false;  // we sent Cancel; the answer may still be the whole chunk
  bool overdue = false;    // does not count in the window any more
};

struct alignas(kCacheLineBytes) Swarm::Neighbour {
  Neighbour(ConnectionId connection_id, const PeerId& peer_id, Time now)
      : last_heard(now),
        last_gain(now),
        told_at(now),
        last_said(now),
        connection(connection_id),
        peer(peer_id) {
    uploads.owner = this;
  }
  // For kAnyChunk of several the first that is cancelled, or not, as wanted; the first at all where
  // none is. Of a chunk there is only one. Null: none.
  Ask* find_ask(ChunkIndex chunk, bool cancelled = false) {
    Ask* found = nullptr;
    for (Ask& ask : asks) {
      if (ask.chunk != chunk) continue;
      if (ask.cancelled == cancelled) return &ask;
      if (found == nullptr) found = &ask;
    }
    return found;
  }
  static Neighbour& of(UploadClient& client) { return *static_cast<Neighbour*>(client.owner); }

  // What is looked at in all neighbours for nearly every input: together, in two cache lines.
  // `ready`: it sent Chunks. `counted`: its chunks are in the availability one by one (a neighbour
  // that came complete is not counted at all).
  std::uint64_t nothing_at = 0;   // the swarm's opening count when it had nothing open to ask for
  Time not_before = Time::min();  // it is busy: no request before this
  double speed = 0;               // requests a second that it serves, to all; 0: not known
  std::uint32_t load = 0;         // as it told us
  std::uint32_t unanswered_anys = 0;  // asks for kAnyChunk, cancelled ones too
  std::uint32_t live = 0;             // asks neither cancelled nor overdue
  std::uint32_t overdue = 0;          // asks overdue and not cancelled
  std::uint32_t told_load = 0;        // our load as it last heard it
  bool ready = false;
  bool counted = false;
  bool any_refused = false;        // it had nothing to choose for us
  bool source_reported = false;    // Problem::kSourceChanged, once
  std::uint32_t idle_rejects = 0;  // since the last whole chunk
  ChunkIndex cursor = 0;           // the picker's
  Time last_heard;
  Time last_gain;         // a byte of a live ask, or the first ask after none
  std::vector<Ask> asks;  // what we ask of it, in order of asking
  Bitfield have;          // what it has

  // Chunks of which it was told that we lack only parts; of size 0 until the first. The swarm's
  // partial_changes_ when it had been told of all.
  Bitfield told_partial;
  std::uint64_t partial_told_at = 0;

  UploadClient uploads;            // what it asks of us
  std::vector<ChunkIndex> untold;  // verified, and not told yet
  Time told_at;                    // when it last heard our load
  Time last_said;
  ConnectionId connection;
  PeerId peer;
};

}  // namespace p2p::peer
