#include "base/random.h"

#include "base/check.h"

namespace p2p {
namespace {

std::uint64_t splitmix(std::uint64_t& state) { return mixed(state += 0x9e3779b97f4a7c15u); }

std::uint64_t rotate_left(std::uint64_t value, int bits) {
  return (value << bits) | (value >> (64 - bits));
}

}  // namespace

Random::Random(std::uint64_t seed) : seed_(seed) {
  std::uint64_t mix = seed;
  for (auto& word : state_) word = splitmix(mix);
}

Random Random::fork(std::string_view purpose) const {
  // FNV-1a of the purpose, stirred into the seed.
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char c : purpose) hash = (hash ^ c) * 0x100000001b3u;
  std::uint64_t mix = seed_ ^ hash;
  return Random(splitmix(mix));
}

std::uint64_t Random::next() {
  const std::uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

std::uint64_t Random::below(std::uint64_t bound) {
  P2P_CHECK(bound > 0);
  // The values do not fill a whole multiple of bound. To favour none, the first of them, as many as
  // are over, are drawn again; there are fewer than bound, so that a division seldom tells.
  for (;;) {
    const std::uint64_t value = next();
    if (value >= bound || value >= -bound % bound) return value % bound;
  }
}

double Random::unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

}  // namespace p2p
