// Stands in for libFuzzer where it is not at hand: feeds every seed of a corpus folder to the
// target, and a few hundred changed copies of each. The changes come from a fixed seed, so that a
// crash is seen again on the next run.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using namespace p2p;

constexpr int kChangedCopies = 300;
// Of one seed and all its copies together: a seed of many kilobytes gets fewer of them.
constexpr std::size_t kBytesPerSeed = 32 * 1024 * 1024;

void run(const Bytes& input) { LLVMFuzzerTestOneInput(input.data(), input.size()); }

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

// One change of the kinds that break parsers: a flipped bit, an extreme byte, a cut, a run of bytes
// twice or gone, a length that claims too much.
void change(Bytes& bytes, Random& random) {
  const std::size_t at = bytes.empty() ? 0 : random.below(bytes.size());
  const auto position = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  const std::size_t length = std::min<std::size_t>(bytes.size() - at, 1 + random.below(16));
  const auto end = position + static_cast<std::ptrdiff_t>(length);
  switch (bytes.empty() ? 4 : random.below(7)) {
    case 0:
      *position ^= static_cast<std::uint8_t>(1u << random.below(8));
      return;
    case 1:
      *position = random.chance(0.5) ? 0xff : 0;
      return;
    case 2:
      bytes.resize(at);
      return;
    case 3:
      bytes.erase(position, end);
      return;
    case 4:
      bytes.insert(position, static_cast<std::uint8_t>(random.next()));
      return;
    case 5: {
      const Bytes copy(position, end);
      bytes.insert(position, copy.begin(), copy.end());
      return;
    }
    default:
      std::fill(position, end, 0xff);
      return;
  }
}

void run_with_changes(const Bytes& seed, Random random) {
  run(seed);
  const std::size_t copies =
      std::min<std::size_t>(kChangedCopies, kBytesPerSeed / (seed.size() + 1));
  for (std::size_t i = 0; i < copies; ++i) {
    Bytes copy = seed;
    for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) change(copy, random);
    run(copy);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> seeds;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error))
    if (entry.is_regular_file()) seeds.push_back(entry.path());
  if (seeds.empty()) {
    std::fprintf(stderr, "no seeds in %s: a fuzz target needs a small corpus\n", argv[1]);
    return 1;
  }
  std::sort(seeds.begin(), seeds.end());
  const Random random(1);
  run_with_changes({}, random);
  for (const auto& seed : seeds) {
    // Named before it is run: the last name printed is the one that crashed.
    std::printf("%s\n", seed.filename().c_str());
    std::fflush(stdout);
    run_with_changes(read_file(seed), random.fork(seed.filename().native()));
  }
  return 0;
}
