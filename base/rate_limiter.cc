#include "base/rate_limiter.h"

#include <algorithm>

#include "base/check.h"

namespace p2p {
namespace {

// Two for one that a call may add: so they are gone through faster than they are filled.
constexpr int kLooksPerCall = 2;
constexpr double kLongestFill = 1e9;  // seconds: far more than any, and fits a Duration

std::size_t hosts_of(const IpAddress& address) { return address.is_v4() ? 1 : kHostsOfNetwork; }

}  // namespace

RateLimiter::RateLimiter(RateLimit limit, std::size_t max_addresses)
    : limit_(limit), max_addresses_(max_addresses) {
  if (limit.per_second == 0) return;
  P2P_CHECK(limit.per_second > 0 && limit.burst >= 1 && max_addresses < UINT32_MAX);
  P2P_CHECK(limit.burst / limit.per_second < kLongestFill);
  gap_ = from_seconds(1 / limit.per_second);
}

bool RateLimiter::allow(const IpAddress& address, Time now) {
  if (limit_.per_second == 0) return true;
  for (int i = 0; i < kLooksPerCall; ++i) forget_full(now);
  const std::size_t hosts = hosts_of(address);
  const IpAddress network = address.network();
  const auto found = index_.find(network);
  if (found != index_.end()) return take(buckets_[found->second].full_at, hosts, now);
  if (buckets_.size() >= max_addresses_) return take(others_full_at_, hosts, now);
  index_.emplace(network, static_cast<std::uint32_t>(buckets_.size()));
  buckets_.push_back({network, now});
  return take(buckets_.back().full_at, hosts, now);
}

double RateLimiter::per_second(const IpAddress& address) const {
  return limit_.per_second * static_cast<double>(hosts_of(address));
}

bool RateLimiter::take(Time& full_at, std::size_t hosts, Time now) const {
  const Duration missing = std::max(full_at, now) - now;
  const Duration gap = gap_ / static_cast<Duration::rep>(hosts);
  // An empty bucket takes as long to fill for ten hosts: ten times the tokens come ten times as
  // fast.
  if (missing + gap > std::chrono::duration_cast<Duration>(gap_ * limit_.burst)) return false;
  full_at = now + missing + gap;
  return true;
}

// Goes from the last to the first: what takes the place of a forgotten one was looked at before.
void RateLimiter::forget_full(Time now) {
  if (buckets_.empty()) return;
  if (next_look_ == 0 || next_look_ > buckets_.size()) next_look_ = buckets_.size();
  const std::size_t at = --next_look_;
  if (buckets_[at].full_at > now) return;
  index_.erase(buckets_[at].network);
  if (at + 1 < buckets_.size()) {
    buckets_[at] = buckets_.back();
    index_[buckets_[at].network] = static_cast<std::uint32_t>(at);
  }
  buckets_.pop_back();
}

}  // namespace p2p
