// What the tests of crypto/ share: keys from a seed, and two sides talking.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "crypto/handshake.h"
#include "crypto/keys.h"
#include "crypto/noise.h"

namespace p2p::test {

inline constexpr std::uint64_t kSeed = 20240607;  // printed by the tests that draw from it

Bytes from_hex(std::string_view hex);
std::string to_hex(ByteView bytes);
Bytes random_bytes(Random& random, std::size_t count);
Secret random_secret(Random& random);
KeyPair random_keys(Random& random);

// A config with one psk; the ciphers are this machine's.
HandshakeConfig config_with(Random& random, const Secret& psk);

// A handshake between two sides and, for tests that meddle with it, what goes over the wire.
struct Pair {
  Pair(HandshakeConfig initiator_config, HandshakeConfig responder_config, Random& random);

  // Carries the output of each side to the other until both are silent.
  void run();

  Handshake initiator;
  Handshake responder;
  std::vector<Bytes> wire;  // what run() carried, in order
  std::optional<Error> initiator_error;
  std::optional<Error> responder_error;
};

// A frame with room for `body`, sealed.
Bytes seal(Sealer& sealer, FrameKind kind, ByteView body);
// Does it open, with this body?
bool opens_as(Opener& opener, Bytes frame, ByteView body);
// Do both directions carry a frame?
bool sessions_match(Session& a, Session& b);

// An initiator that knows the psk and the protocol but does as it likes.
struct RogueInitiator {
  RogueInitiator(const Secret& psk, const KeyPair& static_keys, const KeyPair& ephemeral);
  // Message 1 with magic and length; the payload is the proper hint unless given.
  Bytes message1(std::optional<Bytes> payload = std::nullopt);
  // Reads message 2 and answers with this payload.
  Bytes message3(ByteView message2, ByteView payload);

  KeyPair ephemeral;
  PskList psks;
  noise::HandshakeState noise;
};

// Puts the length in front.
Bytes framed(ByteView message);

}  // namespace p2p::test
