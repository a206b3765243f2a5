// RequestWindow: how many chunks may be outstanding at once, over all neighbours together.
//
// In a swarm in full flow, min_chunks: enough that a chunk comes from somebody while others are
// busy (with 4 a simulated swarm of equal links used 91 % of them, with 8 96 %), and few enough
// that requests are not committed to queues that others would have emptied sooner. To these come
// the chunks that arrive within a round trip. More where one neighbour's inflow needs it to bridge
// `time` and two round trips.
//
// It starts at first_chunks and grows by one for each kChunksPerStep that came in: while few chunks
// are about, those who have one should pass it to few at a time, and soon.
//
// Who has less than its neighbours may have up to twice as much outstanding, so that all end
// together.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/time.h"
#include "peer/messages.h"
#include "peer/rate_meter.h"

namespace p2p::peer {

class RequestWindow {
 public:
  // The product's numbers stand in SwarmConfig.
  struct Config {
    std::uint32_t first_chunks;
    std::uint32_t min_chunks;
    Duration time;
    std::uint64_t max_bytes;
  };

  RequestWindow(Config config, std::uint32_t chunk_bytes, Time now)
      : config_(config), chunk_bytes_(chunk_bytes), meter_(now) {
    resize();
  }

  static constexpr std::uint32_t kChunksPerStep = 4;
  // An inflow below this part of the best has slowed.
  static constexpr double kSlowed = 0.3;
  // One more for each so many that we are behind.
  static constexpr std::uint32_t kCatchUp = 2;

  // Payload came in, from anyone.
  void on_data(std::uint32_t bytes, Time now) {
    received_bytes_ += bytes;
    meter_.add(bytes, now);
    best_ = std::max(best_, meter_.bytes_per_second());
    resize();
  }

  // The time from a request to its first byte, where the request had not to wait for others. The
  // mean counts, not the least: on a busy link news is late by what stands in its queues, and the
  // window must bridge that.
  void on_first_byte(Duration after) {
    if (after > kLongestRoundTrip) return;
    round_trip_ += (after - round_trip_) / (round_trip_ == Duration{0} ? 1 : kRoundTripParts);
  }

  // `behind`: how many chunks we have less than our neighbours have in the mean.
  std::uint32_t chunks(std::uint32_t behind = 0) const {
    return std::min(chunks_ + std::min(chunks_, behind / kCatchUp), most());
  }
  double bytes_per_second() const { return meter_.bytes_per_second(); }
  // Less comes in than kSlowed of the best.
  bool has_slowed() const { return meter_.bytes_per_second() < kSlowed * best_; }
  // Also while nothing comes in.
  void on_time(Time now) { meter_.add(0, now); }

 private:
  // Below a part of a chunk nothing is added; and never more than twice what the swarm needs, since
  // a wait in a queue may be taken for a long path.
  static constexpr double kLeastOnTheWay = 0.5;
  static constexpr double kMostOnTheWay = 2;
  static constexpr int kRoundTripParts = 8;
  // Longer than this is a wait.
  static constexpr Duration kLongestRoundTrip = std::chrono::milliseconds(500);

  std::uint32_t most() const {
    return static_cast<std::uint32_t>(std::max<std::uint64_t>(config_.max_bytes / chunk_bytes_, 1));
  }

  void resize() {
    const double rate = meter_.bytes_per_second() / chunk_bytes_;
    const std::uint64_t steps = received_bytes_ / chunk_bytes_ / kChunksPerStep;
    const double busy = static_cast<double>(
        std::min<std::uint64_t>(config_.min_chunks, config_.first_chunks + steps));
    const double on_the_way = std::ceil(rate * to_seconds(round_trip_) - kLeastOnTheWay);
    const double bridge = std::ceil(rate * to_seconds(config_.time + 2 * round_trip_));
    const double wanted =
        std::max(busy + std::clamp(on_the_way, 0.0, kMostOnTheWay * busy), bridge);
    chunks_ =
        std::max(1u, static_cast<std::uint32_t>(std::min(wanted, static_cast<double>(most()))));
  }

  Config config_;
  std::uint32_t chunk_bytes_;
  RateMeter meter_;
  std::uint64_t received_bytes_ = 0;
  double best_ = 0;
  Duration round_trip_{0};
  std::uint32_t chunks_ = 1;
};

}  // namespace p2p::peer
