// Arbitrary bytes to a handshake and, where they complete it, to the frames after it. All keys are
// fixed, so that the seeds of corpus/handshake/ get all the way through.
//
// Input: a byte of switches, then what comes from the wire. Bit 0: the side under test is the
// initiator. Bit 1: the bytes arrive one at a time.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "crypto/handshake.h"
#include "crypto/keys.h"

namespace {

using namespace p2p;

Secret fixed_secret(std::uint8_t fill) { return *Secret::from_bytes(Bytes(Secret::kSize, fill)); }

KeyPair fixed_keys(std::uint8_t fill) { return KeyPair::from_private(fixed_secret(fill)); }

// The corpus was made with the same fills: 1 the initiator's key, 2 its ephemeral one, 3 and 4 the
// responder's, 5 the psk.
Handshake make_side(bool initiator) {
  static const PskList responder_psks{fixed_secret(6), fixed_secret(5)};
  static const PskList initiator_psks{fixed_secret(5)};
  HandshakeConfig config{.static_keys = fixed_keys(initiator ? 1 : 3),
                         .psks = initiator ? initiator_psks : responder_psks,
                         .ciphers = {Cipher::kChaCha20Poly1305}};
  return Handshake(initiator ? Handshake::Role::kInitiator : Handshake::Role::kResponder, config,
                   fixed_keys(initiator ? 2 : 4));
}

void open_frames(Opener& opener, ByteView rest) {
  while (rest.size() >= kFrameHeaderBytes) {
    const Result<FrameHeader> header = parse_frame_header(rest);
    if (!header) return;
    const std::size_t frame_bytes = header->body_bytes + kFrameOverheadBytes;
    if (rest.size() < frame_bytes) return;
    Bytes frame(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(frame_bytes));
    const Result<MutableBytes> body = opener.open(frame);
    if (!body) return;
    P2P_CHECK(body->size() == header->body_bytes);
    rest = rest.subspan(frame_bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool started = (init_crypto(), true);
  if (!started || size == 0) return 0;
  const bool one_at_a_time = (data[0] & 2) != 0;
  Handshake side = make_side((data[0] & 1) != 0);
  ByteView rest(data + 1, size - 1);
  while (!rest.empty() && !side.complete()) {
    const ByteView part = rest.first(one_at_a_time ? 1 : rest.size());
    const Result<std::size_t> used = side.on_bytes(part);
    side.take_output();
    if (!used) {
      P2P_CHECK(!side.complete() && !side.on_bytes(part).has_value());
      return 0;
    }
    P2P_CHECK(*used <= part.size() && (*used == part.size() || side.complete()));
    rest = rest.subspan(*used);
  }
  if (!side.complete()) return 0;
  Session session = side.take_session();
  P2P_CHECK(session.cipher == Cipher::kChaCha20Poly1305);
  open_frames(session.opener, rest);
  return 0;
}
