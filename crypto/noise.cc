#include "crypto/noise.h"

#include <sodium.h>

#include <algorithm>
#include <limits>
#include <string>

#include "base/check.h"

namespace p2p::noise {
namespace {

Error malformed(const char* message) { return Error{ErrorCode::kMalformed, message}; }

Hash sha256(ByteView first, ByteView second) {
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  crypto_hash_sha256_update(&state, first.data(), first.size());
  crypto_hash_sha256_update(&state, second.data(), second.size());
  Hash hash;
  crypto_hash_sha256_final(&state, hash.data());
  return hash;
}

Secret hmac(const Secret& key, ByteView first, ByteView second) {
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key.view().data(), key.view().size());
  crypto_auth_hmacsha256_update(&state, first.data(), first.size());
  crypto_auth_hmacsha256_update(&state, second.data(), second.size());
  Hash tag;
  crypto_auth_hmacsha256_final(&state, tag.data());
  const Secret result = *Secret::from_bytes(tag);
  sodium_memzero(tag.data(), tag.size());
  sodium_memzero(&state, sizeof state);
  return result;
}

// HKDF of section 4.3 with three outputs. The first ones do not depend on how many are made, so
// that this serves where two are wanted.
std::array<Secret, 3> hkdf(const Secret& chaining_key, ByteView material) {
  const Secret temporary = hmac(chaining_key, material, {});
  const std::uint8_t counters[] = {1, 2, 3};
  const ByteView bytes = counters;
  const Secret first = hmac(temporary, {}, bytes.subspan(0, 1));
  const Secret second = hmac(temporary, first.view(), bytes.subspan(1, 1));
  return {first, second, hmac(temporary, second.view(), bytes.subspan(2, 1))};
}

// 32 zero bits and the counter, little-endian (section 12.3).
std::array<std::uint8_t, 12> nonce_of(std::uint64_t counter) {
  std::array<std::uint8_t, 12> nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[4 + i] = static_cast<std::uint8_t>(counter >> (8 * i));
  return nonce;
}

}  // namespace

void CipherState::initialize_key(const Secret& key) {
  key_ = key;
  nonce_ = 0;
}

void CipherState::encrypt_with_ad(ByteView ad, ByteView plaintext, Bytes& out) {
  if (!key_) {
    out.insert(out.end(), plaintext.begin(), plaintext.end());
    return;
  }
  P2P_CHECK(nonce_ != std::numeric_limits<std::uint64_t>::max());
  const std::size_t start = out.size();
  out.resize(start + plaintext.size() + kTagBytes);
  crypto_aead_chacha20poly1305_ietf_encrypt(out.data() + start, nullptr, plaintext.data(),
                                            plaintext.size(), ad.data(), ad.size(), nullptr,
                                            nonce_of(nonce_++).data(), key_->view().data());
}

Result<Bytes> CipherState::decrypt_with_ad(ByteView ad, ByteView ciphertext) {
  if (!key_) return Bytes(ciphertext.begin(), ciphertext.end());
  P2P_CHECK(nonce_ != std::numeric_limits<std::uint64_t>::max());
  if (ciphertext.size() < kTagBytes) return malformed("a handshake message is too short");
  Bytes plaintext(ciphertext.size() - kTagBytes);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(
          plaintext.data(), nullptr, nullptr, ciphertext.data(), ciphertext.size(), ad.data(),
          ad.size(), nonce_of(nonce_).data(), key_->view().data()) != 0)
    return malformed(
        "a handshake message does not open: it was changed on its way or made without the secret");
  ++nonce_;
  return plaintext;
}

SymmetricState::SymmetricState(std::string_view protocol_name) {
  const ByteView name = bytes_of(protocol_name);
  if (name.size() <= hash_.size())
    std::copy(name.begin(), name.end(), hash_.begin());
  else
    hash_ = sha256(name, {});
  chaining_key_ = *Secret::from_bytes(hash_);
}

void SymmetricState::mix_key(ByteView material) {
  const auto [chaining_key, key, unused] = hkdf(chaining_key_, material);
  chaining_key_ = chaining_key;
  cipher_.initialize_key(key);
}

void SymmetricState::mix_hash(ByteView data) { hash_ = sha256(hash_, data); }

void SymmetricState::mix_key_and_hash(ByteView material) {
  const auto [chaining_key, hash_material, key] = hkdf(chaining_key_, material);
  chaining_key_ = chaining_key;
  mix_hash(hash_material.view());
  cipher_.initialize_key(key);
}

void SymmetricState::encrypt_and_hash(ByteView plaintext, Bytes& out) {
  const std::size_t start = out.size();
  cipher_.encrypt_with_ad(hash_, plaintext, out);
  mix_hash(ByteView(out).subspan(start));
}

