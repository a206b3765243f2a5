// Arbitrary bytes to the decoder of gossip packets. What it takes has one spelling: encoding gives
// the same bytes, and as many as are said beforehand.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "gossip/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace p2p;
  const ByteView bytes(data, size);
  const auto packet = gossip::decode_packet(bytes);
  if (!packet) return 0;
  const Bytes again = gossip::encode_packet(*packet);
  P2P_CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  P2P_CHECK(gossip::encoded_bytes(*packet) == size && size <= gossip::kMaxPacketBytes);
  return 0;
}
