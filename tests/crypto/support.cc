#include "tests/crypto/support.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/check.h"

namespace p2p::test {
namespace {

// Every test of this binary needs it, and Catch's main() is shared with rooms that do not.
[[maybe_unused]] const bool kStarted = (init_crypto(), true);

void deliver(Handshake& to, ByteView bytes, std::optional<Error>& error) {
  if (error) return;
  const Result<std::size_t> used = to.on_bytes(bytes);
  if (!used) error = used.error();
}

}  // namespace

Bytes from_hex(std::string_view hex) {
  const std::string text = absl::HexStringToBytes(absl::string_view(hex.data(), hex.size()));
  return Bytes(text.begin(), text.end());
}

std::string to_hex(ByteView bytes) {
  const std::string_view text = text_of(bytes);
  return absl::BytesToHexString(absl::string_view(text.data(), text.size()));
}

Bytes random_bytes(Random& random, std::size_t count) {
  Bytes bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
  return bytes;
}

Secret random_secret(Random& random) {
  return *Secret::from_bytes(random_bytes(random, Secret::kSize));
}

KeyPair random_keys(Random& random) { return KeyPair::from_private(random_secret(random)); }

HandshakeConfig config_with(Random& random, const Secret& psk) {
  return HandshakeConfig{.static_keys = random_keys(random), .psks = {psk}};
}

Pair::Pair(HandshakeConfig initiator_config, HandshakeConfig responder_config, Random& random)
    : initiator(Handshake::Role::kInitiator, std::move(initiator_config), random_keys(random)),
      responder(Handshake::Role::kResponder, std::move(responder_config), random_keys(random)) {}

void Pair::run() {
  for (;;) {
    const Bytes forth = initiator.take_output();
    if (!forth.empty()) wire.push_back(forth), deliver(responder, forth, responder_error);
    const Bytes back = responder.take_output();
    if (!back.empty()) wire.push_back(back), deliver(initiator, back, initiator_error);
    if (forth.empty() && back.empty()) return;
  }
}

Bytes seal(Sealer& sealer, FrameKind kind, ByteView body) {
  Bytes frame(kFrameHeaderBytes);
  frame.insert(frame.end(), body.begin(), body.end());
  frame.resize(frame.size() + kFrameTagBytes);
  sealer.seal(kind, frame);
  return frame;
}

bool opens_as(Opener& opener, Bytes frame, ByteView body) {
  const Result<MutableBytes> opened = opener.open(frame);
  return opened && std::equal(opened->begin(), opened->end(), body.begin(), body.end());
}

bool sessions_match(Session& a, Session& b) {
  const ByteView forth = bytes_of("forth"), back = bytes_of("and back");
  return a.cipher == b.cipher &&
         opens_as(b.opener, seal(a.sealer, FrameKind::kMessage, forth), forth) &&
         opens_as(a.opener, seal(b.sealer, FrameKind::kData, back), back);
}

RogueInitiator::RogueInitiator(const Secret& psk, const KeyPair& static_keys,
                               const KeyPair& ephemeral_keys)
    : ephemeral(ephemeral_keys),
      psks{psk},
      noise(noise::kXXpsk3, true, bytes_of("p2p1"), static_keys, ephemeral_keys) {
  noise.set_psk(psk);
}

Bytes RogueInitiator::message1(std::optional<Bytes> payload) {
  const PskHint hint = psks.hint(0, ephemeral.public_key);
  Bytes message;
  P2P_CHECK(noise.write_message(payload ? ByteView(*payload) : ByteView(hint), message));
  Bytes bytes = {'p', '2', 'p', '1'};
  const Bytes rest = framed(message);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

Bytes RogueInitiator::message3(ByteView message2, ByteView payload) {
  P2P_CHECK(noise.read_message(message2.subspan(2)));
  Bytes message;
  P2P_CHECK(noise.write_message(payload, message));
  return framed(message);
}

Bytes framed(ByteView message) {
  Bytes bytes(2);
  put_u16(bytes.data(), static_cast<std::uint16_t>(message.size()));
  bytes.insert(bytes.end(), message.begin(), message.end());
  return bytes;
}

}  // namespace p2p::test