Result<Bytes> SymmetricState::decrypt_and_hash(ByteView ciphertext) {
  P2P_ASSIGN(Bytes plaintext, cipher_.decrypt_with_ad(hash_, ciphertext));
  mix_hash(ciphertext);
  return plaintext;
}

std::pair<Secret, Secret> SymmetricState::split() const {
  const auto [initiator, responder, unused] = hkdf(chaining_key_, {});
  return {initiator, responder};
}

HandshakeState::HandshakeState(const Pattern& pattern, bool initiator, ByteView prologue,
                               const KeyPair& static_keys, const KeyPair& ephemeral_keys)
    : pattern_(pattern),
      initiator_(initiator),
      symmetric_("Noise_" + std::string(pattern.name) + "_25519_ChaChaPoly_SHA256"),
      static_(static_keys),
      ephemeral_(ephemeral_keys) {
  symmetric_.mix_hash(prologue);
}

Status HandshakeState::write_message(ByteView payload, Bytes& out) {
  for (const Token* token = begin_message(true); *token != Token::kEnd; ++token) {
    if (*token == Token::kE) {
      const ByteView key = ephemeral_.public_key.view();
      out.insert(out.end(), key.begin(), key.end());
      mix_ephemeral(ephemeral_.public_key);
    } else if (*token == Token::kS) {
      symmetric_.encrypt_and_hash(static_.public_key.view(), out);
    } else {
      P2P_TRY(mix_secret(*token));
    }
  }
  symmetric_.encrypt_and_hash(payload, out);
  ++next_message_;
  return {};
}

Result<Bytes> HandshakeState::read_message(ByteView message) {
  for (const Token* token = begin_message(false); *token != Token::kEnd; ++token) {
    if (*token == Token::kE)
      P2P_TRY(read_ephemeral(message));
    else if (*token == Token::kS)
      P2P_TRY(read_static(message));
    else
      P2P_TRY(mix_secret(*token));
  }
  P2P_ASSIGN(Bytes payload, symmetric_.decrypt_and_hash(message));
  ++next_message_;
  return payload;
}

std::pair<Secret, Secret> HandshakeState::split() const {
  P2P_CHECK(finished());
  return symmetric_.split();
}

const Token* HandshakeState::begin_message(bool writing) {
  P2P_CHECK(!finished());
  const bool initiator_writes = next_message_ % 2 == 0;
  P2P_CHECK(writing == (initiator_ == initiator_writes));
  return pattern_.messages[next_message_];
}

Status HandshakeState::read_ephemeral(ByteView& message) {
  if (message.size() < PeerId::kSize) return malformed("a handshake message is too short");
  remote_ephemeral_ = PeerId::from_bytes(message.first(PeerId::kSize));
  message = message.subspan(PeerId::kSize);
  mix_ephemeral(*remote_ephemeral_);
  return {};
}

Status HandshakeState::read_static(ByteView& message) {
  const std::size_t length = PeerId::kSize + (symmetric_.has_key() ? kTagBytes : 0);
  if (message.size() < length) return malformed("a handshake message is too short");
  P2P_ASSIGN(const Bytes key, symmetric_.decrypt_and_hash(message.first(length)));
  remote_static_ = PeerId::from_bytes(key);
  message = message.subspan(length);
  return {};
}

void HandshakeState::mix_ephemeral(const PeerId& key) {
  symmetric_.mix_hash(key.view());
  // Section 9.2: with a psk, so that the key of each message depends on a fresh random value.
  if (pattern_.has_psk) symmetric_.mix_key(key.view());
}

Status HandshakeState::mix_secret(Token token) {
  switch (token) {
    case Token::kEe:
      return mix_dh(ephemeral_, remote_ephemeral_);
    case Token::kEs:
      return initiator_ ? mix_dh(ephemeral_, remote_static_) : mix_dh(static_, remote_ephemeral_);
    case Token::kSe:
      return initiator_ ? mix_dh(static_, remote_ephemeral_) : mix_dh(ephemeral_, remote_static_);
    default:
      P2P_CHECK(token == Token::kPsk && psk_);
      symmetric_.mix_key_and_hash(psk_->view());
      return {};
  }
}

Status HandshakeState::mix_dh(const KeyPair& ours, const std::optional<PeerId>& theirs) {
  P2P_CHECK(theirs);
  Hash shared;
  // libsodium refuses points of low order: with one, the result would be all zero, whatever our
  // key.
  if (crypto_scalarmult(shared.data(), ours.private_key.view().data(), theirs->view().data()) != 0)
    return malformed("the other side's key is not a proper one");
  symmetric_.mix_key(shared);
  sodium_memzero(shared.data(), shared.size());
  return {};
}

}  // namespace p2p::noise
