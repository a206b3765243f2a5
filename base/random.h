// Random: the seedable generator of the cores (never for secrets: those come from crypto/keys.h).
// xoshiro256** seeded through splitmix64, by Blackman and Vigna, https://prng.di.unimi.it/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace p2p {

// Every bit of the input reaches every bit of the result: the finalizer of splitmix64 (Steele, Lea,
// Flood 2014).
constexpr std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

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
