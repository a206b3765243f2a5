#include "net/redis_framing.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

namespace p2p::net {
namespace {

// Sums of what one reply may announce stay far from overflow.
constexpr std::int64_t kMaxAnnounced = std::int64_t{1} << 40;
constexpr std::size_t kMaxHeaderBytes = 32;  // a kind and a number

}  // namespace

void RedisFraming::begin_reply() {
  complete_ = too_large_ = false;
  bytes_ = 0;
  values_ = values_due_ = 1;
}

RedisFraming::State RedisFraming::take(std::string_view bytes, std::size_t& taken) {
  taken = 0;
  if (complete_ && !bytes.empty()) begin_reply();
  while (taken < bytes.size()) {
    const std::string_view left = bytes.substr(taken);
    std::size_t step = 0;
    if (payload_due_ > 0) {
      step = std::min(payload_due_, left.size());
      payload_due_ -= step;
      if (payload_due_ == 0) --values_due_;
    } else {
      const std::size_t end = left.find('\n');
      step = end == std::string_view::npos ? left.size() : end + 1;
      line_.append(left.substr(
          0, std::min(step, kMaxHeaderBytes - std::min(line_.size(), kMaxHeaderBytes))));
      line_bytes_ += step;
      if (line_bytes_ > kMaxRedisLineBytes) return State::kMalformed;
      if (end != std::string_view::npos && !on_line()) return State::kMalformed;
    }
    taken += step;
    bytes_ += step;
    too_large_ = too_large_ || bytes_ + payload_due_ > kMaxRedisReplyBytes;
    if (values_due_ == 0) {
      complete_ = true;
      return State::kComplete;
    }
  }
  return State::kMore;
}

bool RedisFraming::on_line() {
  const std::string line = std::exchange(line_, {});
  const std::size_t length = std::exchange(line_bytes_, 0);
  const char kind = line[0];
  if (kind == '+' || kind == '-' || kind == ':') {
    --values_due_;
    return true;
  }
  if ((kind != '$' && kind != '*') || length < 4 || length > kMaxHeaderBytes) return false;
  std::int64_t announced = 0;
  const char* const end = line.data() + length - 2;
  const auto [at, error] = std::from_chars(line.data() + 1, end, announced);
  if (error != std::errc() || at != end || announced < -1 || announced > kMaxAnnounced)
    return false;
  if (kind == '$' && announced >= 0) {
    payload_due_ = static_cast<std::size_t>(announced) + 2;
    return true;
  }
  --values_due_;
  if (kind == '*' && announced > 0) {
    values_ += static_cast<std::size_t>(announced);
    values_due_ += static_cast<std::size_t>(announced);
    too_large_ = too_large_ || values_ > kMaxRedisReplyValues;
    if (values_ > static_cast<std::size_t>(kMaxAnnounced)) return false;
  }
  return true;
}

}  // namespace p2p::net
