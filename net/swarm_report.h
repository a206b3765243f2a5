// SwarmReport: what a peer tells an owner that asks how far it is, and how fast.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "content/bitfield.h"
#include "tracker/messages.h"

namespace p2p::net {

class SwarmReport {
 public:
  // `received` and `sent` are payload bytes so far. Rates are those since a report at least
  // kMinReportGap ago; where that was too long ago to say anything of now, they are 0.
  tracker::Report make(const Bitfield& have, std::uint64_t total_bytes, std::uint64_t received,
                       std::uint64_t sent, Time now);

 private:
  Time at_ = Time::min();  // of the last rates
  std::uint64_t received_ = 0, sent_ = 0;
  std::uint64_t down_rate_ = 0, up_rate_ = 0;
};

// For each column the share of its chunks that are there.
Bytes columns_of(const Bitfield& have);

}  // namespace p2p::net
