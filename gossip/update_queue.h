// UpdateQueue: the news that one member still tells others; sans-IO. What was told least comes
// first. An item is dropped when it was told and heard often enough, by the rule of memberlist:
// kRetransmit * ceil(log10(members + 1)); hearing it again counts too, for it says that the others
// have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gossip/messages.h"

namespace p2p::gossip {

inline constexpr std::uint32_t kRetransmit = 5;
// No limit() is higher.
inline constexpr std::uint32_t kMostTold = 64;
// Beyond it the oldest of the most told is dropped: a sync brings it.
inline constexpr std::size_t kMaxUpdates = 2048;

class UpdateQueue {
 public:
  // In place of older news of the same member.
  void add(News news);
  // The very news came from somebody else.
  void heard(const News& news);
  // Up to `bytes` of encoded news, each counted as told `times` times.
  std::vector<News> take(std::size_t bytes, std::uint32_t times, std::size_t members);
  bool empty() const { return by_id_.empty(); }
  std::size_t size() const { return by_id_.size(); }
  // Is there something that was never told?
  bool has_fresh() const { return !levels_.empty() && !levels_[0].empty(); }

  static std::uint32_t limit(std::size_t members);

 private:
  struct Item {
    News news;
    std::uint32_t told = 0;
  };
  using Place = std::list<Item>::iterator;

  std::list<Item>& level(std::uint32_t told);
  void move(Place place, std::uint32_t times);
  void drop(Place place);

  std::vector<std::list<Item>> levels_;  // by how often it was told
  absl::flat_hash_map<PeerId, Place> by_id_;
};

}  // namespace p2p::gossip
