// Arbitrary bytes as an outline and as a detail: refused, or one that covers what it must.
//
// Input: a byte says which of the two, then its bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "content/outline.h"

namespace {

using namespace p2p;

void try_outline(ByteView bytes) {
  std::uint64_t total = 0;
  for (std::size_t at = 0; at + kGroupRecordBytes <= bytes.size(); at += kGroupRecordBytes)
    total += std::uint32_t{bytes[at]} << 16 | get_u16(bytes.data() + at + 1);
  const auto outline = decode_outline(bytes, total);
  if (!outline) return;
  const Bytes again = encode_outline(*outline);
  P2P_CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  P2P_CHECK(outline->groups.empty() || outline->end_of(outline->groups.size() - 1) == total);
}

void try_detail(ByteView bytes) {
  const Outline outline({{1000, 1}, {700, 2}, {5, 3}});
  const auto segments = decode_detail(bytes, outline, 0, 3);
  if (!segments) return;
  std::uint64_t total = 0;
  for (const Segment& segment : *segments) total += segment.bytes;
  P2P_CHECK(total == 1705);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView bytes(data + 1, size - 1);
  data[0] % 2 == 0 ? try_outline(bytes) : try_detail(bytes);
  return 0;
}
