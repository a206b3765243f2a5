#include "peer/giveaway.h"

#include <utility>

namespace p2p::peer {

Giveaway::Giveaway(const Bitfield& have, Random random) {
  for (Bitfield& level : sent_) level = Bitfield(have.size());
  sent_[0] = have;
  if (have.size() > 0) cursor_ = static_cast<ChunkIndex>(random.below(have.size()));
}

void Giveaway::add(ChunkIndex chunk) {
  remove(chunk);
  sent_[0].set(chunk);
}

void Giveaway::remove(ChunkIndex chunk) {
  for (Bitfield& level : sent_) level.reset(chunk);
}

std::optional<ChunkIndex> Giveaway::choose(const Bitfield& settled) {
  for (const Bitfield& level : sent_) {
    if (level.none()) continue;
    ChunkIndex chunk = level.next_set_not_in(settled, cursor_);
    if (chunk == level.size()) chunk = level.next_set_not_in(settled, 0);
    if (chunk == level.size()) continue;
    cursor_ = chunk + 1 == level.size() ? 0 : chunk + 1;
    return chunk;
  }
  return std::nullopt;
}

void Giveaway::on_given(ChunkIndex chunk) {
  for (std::size_t level = 0; level + 1 < kLevels; ++level) {
    if (!sent_[level].reset(chunk)) continue;
    sent_[level + 1].set(chunk);
    break;
  }
  // Everything was sent once more: the lowest level is the next.
  while (sent_[0].none() && !sent_[1].none()) {
    for (std::size_t level = 0; level + 1 < kLevels; ++level)
      std::swap(sent_[level], sent_[level + 1]);
  }
}

void Giveaway::on_taken_back(ChunkIndex chunk) {
  for (std::size_t level = 1; level < kLevels; ++level) {
    if (!sent_[level].reset(chunk)) continue;
    sent_[level - 1].set(chunk);
    return;
  }
}

}  // namespace p2p::peer
