// Whatever bytes are taken for a store record, they are its one encoding.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "tracker/store_record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const p2p::ByteView bytes(data, size);
  const auto message = p2p::tracker::decode_store_message(bytes);
  if (message.has_value()) {
    const p2p::Bytes encoded = p2p::tracker::encode(*message);
    P2P_CHECK(std::equal(bytes.begin(), bytes.end(), encoded.begin(), encoded.end()));
  }
  return 0;
}
