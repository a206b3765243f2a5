// Whatever bytes are taken for a manifest are its one encoding, and what it says is within bounds.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "content/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const p2p::ByteView bytes(data, size);
  const auto manifest = p2p::decode_manifest(bytes);
  if (!manifest.has_value()) return 0;
  const p2p::Bytes encoded = p2p::encode_manifest(*manifest);
  P2P_CHECK(std::equal(bytes.begin(), bytes.end(), encoded.begin(), encoded.end()));
  const p2p::Layout layout = manifest->layout();
  P2P_CHECK(layout.total_bytes <= p2p::kMaxContentBytes);
  P2P_CHECK(layout.chunk_count() == manifest->chunk_hashes.size());
  const auto [first, second] = p2p::first_colliding_paths(*manifest);
  P2P_CHECK(first.empty() == second.empty());
  return 0;
}
