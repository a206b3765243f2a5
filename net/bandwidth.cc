#include "net/bandwidth.h"

#include <algorithm>
#include <utility>

namespace p2p::net {

void Throttle::set(SharedBucket& process, std::uint64_t process_rate, std::uint64_t own_rate,
                   Time now) {
  *this = Throttle();
  if (process_rate == 0 && own_rate == 0) return;
  process_ = &process;
  own_.set_rate(own_rate, now);
  const std::uint64_t rate = process_rate == 0 || own_rate == 0 ? process_rate + own_rate
                                                                : std::min(process_rate, own_rate);
  const double wanted = static_cast<double>(rate) * to_seconds(kSliceTime);
  slice_ = std::max(kLeastSlice,
                    static_cast<std::size_t>(std::min(wanted, static_cast<double>(kMostSlice))));
}

Time Throttle::take(std::size_t bytes, Time now) {
  return std::max(process_->take(bytes, now), own_.take(bytes, now));
}

bool Throttle::pay(std::size_t bytes, Time now) {
  while (is_due(due_, now)) {
    if (paid_ >= bytes) return true;
    // A whole slice, however little is wanted: who sends small frames is to have as much as others.
    due_ = take(slice_, now);
    paid_ += slice_;
  }
  return false;
}

void Throttle::spend(std::size_t bytes, Time now) {
  const std::size_t paid = std::min(bytes, paid_);
  paid_ -= paid;
  if (bytes > paid) take(bytes - paid, now);
}

void Throttle::leave(Time now) {
  if (paid_ > 0) process_->give_back(std::exchange(paid_, 0));
  if (received_ > 0) take(std::exchange(received_, 0), now);
}

bool Throttle::receive(std::size_t bytes, Time now) {
  received_ += bytes;
  if (received_ < slice_) return true;
  due_ = take(std::exchange(received_, 0), now);
  return is_due(due_, now);
}

}  // namespace p2p::net
