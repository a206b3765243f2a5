// The handshake of every p2p connection: Noise_XXpsk3_25519_ChaChaPoly_SHA256, sans-IO. Bytes in,
// bytes out.
//
// Wire (docs/protocol.md is the reference):
//   initiator -> 4 bytes "p2p1" (also the Noise prologue), then u16 length and Noise message 1,
//                whose payload is the hint of psk_list.h: the responder finds the psk by it among
//                those it has, and refuses before any Diffie-Hellman otherwise.
//   responder -> u16 length and message 2, whose payload lists its ciphers: one byte each.
//   initiator -> u16 length and message 3, whose payload is the one cipher it chose, the best both
//                have.
// A responder that refuses answers message 1 with u16 length 1 and one byte, a HandshakeRefusal,
// then closes. (Only an attacker who replays a hint gets further; message 3 fails then and the
// connection is closed.)
// Stream keys: BLAKE3 derive_key("p2p 1 stream <cipher name>") of each key of Split().
//
// What each side knows: the responder, when complete, that the other side has the psk and the
// private key of `remote`, now. The initiator, when complete, knows that of the private key only;
// that the responder has the psk too it knows from the first frame that opens.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/channel.h"
#include "crypto/keys.h"
#include "crypto/psk_list.h"

namespace p2p {

inline constexpr std::size_t kMaxHandshakeMessageBytes = 512;

enum class HandshakeRefusal : std::uint8_t {
  kUnknownSecret = 1,
  kBusy = 2,
};

// The bytes of a refusal, for a responder that has no room for a connection: to be sent in place of
// a Handshake's output, whatever has arrived so far, before the connection is closed.
Bytes handshake_refusal(HandshakeRefusal reason);

struct HandshakeConfig {
  KeyPair static_keys;
  // The initiator uses exactly one; a responder accepts any of them.
  PskList psks;
  // In order of preference. Tests shorten it; the default is what this machine can do.
  std::vector<Cipher> ciphers = available_ciphers();
};

// What both sides know when the handshake is complete.
struct Session {
  Sealer sealer;
  Opener opener;
  PeerId remote;
  Secret psk;  // that of the config which the other side has
  Cipher cipher = Cipher::kChaCha20Poly1305;
};

class Handshake {
 public:
  enum class Role { kInitiator, kResponder };
  // A fixed ephemeral key is for tests only.
  Handshake(Role role, HandshakeConfig config, std::optional<KeyPair> ephemeral = std::nullopt);
  Handshake(Handshake&&) noexcept;
  Handshake& operator=(Handshake&&) noexcept;
  ~Handshake();

  // Takes bytes from the wire and returns how many it used: what follows the last handshake message
  // is the first sealed frame. An error (kRefused when the other side refused us or knows none of
  // our secrets, else kMalformed) ends the connection, after take_output() has been sent; every
  // later call returns it again.
  Result<std::size_t> on_bytes(ByteView bytes);

  // What must be sent now; empty when nothing. The initiator's first message is there from the
  // start.
  Bytes take_output();

  // Why the other side refused us, where it did: a busy one is worth another try later. Anybody on
  // the path can forge this.
  std::optional<HandshakeRefusal> refusal() const;

  bool complete() const;
  // Once, after complete().
  Session take_session();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace p2p
