// Arbitrary bytes to the opener of datagrams. All keys are fixed, so that the seeds of
// corpus/datagram/ open.
//
// Input: datagrams, each after its length (u16, big-endian), to one opener.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>

#include "base/check.h"
#include "crypto/datagram.h"
#include "crypto/keys.h"

namespace {

using namespace p2p;

// The corpus was made with the same fills: 1 and 2 the cluster keys, 3 the sender, 4 the receiver,
// 7 both epochs.
Keyring fixed_ring() {
  return *Keyring::of(
      {*Secret::from_bytes(Bytes(Secret::kSize, 1)), *Secret::from_bytes(Bytes(Secret::kSize, 2))});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool started = (init_crypto(), true);
  static const Keyring ring = fixed_ring();
  if (!started) return 0;
  DatagramOpener opener(*PeerId::from_bytes(Bytes(PeerId::kSize, 4)), 7, ring);
  ByteView rest(data, size);
  std::size_t taken = 0;
  while (rest.size() >= 2) {
    const std::size_t length = std::min<std::size_t>(get_u16(rest.data()), rest.size() - 2);
    const Bytes datagram(rest.begin() + 2, rest.begin() + 2 + static_cast<std::ptrdiff_t>(length));
    rest = rest.subspan(2 + length);
    Bytes copy = datagram;
    const auto opening = opener.open(copy);
    const OpenedDatagram* opened = std::get_if<OpenedDatagram>(&opening);
    if (!opened) continue;
    ++taken;
    P2P_CHECK(opened->packet.size() + kDatagramOverhead == length && opened->key_index <= 1);
    // A bound one is not taken twice.
    copy = datagram;
    P2P_CHECK(opened->greeting || std::holds_alternative<DatagramRefusal>(opener.open(copy)));
  }
  P2P_CHECK(opener.known_senders() <= taken);
  return 0;
}
