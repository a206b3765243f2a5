// Arbitrary bytes as a message between peers: refused, or a message with exactly this encoding.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "peer/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const p2p::ByteView bytes(data, size);
  const auto message = p2p::peer::decode(bytes);
  if (!message) return 0;
  const p2p::Bytes again = p2p::peer::encode(*message);
  P2P_CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  return 0;
}
