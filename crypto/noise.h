// The Noise protocol framework, revision 34 (https://noiseprotocol.org/noise.html), with 25519,
// ChaChaPoly and SHA256: the three objects of its section 5, named as there. It knows nothing of
// p2p; crypto/handshake.h does. Internal to crypto/ and its tests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/keys.h"

namespace p2p::noise {

inline constexpr std::size_t kTagBytes = 16;
using Hash = std::array<std::uint8_t, 32>;

// A key and its nonce counter. Not copyable: two copies would reuse nonces.
class CipherState {
 public:
  CipherState() = default;
  CipherState(const CipherState&) = delete;
  CipherState& operator=(const CipherState&) = delete;

  void initialize_key(const Secret& key);
  bool has_key() const { return key_.has_value(); }
  // Appends the ciphertext to `out`; without a key, the plaintext as it is.
  void encrypt_with_ad(ByteView ad, ByteView plaintext, Bytes& out);
  Result<Bytes> decrypt_with_ad(ByteView ad, ByteView ciphertext);

 private:
  std::optional<Secret> key_;
  std::uint64_t nonce_ = 0;
};

// The chaining key, and the hash of everything that was said.
class SymmetricState {
 public:
  explicit SymmetricState(std::string_view protocol_name);

  void mix_key(ByteView material);
  void mix_hash(ByteView data);
  void mix_key_and_hash(ByteView material);
  void encrypt_and_hash(ByteView plaintext, Bytes& out);
  Result<Bytes> decrypt_and_hash(ByteView ciphertext);
  bool has_key() const { return cipher_.has_key(); }
  const Hash& handshake_hash() const { return hash_; }
  // The keys of the two directions, the initiator's first. Keys, not CipherStates: p2p's stream
  // keys are derived from them.
  std::pair<Secret, Secret> split() const;

 private:
  CipherState cipher_;
  Secret chaining_key_;
  Hash hash_{};
};

enum class Token : std::uint8_t { kEnd, kE, kS, kEe, kEs, kSe, kPsk };

// A row of the specification's tables (sections 7.5 and 9.4). The first message is the initiator's.
struct Pattern {
  static constexpr std::size_t kMaxTokens = 4;
  std::string_view name;
  std::size_t message_count;
  bool has_psk;
  Token messages[3][kMaxTokens + 1];  // each ends with kEnd
};

inline constexpr Pattern kNN = {"NN", 2, false, {{Token::kE}, {Token::kE, Token::kEe}}};
inline constexpr Pattern kNNpsk0 = {
    "NNpsk0", 2, true, {{Token::kPsk, Token::kE}, {Token::kE, Token::kEe}}};
inline constexpr Pattern kXX = {
    "XX",
    3,
    false,
    {{Token::kE}, {Token::kE, Token::kEe, Token::kS, Token::kEs}, {Token::kS, Token::kSe}}};
inline constexpr Pattern kXXpsk3 = {"XXpsk3",
                                    3,
                                    true,
                                    {{Token::kE},
                                     {Token::kE, Token::kEe, Token::kS, Token::kEs},
                                     {Token::kS, Token::kSe, Token::kPsk}}};

// After an error the object is of no more use: its state is that of a half-read message.
class HandshakeState {
 public:
  HandshakeState(const Pattern& pattern, bool initiator, ByteView prologue,
                 const KeyPair& static_keys, const KeyPair& ephemeral_keys);

  // Any time before the psk token is reached: a responder learns whom it speaks to on the way.
  void set_psk(const Secret& psk) { psk_ = psk; }

  // Appends the message to `out`. An error is the other side's bad key.
  Status write_message(ByteView payload, Bytes& out);
  // Returns the payload.
  Result<Bytes> read_message(ByteView message);

  bool finished() const { return next_message_ == pattern_.message_count; }
  // Below: only once the message that tells it has been read or, for split, finished().
  const PeerId& remote_static() const { return *remote_static_; }
  const PeerId& remote_ephemeral() const { return *remote_ephemeral_; }
  const Hash& handshake_hash() const { return symmetric_.handshake_hash(); }
  std::pair<Secret, Secret> split() const;

 private:
  // Of the next message; aborts where the other side should write it.
  const Token* begin_message(bool writing);
  Status read_ephemeral(ByteView& message);
  Status read_static(ByteView& message);
  void mix_ephemeral(const PeerId& key);
  // The tokens that put nothing on the wire.
  Status mix_secret(Token token);
  Status mix_dh(const KeyPair& ours, const std::optional<PeerId>& theirs);

  const Pattern& pattern_;
  const bool initiator_;
  std::size_t next_message_ = 0;
  SymmetricState symmetric_;
  KeyPair static_;
  KeyPair ephemeral_;
  std::optional<PeerId> remote_static_;
  std::optional<PeerId> remote_ephemeral_;
  std::optional<Secret> psk_;
};

}  // namespace p2p::noise
