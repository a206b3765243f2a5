// AES-256-GCM for large frames, by OpenSSL's libcrypto: there it runs at about twice the speed of
// libsodium's, which has one block of GHASH behind it where OpenSSL interleaves six. Small frames
// stay with libsodium, whose calls need no set-up. The bytes are the same.
#pragma once

#include <cstddef>
#include <memory>

#include "base/bytes.h"
#include "crypto/keys.h"

namespace p2p {

// One direction of one stream key. Not thread-safe.
class BulkGcm {
 public:
  enum class Direction { kEncrypt, kDecrypt };
  // Takes about a millisecond the first time in a process. About 1.5 KiB of memory each.
  BulkGcm(const Secret& key, Direction direction);

  // In place. `nonce` has 12 bytes and `tag` 16; no nonce may be used twice for encryption.
  void encrypt(ByteView nonce, ByteView additional, MutableBytes body, MutableBytes tag);
  // False: it was tampered with; what the body holds then is of no meaning.
  bool decrypt(ByteView nonce, ByteView additional, MutableBytes body, MutableBytes tag);

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;  // EVP_CIPHER_CTX; wiped when it is freed
};

}  // namespace p2p
