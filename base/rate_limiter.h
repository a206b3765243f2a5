// RateLimiter: how often each address may do something. A token bucket for each, sans-IO.
//
// - What counts as one address is IpAddress::network(); an IPv6 network has kHostsOfNetwork times
//   the rate and the burst.
// - A bucket that is full again is as if it had never been: it is forgotten. Each call looks at two
//   buckets in turn, so that a call costs the same whatever is kept.
// - At most max_addresses buckets are kept. While all are in use and none is full, addresses that
//   are not among them share one bucket: those who fill the table cannot make it forget what they
//   took, and cost newcomers their own bucket, nobody else's. To keep it so takes
//   max_addresses * per_second calls a second.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/endpoint.h"
#include "base/time.h"

namespace p2p {

struct RateLimit {
  double per_second = 0;  // 0: no limit
  double burst = 0;       // at once after a rest; at least 1
};

// 5 MiB, when so many came at once.
inline constexpr std::size_t kMaxLimitedAddresses = 65'536;

class RateLimiter {
 public:
  explicit RateLimiter(RateLimit limit, std::size_t max_addresses = kMaxLimitedAddresses);

  // Takes a token of the address's bucket; false where there is none.
  bool allow(const IpAddress& address, Time now);

  // Of this address: a network's is a multiple.
  double per_second(const IpAddress& address) const;
  std::size_t address_count() const { return buckets_.size(); }

 private:
  // What a bucket holds is told by when it will be full (the generic cell rate algorithm).
  struct Bucket {
    IpAddress network;
    Time full_at;
  };

  bool take(Time& full_at, std::size_t hosts, Time now) const;
  void forget_full(Time now);

  RateLimit limit_;
  std::size_t max_addresses_;
  Duration gap_{0};  // until one token more
  std::vector<Bucket> buckets_;
  absl::flat_hash_map<IpAddress, std::uint32_t> index_;
  std::size_t next_look_ = 0;  // one past it; 0: from the last
  Time others_full_at_ = Time::min();
};

}  // namespace p2p
