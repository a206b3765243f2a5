// RequestWindow: how many chunks may be outstanding at once, over all neighbours together.
//
// It holds what the whole inflow delivers in window_time plus two round trips: less would idle the
// links, and more commits requests to queues that others would have emptied sooner (a prototype of
// the schedule lost a tenth of its speed when this window was doubled).
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
  struct Config {
    std::uint32_t min_chunks = 4;
    Duration time = std::chrono::milliseconds(50);
    std::uint64_t max_bytes = 32 * 1024 * 1024;
  };

  RequestWindow(Config config, std::uint32_t chunk_bytes, Time now)
      : config_(config), chunk_bytes_(chunk_bytes), meter_(now) {
    resize();
  }

  // Payload came in, from anyone.
  void on_data(std::uint32_t bytes, Time now) {
    meter_.add(bytes, now);
    resize();
  }

  // The time from a request to its first byte. The shortest seen stands for the round trip: the
  // others waited in a queue.
  void on_first_byte(Duration after) { round_trip_ = std::min(round_trip_, after); }

  std::uint32_t chunks() const { return chunks_; }
  double bytes_per_second() const { return meter_.bytes_per_second(); }

 private:
  // Paths longer than this are served by what window_time gives.
  static constexpr Duration kLongestRoundTrip = std::chrono::milliseconds(500);

  void resize() {
    // Before anything is measured the round trip counts as none.
    const Duration trips = round_trip_ > kLongestRoundTrip ? Duration{0} : 2 * round_trip_;
    const double wanted =
        std::ceil(meter_.bytes_per_second() * to_seconds(config_.time + trips) / chunk_bytes_);
    const std::uint64_t most = std::max<std::uint64_t>(config_.max_bytes / chunk_bytes_, 1);
    const double capped = std::min(wanted, static_cast<double>(most));
    chunks_ = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(std::max<std::uint64_t>(static_cast<std::uint64_t>(capped),
                                                        std::max(config_.min_chunks, 1u)),
                                most));
  }

  Config config_;
  std::uint32_t chunk_bytes_;
  RateMeter meter_;
  Duration round_trip_ = Duration::max();
  std::uint32_t chunks_ = 1;
};

}  // namespace p2p::peer
