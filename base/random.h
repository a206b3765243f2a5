// Random: the seedable generator of the cores (never for secrets: those come from crypto/keys.h).
// xoshiro256** seeded through splitmix64, by Blackman and Vigna, https://prng.di.unimi.it/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace p2p {

class Random {
 public:
  explicit Random(std::uint64_t seed);

  // An independent generator for one purpose: the same seed and purpose give the same stream,
  // however much was drawn from this one.
  Random fork(std::string_view purpose) const;

  std::uint64_t next();
  // Uniform in [0, bound); bound must not be 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [0, 1).
  double unit();
  bool chance(double probability) { return unit() < probability; }

  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::uint64_t seed_;
  std::uint64_t state_[4];
};

}  // namespace p2p
