// Giveaway: the giver's choice of chunk for kAnyChunk: the one sent least often that the asker
// lacks, so that the swarm gets every chunk once before it gets one twice. Ties go round from a
// random start: disks are read forward, and two seeders do not give the same chunks.
#pragma once

#include <array>
#include <optional>

#include "base/random.h"
#include "content/bitfield.h"

namespace p2p::peer {

class Giveaway {
 public:
  // `have`: the chunks that can be given.
  Giveaway(const Bitfield& have, Random random);

  void add(ChunkIndex chunk);     // verified
  void remove(ChunkIndex chunk);  // lost

  // `settled`: chunks that the asker has, was promised or turned down. Goes through at most
  // kLevels bitfields, word by word.
  std::optional<ChunkIndex> choose(const Bitfield& settled);

  // A send of the chunk began, by choice or by name; it came to nothing.
  void on_given(ChunkIndex chunk);
  void on_taken_back(ChunkIndex chunk);

 private:
  // Counts of sends are told apart up to this many above the lowest.
  static constexpr std::size_t kLevels = 4;

  std::array<Bitfield, kLevels> sent_;  // by how often, above the lowest; the last: or more
  ChunkIndex cursor_ = 0;
};

}  // namespace p2p::peer
