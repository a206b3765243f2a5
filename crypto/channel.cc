#include "crypto/channel.h"

#include <sodium.h>

#include <array>
#include <limits>
#include <optional>
#include <string>

#include "base/check.h"
#include "crypto/bulk_gcm.h"

namespace p2p {
namespace {

constexpr std::uint32_t kDataBit = 0x80000000u;
constexpr std::uint32_t kLengthMask = 0x00ffffffu;
static_assert(kMaxMessageBytes <= kLengthMask && kMaxDataBodyBytes <= kLengthMask);

using Nonce = std::array<std::uint8_t, 12>;

Nonce nonce_of(std::uint64_t counter) {
  Nonce nonce{};
  put_u64(nonce.data() + 4, counter);
  return nonce;
}

std::size_t max_body_bytes(FrameKind kind) {
  return kind == FrameKind::kData ? kMaxDataBodyBytes : kMaxMessageBytes;
}

Error tampered() {
  return Error{ErrorCode::kMalformed,
               "a frame does not open: it was changed, dropped, repeated or moved on its way"};
}

// From here on OpenSSL is faster than libsodium (crypto/bulk_gcm.h): measured, they are even at 1
// to 2 KiB.
constexpr std::size_t kLeastBulkBytes = 4096;

// A whole frame, taken apart.
struct FrameParts {
  explicit FrameParts(MutableBytes frame)
      : header(frame.first(kFrameHeaderBytes)),
        body(frame.subspan(kFrameHeaderBytes, frame.size() - kFrameOverheadBytes)),
        tag(frame.last(kFrameTagBytes)) {}
  MutableBytes header;
  MutableBytes body;
  MutableBytes tag;
};

}  // namespace

// A stream key made ready: AES's key schedule and GCM's tables are computed once.
class FrameKey {
 public:
  FrameKey(Cipher cipher, const Secret& key) : cipher_(cipher), key_(key) {
    if (cipher == Cipher::kChaCha20Poly1305) return;
    P2P_CHECK(cipher == Cipher::kAes256Gcm && crypto_aead_aes256gcm_is_available());
    P2P_CHECK(crypto_aead_aes256gcm_beforenm(&aes_, key.view().data()) == 0);
  }
  FrameKey(const FrameKey&) = delete;
  FrameKey& operator=(const FrameKey&) = delete;
  ~FrameKey() { sodium_memzero(&aes_, sizeof aes_); }

  void encrypt(const FrameParts& frame, std::uint64_t counter) {
    const Nonce nonce = nonce_of(counter);
    if (is_bulk(frame))
      bulk(BulkGcm::Direction::kEncrypt).encrypt(nonce, frame.header, frame.body, frame.tag);
    else if (cipher_ == Cipher::kAes256Gcm)
      crypto_aead_aes256gcm_encrypt_detached_afternm(
          frame.body.data(), frame.tag.data(), nullptr, frame.body.data(), frame.body.size(),
          frame.header.data(), frame.header.size(), nullptr, nonce.data(), &aes_);
    else
      crypto_aead_chacha20poly1305_ietf_encrypt_detached(
          frame.body.data(), frame.tag.data(), nullptr, frame.body.data(), frame.body.size(),
          frame.header.data(), frame.header.size(), nullptr, nonce.data(), key_.view().data());
  }

  bool decrypt(const FrameParts& frame, std::uint64_t counter) {
    const Nonce nonce = nonce_of(counter);
    if (is_bulk(frame))
      return bulk(BulkGcm::Direction::kDecrypt).decrypt(nonce, frame.header, frame.body, frame.tag);
    if (cipher_ == Cipher::kAes256Gcm)
      return crypto_aead_aes256gcm_decrypt_detached_afternm(
                 frame.body.data(), nullptr, frame.body.data(), frame.body.size(), frame.tag.data(),
                 frame.header.data(), frame.header.size(), nonce.data(), &aes_) == 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
               frame.body.data(), nullptr, frame.body.data(), frame.body.size(), frame.tag.data(),
               frame.header.data(), frame.header.size(), nonce.data(), key_.view().data()) == 0;
  }

