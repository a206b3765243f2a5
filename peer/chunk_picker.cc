#include "peer/chunk_picker.h"

namespace p2p::peer {

std::optional<ChunkIndex> ChunkPicker::pick(const Availability& availability) {
  for (std::uint32_t count = 0; count < availability.levels(); ++count) {
    const auto level = availability.level(count);
    if (!level.empty()) return level[random_.below(level.size())];
  }
  return std::nullopt;
}

std::optional<ChunkIndex> ChunkPicker::pick(const Availability& availability,
                                            const Bitfield& theirs, const Bitfield& taken,
                                            ChunkIndex& cursor) {
  // Level 0 holds what no incomplete neighbour has, this one included.
  std::uint32_t probes = 0;
  for (std::uint32_t count = 1; count < availability.levels() && probes < kProbes; ++count) {
    const auto level = availability.level(count);
    if (level.empty()) continue;
    // A walk from a random place favours a chunk behind a run of chunks that this neighbour lacks;
    // the levels are shuffled all the time, so that it is a lot all the same.
    std::size_t at = random_.below(level.size());
    for (std::size_t i = 0; i < level.size() && probes < kProbes; ++i, ++probes) {
      if (theirs.test(level[at])) return level[at];
      if (++at == level.size()) at = 0;
    }
  }
  if (probes < kProbes) return std::nullopt;  // every open chunk was looked at

  return sample(availability, theirs, taken, cursor);
}

std::optional<ChunkIndex> ChunkPicker::sample(const Availability& availability,
                                              const Bitfield& theirs, const Bitfield& taken,
                                              ChunkIndex& cursor) {
  const ChunkIndex start = cursor < theirs.size() ? cursor : 0;
  std::optional<ChunkIndex> best;
  std::uint32_t ties = 0;
  std::uint32_t samples = 0;
  const auto look_through = [&](ChunkIndex from, ChunkIndex end) {
    while (samples < kSamples) {
      const ChunkIndex chunk = theirs.next_set_not_in(taken, from);
      if (chunk >= end) return;
      ++samples;
      from = cursor = chunk + 1;
      const std::uint32_t count = availability.count(chunk);
      if (!best || count < availability.count(*best)) {
        best = chunk;
        ties = 1;
      } else if (count == availability.count(*best) && random_.below(++ties) == 0) {
        best = chunk;
      }
    }
  };
  look_through(start, theirs.size());
  look_through(0, start);
  return best;
}

}  // namespace p2p::peer
