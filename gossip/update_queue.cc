#include "gossip/update_queue.h"

#include <cmath>
#include <utility>

namespace p2p::gossip {

std::uint32_t UpdateQueue::limit(std::size_t members) {
  const double digits = std::ceil(std::log10(static_cast<double>(members) + 1));
  return kRetransmit * static_cast<std::uint32_t>(digits < 1 ? 1 : digits);
}

std::list<UpdateQueue::Item>& UpdateQueue::level(std::uint32_t told) {
  if (levels_.size() <= told) levels_.resize(told + 1);
  return levels_[told];
}

void UpdateQueue::drop(Place place) {
  by_id_.erase(place->news.id());
  level(place->told).erase(place);
}

void UpdateQueue::move(Place place, std::uint32_t times) {
  // The resize of levels_ moves lists, whose iterators stay valid.
  level(place->told + times);
  std::list<Item>& from = levels_[place->told];
  place->told += times;
  std::list<Item>& to = levels_[place->told];
  to.splice(to.end(), from, place);
}

void UpdateQueue::add(News news) {
  if (const auto found = by_id_.find(news.id()); found != by_id_.end()) drop(found->second);
  if (by_id_.size() >= kMaxUpdates) {
    std::size_t last = levels_.size() - 1;
    while (levels_[last].empty()) --last;
    drop(levels_[last].begin());
  }
  std::list<Item>& fresh = level(0);
  fresh.push_back({std::move(news), 0});
  by_id_.emplace(fresh.back().news.id(), std::prev(fresh.end()));
}

void UpdateQueue::heard(const News& news) {
  const auto found = by_id_.find(news.id());
  if (found == by_id_.end() || found->second->news.rank() != news.rank()) return;
  if (found->second->told < kMostTold) move(found->second, 1);
}

std::vector<News> UpdateQueue::take(std::size_t bytes, std::uint32_t times, std::size_t members) {
  const std::uint32_t most = limit(members);
  std::vector<News> taken;
  std::vector<Place> places;
  for (std::uint32_t told = 0; told < levels_.size(); ++told) {
    for (Place place = levels_[told].begin(); place != levels_[told].end();) {
      const Place here = place++;
      if (told >= most) {
        drop(here);
        continue;
      }
      const std::size_t size = encoded_bytes(here->news);
      if (size > bytes || taken.size() == kMaxNewsInPacket) {
        told = static_cast<std::uint32_t>(levels_.size());
        break;
      }
      bytes -= size;
      taken.push_back(here->news);
      places.push_back(here);
    }
  }
  for (const Place place : places) {
    if (place->told + times >= most)
      drop(place);
    else
      move(place, times);
  }
  return taken;
}

}  // namespace p2p::gossip
