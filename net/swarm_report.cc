#include "net/swarm_report.h"

#include <algorithm>

namespace p2p::net {
namespace {

constexpr Duration kMaxSpan = 3 * tracker::kReportInterval;

std::uint64_t rate(std::uint64_t bytes, Duration span) {
  return std::min(static_cast<std::uint64_t>(static_cast<double>(bytes) / to_seconds(span)),
                  tracker::kMaxReportedRate);
}

}  // namespace

Bytes columns_of(const Bitfield& have) {
  const std::uint64_t chunks = have.size();
  const std::uint64_t columns = tracker::column_count(have.size());
  if (have.all()) return Bytes(columns, tracker::kFullColumn);
  Bytes shares;
  ChunkIndex next = have.next_set(0);
  for (std::uint64_t column = 0; column < columns; ++column) {
    const std::uint64_t first = column * chunks / columns, end = (column + 1) * chunks / columns;
    std::uint64_t held = 0;
    for (; next < end; next = have.next_set(next + 1)) ++held;
    shares.push_back(static_cast<std::uint8_t>(held * tracker::kFullColumn / (end - first)));
  }
  return shares;
}

tracker::Report SwarmReport::make(const Bitfield& have, std::uint64_t total_bytes,
                                  std::uint64_t received, std::uint64_t sent, Time now) {
  const bool fresh = at_ != Time::min() && now - at_ <= kMaxSpan;
  if (fresh && now - at_ >= tracker::kMinReportGap) {
    down_rate_ = rate(received - received_, now - at_);
    up_rate_ = rate(sent - sent_, now - at_);
  } else if (!fresh) {
    down_rate_ = up_rate_ = 0;
  }
  if (!fresh || now - at_ >= tracker::kMinReportGap) at_ = now, received_ = received, sent_ = sent;
  tracker::Report report;
  report.bytes = std::min(total_bytes, tracker::kMaxReportedBytes);
  report.chunks = have.size();
  report.have_chunks = have.count();
  report.down_rate = down_rate_;
  report.up_rate = up_rate_;
  report.columns = columns_of(have);
  return report;
}

}  // namespace p2p::net
