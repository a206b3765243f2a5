// How fast a content is cut into segments, on one core, out of memory: what `p2p fetch --from`
// waits for beside the network. Prints a JSON object of GB/s.
#include <chrono>
#include <cstdio>

#include "base/random.h"
#include "content/segments.h"
#include "crypto/digest.h"

namespace {

constexpr std::size_t kBytes = 256 * 1024 * 1024;

template <typename Work>
double rate(const Work& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  return kBytes / took.count() / 1e9;
}

}  // namespace

int main() {
  using namespace p2p;
  Bytes bytes(kBytes);
  Random random(1);
  for (std::size_t at = 0; at < kBytes; at += 8) put_u64(bytes.data() + at, random.next());
  std::uint64_t sum = 0;
  const auto each_group = [&](const auto& use) {
    for (ByteView rest = bytes; !rest.empty();) {
      const std::uint32_t length = group_length(rest);
      use(rest.first(length));
      rest = rest.subspan(length);
    }
  };
  const double cut = rate([&] { each_group([&](ByteView group) { sum += group.size(); }); });
  const double groups =
      rate([&] { each_group([&](ByteView group) { sum += segment_hash(group); }); });
  const double segments = rate([&] {
    each_group([&](ByteView group) {
      for (const Segment& segment : segments_of(group)) sum += segment.hash;
    });
  });
  std::printf(
      "{\"cut\": %.2f, \"cut_and_hash_groups\": %.2f, \"cut_twice_and_hash_segments\": %.2f, "
      "\"sum\": %llu}\n",
      cut, groups, segments, static_cast<unsigned long long>(sum));
}
