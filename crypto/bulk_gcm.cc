#include "crypto/bulk_gcm.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/check.h"

namespace p2p {
namespace {

EVP_CIPHER_CTX* context_in(void* context) { return static_cast<EVP_CIPHER_CTX*>(context); }

// Looked up once: that takes longer than a frame. Nothing of the host's configuration of OpenSSL is
// heeded, so that the one binary does the same everywhere.
const EVP_CIPHER* aes_256_gcm() {
  static const EVP_CIPHER* const cipher = [] {
    P2P_CHECK(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, nullptr) ==
              1);
    const EVP_CIPHER* found = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
    P2P_CHECK(found != nullptr);
    return found;
  }();
  return cipher;
}

}  // namespace

void BulkGcm::Free::operator()(void* context) const { EVP_CIPHER_CTX_free(context_in(context)); }

BulkGcm::BulkGcm(const Secret& key, Direction direction) : context_(EVP_CIPHER_CTX_new()) {
  P2P_CHECK(context_ != nullptr);
  P2P_CHECK(EVP_CipherInit_ex(context_in(context_.get()), aes_256_gcm(), nullptr, key.view().data(),
                              nullptr, direction == Direction::kEncrypt ? 1 : 0) == 1);
}

void BulkGcm::encrypt(ByteView nonce, ByteView additional, MutableBytes body, MutableBytes tag) {
  EVP_CIPHER_CTX* const context = context_in(context_.get());
  int written = 0;
  P2P_CHECK(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
            EVP_EncryptUpdate(context, nullptr, &written, additional.data(),
                              static_cast<int>(additional.size())) == 1 &&
            EVP_EncryptUpdate(context, body.data(), &written, body.data(),
                              static_cast<int>(body.size())) == 1 &&
            EVP_EncryptFinal_ex(context, body.data(), &written) == 1 &&
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag.size()),
                                tag.data()) == 1);
}

bool BulkGcm::decrypt(ByteView nonce, ByteView additional, MutableBytes body, MutableBytes tag) {
  EVP_CIPHER_CTX* const context = context_in(context_.get());
  int written = 0;
  P2P_CHECK(EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
            EVP_DecryptUpdate(context, nullptr, &written, additional.data(),
                              static_cast<int>(additional.size())) == 1 &&
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                                tag.data()) == 1);
  return EVP_DecryptUpdate(context, body.data(), &written, body.data(),
                           static_cast<int>(body.size())) == 1 &&
         EVP_DecryptFinal_ex(context, body.data(), &written) == 1;
}

}  // namespace p2p
