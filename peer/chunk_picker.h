// ChunkPicker: which chunk to ask a neighbour for: the rarest among those it has and nobody is
// asked for yet, ties by lot.
#pragma once

#include <optional>

#include "base/random.h"
#include "content/bitfield.h"
#include "peer/availability.h"

namespace p2p::peer {

class ChunkPicker {
 public:
  explicit ChunkPicker(Random random) : random_(random) {}

  // From a neighbour that has everything.
  std::optional<ChunkIndex> pick(const Availability& availability);

  // From a neighbour that has `theirs`. `taken` are the chunks that are not open. `cursor` is the
  // neighbour's, 0 at first.
  //
  // Exact while at most kProbes open chunks must be looked at to find one that the neighbour has.
  // For a neighbour with few useful chunks that would take all of them; then the rarest of up to
  // kSamples of what it has is taken, found word by word from the cursor on.
  std::optional<ChunkIndex> pick(const Availability& availability, const Bitfield& theirs,
                                 const Bitfield& taken, ChunkIndex& cursor);

  static constexpr std::uint32_t kProbes = 64;
  static constexpr std::uint32_t kSamples = 16;

 private:
  std::optional<ChunkIndex> sample(const Availability& availability, const Bitfield& theirs,
                                   const Bitfield& taken, ChunkIndex& cursor);

  Random random_;
};

}  // namespace p2p::peer