 private:
  bool is_bulk(const FrameParts& frame) const {
    return cipher_ == Cipher::kAes256Gcm && frame.body.size() >= kLeastBulkBytes;
  }
  // Made for the first frame that needs it: most connections of a tracker never do.
  BulkGcm& bulk(BulkGcm::Direction direction) {
    if (!bulk_) bulk_.emplace(key_, direction);
    return *bulk_;
  }

  Cipher cipher_;
  Secret key_;
  crypto_aead_aes256gcm_state aes_{};
  std::optional<BulkGcm> bulk_;  // a key serves one direction
};
static_assert(alignof(FrameKey) >= 16, "libsodium needs its AES context on 16 bytes");

std::string_view cipher_name(Cipher cipher) {
  return cipher == Cipher::kAes256Gcm ? "AES-256-GCM" : "ChaCha20-Poly1305";
}

std::vector<Cipher> available_ciphers() {
  if (crypto_aead_aes256gcm_is_available()) return {Cipher::kAes256Gcm, Cipher::kChaCha20Poly1305};
  return {Cipher::kChaCha20Poly1305};
}

Result<FrameHeader> parse_frame_header(ByteView bytes) {
  P2P_CHECK(bytes.size() >= kFrameHeaderBytes);
  const std::uint32_t word = get_u32(bytes.data());
  if ((word & ~(kDataBit | kLengthMask)) != 0)
    return Error{ErrorCode::kMalformed, "a frame header has bits set that this version lacks"};
  const FrameHeader header{word & kDataBit ? FrameKind::kData : FrameKind::kMessage,
                           word & kLengthMask};
  if (header.body_bytes > max_body_bytes(header.kind))
    return Error{ErrorCode::kLimit,
                 "a frame claims " + std::to_string(header.body_bytes) + " bytes; at most " +
                     std::to_string(max_body_bytes(header.kind)) + " are allowed"};
  return header;
}

Sealer::Sealer(Cipher cipher, const Secret& key) : key_(std::make_unique<FrameKey>(cipher, key)) {}
Sealer::Sealer(Sealer&&) noexcept = default;
Sealer& Sealer::operator=(Sealer&&) noexcept = default;
Sealer::~Sealer() = default;

void Sealer::seal(FrameKind kind, MutableBytes frame) {
  P2P_CHECK(key_ && frame.size() >= kFrameOverheadBytes);
  const FrameParts parts(frame);
  P2P_CHECK(parts.body.size() <= max_body_bytes(kind));
  // A nonce used twice would give the key stream away.
  P2P_CHECK(counter_ != std::numeric_limits<std::uint64_t>::max());
  put_u32(parts.header.data(), (kind == FrameKind::kData ? kDataBit : 0) |
                                   static_cast<std::uint32_t>(parts.body.size()));
  key_->encrypt(parts, counter_++);
}

Opener::Opener(Cipher cipher, const Secret& key) : key_(std::make_unique<FrameKey>(cipher, key)) {}
Opener::Opener(Opener&&) noexcept = default;
Opener& Opener::operator=(Opener&&) noexcept = default;
Opener::~Opener() = default;

Result<MutableBytes> Opener::open(MutableBytes frame) {
  P2P_CHECK(key_);
  if (failed_ || frame.size() < kFrameOverheadBytes) {
    failed_ = true;
    return tampered();
  }
  const FrameParts parts(frame);
  const Result<FrameHeader> header = parse_frame_header(parts.header);
  if (!header || header->body_bytes != parts.body.size() ||
      counter_ == std::numeric_limits<std::uint64_t>::max() || !key_->decrypt(parts, counter_)) {
    failed_ = true;
    return tampered();
  }
  ++counter_;
  return parts.body;
}

}  // namespace p2p
