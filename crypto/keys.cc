#include "crypto/keys.h"

#include <sodium.h>

#include <algorithm>

#include "base/check.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

constexpr int kBase64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
constexpr std::size_t kTextBytes = 43;  // ceil(32 * 8 / 6)

}  // namespace

void init_crypto() {
  P2P_CHECK(sodium_init() >= 0);
  // BLAKE3 looks at the processor on first use and notes what it found without a lock: let that
  // happen here, before there are threads.
  chunk_digest({});
}

Secret::~Secret() { sodium_memzero(bytes_.data(), bytes_.size()); }

Secret Secret::random() {
  Secret secret;
  randombytes_buf(secret.bytes_.data(), secret.bytes_.size());
  return secret;
}

std::optional<Secret> Secret::from_bytes(ByteView bytes) {
  if (bytes.size() != kSize) return std::nullopt;
  Secret secret;
  std::copy(bytes.begin(), bytes.end(), secret.bytes_.begin());
  return secret;
}

Result<Secret> Secret::parse(std::string_view text) {
  // The text never goes into an error: errors end up in logs.
  if (text.size() != kTextBytes)
    return Error{ErrorCode::kMalformed, "a secret has " + std::to_string(kTextBytes) +
                                            " characters, not " + std::to_string(text.size())};
  Secret secret;
  std::size_t written = 0;
  if (sodium_base642bin(secret.bytes_.data(), kSize, text.data(), text.size(), nullptr, &written,
                        nullptr, kBase64) != 0 ||
      written != kSize ||
      secret.reveal() != text)  // libsodium 1.0.18 takes some bytes that are no letters
    return Error{
        ErrorCode::kMalformed,
        "not a secret: its 43 characters are letters, digits, '-' and '_', copied exactly"};
  return secret;
}

std::string Secret::reveal() const {
  char text[kTextBytes + 1];
  static_assert(sizeof text == sodium_base64_ENCODED_LEN(kSize, kBase64));
  sodium_bin2base64(text, sizeof text, bytes_.data(), kSize, kBase64);
  std::string result(text, kTextBytes);
  sodium_memzero(text, sizeof text);
  return result;
}

bool Secret::operator==(const Secret& other) const {
  return sodium_memcmp(bytes_.data(), other.bytes_.data(), kSize) == 0;
}

Secret open_tracker_key() {
  return *Secret::from_bytes(Hasher::derive("p2p 1 open tracker key").finish().view());
}

KeyPair KeyPair::random() { return from_private(Secret::random()); }

KeyPair KeyPair::from_private(const Secret& private_key) {
  KeyPair pair{private_key, {}};
  static_assert(PeerId::kSize == crypto_scalarmult_BYTES);
  P2P_CHECK(crypto_scalarmult_base(pair.public_key.bytes.data(), private_key.view().data()) == 0);
  return pair;
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  randombytes_buf(&seed, sizeof seed);
  return seed;
}

}  // namespace p2p
