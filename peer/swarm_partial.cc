// Chunks of which parts are known: who sends them is told to leave those out.
//
// A neighbour that is asked for any chunk chooses it itself, so it has been told of all such chunks
// before; one that is asked by name, of each with its first request. What it was told holds until
// it is told otherwise, and that is never while it may be sending the chunk: so both sides always
// mean the same bytes. Where a chunk did not fit, a neighbour that still believes it partial is
// asked for it by name, with the news; if it gives it of its own choice meanwhile it is turned
// down.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "peer/neighbour.h"
#include "peer/swarm.h"

namespace p2p::peer {

// What a chunk that is lacked takes in the mean: with it the window counts how many are on the way.
std::uint32_t Swarm::usual_length(const Layout& layout, const Bitfield& have,
                                  const std::vector<PartialChunk>& partial) {
  if (partial.empty() || have.all()) return layout.chunk_bytes;
  std::uint64_t bytes = layout.total_bytes - bytes_of_chunks(layout, have);
  for (const PartialChunk& chunk : partial)
    if (!have.test(chunk.chunk))
      bytes -= layout.length_of(chunk.chunk) - bytes_of_ranges(chunk.missing);
  return static_cast<std::uint32_t>(
      std::max<std::uint64_t>(bytes / (have.size() - have.count()), 1));
}

void Swarm::note_partial() {
  if (partial_.empty()) return;
  is_partial_ = Bitfield(layout_.chunk_count());
  for (const PartialChunk& partial : partial_) {
    P2P_CHECK(are_partial_ranges(partial.missing, layout_.length_of(partial.chunk)));
    is_partial_.set(partial.chunk);
  }
  partial_changes_ = 1;
}

// What it was told, and was not told otherwise since.
bool Swarm::believes_partial(const Neighbour& neighbour, ChunkIndex chunk) {
  return neighbour.told_partial.size() > 0 && neighbour.told_partial.test(chunk);
}

// How much the neighbour would send of the chunk, as it was told.
std::uint32_t Swarm::length_from(const Neighbour& neighbour, ChunkIndex chunk) const {
  if (!believes_partial(neighbour, chunk)) return layout_.length_of(chunk);
  return static_cast<std::uint32_t>(bytes_of_ranges(find_partial(partial_, chunk)->missing));
}

// Does the neighbour believe that we know parts of the chunk, which did not fit?
bool Swarm::is_stale(const Neighbour& neighbour, ChunkIndex chunk) const {
  return believes_partial(neighbour, chunk) && !is_partial_.test(chunk);
}

// Before the chunk, or any chunk, is asked of it.
void Swarm::tell_partial(Neighbour& neighbour, ChunkIndex chunk, Time now) {
  if (neighbour.told_partial.size() == 0) neighbour.told_partial = Bitfield(is_partial_.size());
  if (chunk == kAnyChunk) {
    // What it is about to choose for requests before this one must not change its meaning.
    if (neighbour.partial_told_at != partial_changes_ && neighbour.unanswered_anys == 0)
      tell_all_partial(neighbour, now);
    return;
  }
  if (is_partial_.test(chunk) == neighbour.told_partial.test(chunk)) return;
  Partial one;
  if (is_partial_.test(chunk)) {
    one.chunks.push_back(*find_partial(partial_, chunk));
    neighbour.told_partial.set(chunk);
  } else {
    one.chunks.push_back({chunk, {}});
    neighbour.told_partial.reset(chunk);
  }
  send(neighbour, std::move(one), now);
}

void Swarm::tell_all_partial(Neighbour& neighbour, Time now) {
  Partial all;
  std::size_t ranges = 0;
  const auto flush = [&] {
    if (!all.chunks.empty()) send(neighbour, std::exchange(all, {}), now);
    ranges = 0;
  };
  for (const PartialChunk& partial : partial_) {
    const ChunkIndex chunk = partial.chunk;
    const bool is_told = neighbour.told_partial.test(chunk);
    if (is_told == is_partial_.test(chunk) || have_.test(chunk) || neighbour.find_ask(chunk))
      continue;
    if (ranges + partial.missing.size() > kMaxRangesInPartial ||
        all.chunks.size() == kMaxRangesInPartial)
      flush();
    if (is_told) {
      all.chunks.push_back({chunk, {}});
      neighbour.told_partial.reset(chunk);
    } else {
      all.chunks.push_back(partial);
      ranges += partial.missing.size();
      neighbour.told_partial.set(chunk);
    }
  }
  flush();
  neighbour.partial_told_at = partial_changes_;
}

void Swarm::on_chunk_misfit(ConnectionId connection, ChunkIndex chunk, Time now) {
  ++stats_.misfit_chunks;
  if (is_partial_.size() > 0 && is_partial_.reset(chunk)) ++partial_changes_;
  Neighbour* const neighbour = find(connection);
  if (neighbour != nullptr) {
    const Ask* const answered = neighbour->find_ask(chunk);
    // Where it was taken back meanwhile, there may be a new one.
    if (answered != nullptr && answered->received_bytes >= answered->bytes) {
      neighbour->last_gain = now;
      neighbour->nothing_at = 0;
      erase_ask(*neighbour, *answered);
    }
  }
  // What others owe of it would not fit either.
  cancel_elsewhere(neighbour, chunk, now);
  return_chunk(chunk);
  finish_input(now);
}

// --- the giving side: the lane keeps the ranges

void Swarm::handle(Neighbour& neighbour, const Partial& partial, Time now) {
  for (const PartialChunk& chunk : partial.chunks) {
    if (!in_range(neighbour, chunk.chunk, now)) return;
    if (uploads_.is_open(neighbour.uploads, chunk.chunk))
      return violation(neighbour,
                       absl::StrCat("chunk ", chunk.chunk, " is asked for, and partial only now"),
                       now);
  }
}

}  // namespace p2p::peer
