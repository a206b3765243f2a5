// The sealed stream after the handshake: frames are sealed and opened in place, each under the next
// nonce of its direction, so that a frame that is replayed, moved, cut or changed does not open.
//
// Frame on the wire: u32 header (big-endian), ciphertext, 16-byte tag.
//   header bit 31: 1 for a data frame (chunk bytes), 0 for a message frame
//   header bits 0..23: bytes of ciphertext without the tag; all others must be 0
// The header is authenticated as additional data. Nonce: 4 zero bytes and the 64-bit frame counter,
// big-endian.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/result.h"
#include "crypto/keys.h"

namespace p2p {

enum class Cipher : std::uint8_t { kAes256Gcm = 1, kChaCha20Poly1305 = 2 };
std::string_view cipher_name(Cipher cipher);  // "AES-256-GCM", "ChaCha20-Poly1305"
std::vector<Cipher> available_ciphers();      // best first; AES only where the instructions are

inline constexpr std::size_t kFrameHeaderBytes = 4;
inline constexpr std::size_t kFrameTagBytes = 16;
inline constexpr std::size_t kFrameOverheadBytes = kFrameHeaderBytes + kFrameTagBytes;

// The body of a data frame: eight bytes that name the chunk and offset, and the payload.
inline constexpr std::size_t kMaxDataBodyBytes = 8 + kMaxDataPayloadBytes;

enum class FrameKind : std::uint8_t { kMessage, kData };

struct FrameHeader {
  FrameKind kind;
  // Of plaintext; the frame takes body_bytes + kFrameOverheadBytes on the wire.
  std::size_t body_bytes;
};

// Reads a header and holds it against the limits: kMaxMessageBytes and kMaxDataBodyBytes (kLimit
// past them, kMalformed where reserved bits are set). Needs kFrameHeaderBytes bytes.
Result<FrameHeader> parse_frame_header(ByteView bytes);

class FrameKey;

// One direction's key and frame counter. Movable, not copyable: two copies would reuse nonces. One
// key may seal 2^64-1 frames; AES-GCM's own bound (2^48 blocks with a margin of 2^-33) is 4 PiB a
// connection, so there is no rekeying. No call allocates or copies the body. Not thread-safe: it
// belongs to the lane of its connection.
class Sealer {
 public:
  Sealer(Cipher cipher, const Secret& key);
  Sealer(Sealer&&) noexcept;
  Sealer& operator=(Sealer&&) noexcept;
  ~Sealer();
  // `frame` is kFrameHeaderBytes, the plaintext body, kFrameTagBytes: header and tag are written,
  // the body becomes ciphertext in place. A body past the limits of its kind is a bug.
  void seal(FrameKind kind, MutableBytes frame);

 private:
  std::unique_ptr<FrameKey> key_;
  std::uint64_t counter_ = 0;
};

class Opener {
 public:
  Opener(Cipher cipher, const Secret& key);
  Opener(Opener&&) noexcept;
  Opener& operator=(Opener&&) noexcept;
  ~Opener();
  // Opens a whole frame in place and returns the view of its body within it. An error (kMalformed)
  // means that it was tampered with: the connection must end. Nothing opens after an error, so that
  // a caller who forgets to end it cannot be led past a frame that was cut out.
  Result<MutableBytes> open(MutableBytes frame);

 private:
  std::unique_ptr<FrameKey> key_;
  std::uint64_t counter_ = 0;
  bool failed_ = false;
};

}  // namespace p2p
