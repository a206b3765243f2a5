// The swarm's giving side: requests of neighbours, and what ends them.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "peer/neighbour.h"
#include "peer/swarm.h"

namespace p2p::peer {

void Swarm::handle(Neighbour& neighbour, const Request& request, Time now) {
  const ChunkIndex chunk = request.chunk;
  if (chunk != kAnyChunk) {
    if (!in_range(neighbour, chunk, now)) return;
    if (!have_.test(chunk)) {
      // Either it was lost (and the request crossed with our Lost), or never advertised.
      if (lost_.size() == 0 || !lost_.test(chunk))
        return violation(neighbour, absl::StrCat("request for chunk ", chunk, ", not advertised"),
                         now);
      return send(neighbour, Reject{chunk, RejectReason::kSourceChanged}, now);
    }
    // It said that it has the chunk and did not say that it lost it: no use in sending it.
    if (neighbour.have.test(chunk))
      return send(neighbour, Reject{chunk, RejectReason::kNotHere}, now);
  }
  switch (uploads_.push(neighbour.uploads, chunk, neighbour.have)) {
    case UploadQueue::Pushed::kQueued:
      return wake_by(now + kLoadInterval);
    case UploadQueue::Pushed::kDuplicate:
      return violation(neighbour, absl::StrCat("chunk ", chunk, " requested twice"), now);
    case UploadQueue::Pushed::kTooMany:
      return violation(neighbour, "too many requests", now);
  }
}

void Swarm::handle(Neighbour& neighbour, const Cancel& cancel, Time now) {
  const ChunkIndex chunk = cancel.chunk;
  if (chunk != kAnyChunk && !in_range(neighbour, chunk, now)) return;
  switch (uploads_.cancel(neighbour.uploads, chunk)) {
    case UploadQueue::Cancelled::kUnknown:
      return;  // it crossed with the answer
    case UploadQueue::Cancelled::kRemoved:
      return send(neighbour, Reject{chunk, RejectReason::kCancelled}, now);
    case UploadQueue::Cancelled::kStop:
      actions_.push_back(StopSending{neighbour.connection, chunk});
  }
}

void Swarm::start_uploads(Time now) {
  // Of who is complete all ask for anything, or for the last that they lack.
  const Availability* availability = have_.all() ? nullptr : &availability_;
  while (const auto start = uploads_.start(now, availability)) {
    // The client lies in its neighbour; we need the neighbour.
    Neighbour& neighbour = Neighbour::of(*start->client);
    if (start->chunk == kAnyChunk) {
      send(neighbour, Reject{kAnyChunk, RejectReason::kNotHere}, now);
      continue;
    }
    if (start->chosen) send(neighbour, Give{start->chunk, load_for(neighbour, now)}, now);
    actions_.push_back(SendChunk{neighbour.connection, start->chunk});
  }
  wake_by(uploads_.next_timeout());
}

// In requests for each upload_slots of our slots, so that who has more slots gets more requests.
std::uint32_t Swarm::told_load(const Neighbour& neighbour) const {
  return uploads_.load_beside(neighbour.uploads) * config_.upload_slots / uploads_.most_slots();
}

// The load to tell a neighbour, with a note that it was told.
std::uint32_t Swarm::load_for(Neighbour& neighbour, Time now) {
  neighbour.told_at = now;
  neighbour.told_load = told_load(neighbour);
  return neighbour.told_load;
}

// Neighbours ask the least loaded, so that what they believe of our load must be nearly true: with
// loads told by Have and Give alone, uplinks ran dry beside full queues, and a swarm of 100 on
// equal links lost a tenth of its speed.
void Swarm::tell_load(Time now) {
  if (uploads_.load() == checked_load_) return;
  checked_load_ = uploads_.load();
  for (const auto& neighbour : neighbours_) {
    if (!neighbour->ready || neighbour->have.all()) continue;
    const std::int64_t load = told_load(*neighbour);
    const std::int64_t told = neighbour->told_load;
    // The longer the queue, the less does it matter.
    if (std::abs(load - told) <= 1 + told / 4) continue;
    tell(*neighbour, now);
  }
}

void Swarm::on_chunk_sent(ConnectionId connection, ChunkIndex chunk, Time now) {
  Neighbour* neighbour = find(connection);
  if (neighbour == nullptr) return;
  // The whole chunk is the answer, even to a Cancel.
  if (uploads_.finish(neighbour->uploads, chunk, true, now))
    stats_.sent_bytes += layout_.length_of(chunk);
  finish_input(now);
}

void Swarm::on_send_stopped(ConnectionId connection, ChunkIndex chunk, Time now) {
  Neighbour* neighbour = find(connection);
  if (neighbour == nullptr) return;
  if (uploads_.finish(neighbour->uploads, chunk, false, now))
    send(*neighbour, Reject{chunk, RejectReason::kCancelled}, now);
  finish_input(now);
}

void Swarm::on_chunk_unreadable(ConnectionId connection, ChunkIndex chunk, Time now) {
  Neighbour* asker = find(connection);
  if (asker != nullptr && uploads_.finish(asker->uploads, chunk, false, now))
    send(*asker, Reject{chunk, RejectReason::kSourceChanged}, now);
  if (have_.reset(chunk)) {
    if (lost_.size() == 0) lost_ = Bitfield(have_.size());
    lost_.set(chunk);
    uploads_.on_gone(chunk);
    std::erase(untold_, chunk);
    for (const auto& neighbour : neighbours_) {
      std::erase(neighbour->untold, chunk);
      if (!neighbour->ready) continue;
      send(*neighbour, Lost{{chunk}}, now);
      if (uploads_.drop_request(neighbour->uploads, chunk))
        send(*neighbour, Reject{chunk, RejectReason::kSourceChanged}, now);
    }
    // A download in progress can fetch it again; what is complete is not written to any more.
    if (!completed_) open_chunk(chunk);
  }
  finish_input(now);
}

}  // namespace p2p::peer
