#include "crypto/digest.h"

#include <blake3.h>
#include <sodium.h>

#include <cstddef>
#include <new>
#include <type_traits>

namespace p2p {
namespace {

blake3_hasher* hasher_in(std::uint8_t* state) {
  return std::launder(reinterpret_cast<blake3_hasher*>(state));
}

const blake3_hasher* hasher_in(const std::uint8_t* state) {
  return std::launder(reinterpret_cast<const blake3_hasher*>(state));
}

}  // namespace

Hasher::Hasher() {
  static_assert(sizeof(blake3_hasher) <= kStateBytes && alignof(blake3_hasher) <= 16 &&
                std::is_trivially_copyable_v<blake3_hasher>);
  blake3_hasher_init(new (state_) blake3_hasher);
}

Hasher Hasher::derive(std::string_view context) {
  Hasher hasher;
  blake3_hasher_init_derive_key_raw(hasher_in(hasher.state_), context.data(), context.size());
  return hasher;
}

Hasher Hasher::keyed(const Secret& key) {
  Hasher hasher;
  static_assert(Secret::kSize == BLAKE3_KEY_LEN);
  blake3_hasher_init_keyed(hasher_in(hasher.state_), key.view().data());
  return hasher;
}

// The rest of the state is the stack of chaining values, which holds nothing of inputs below 1 KiB:
// no secret of p2p is that long.
Hasher::~Hasher() { sodium_memzero(state_, offsetof(blake3_hasher, cv_stack_len)); }

void Hasher::update(ByteView bytes) {
  blake3_hasher_update(hasher_in(state_), bytes.data(), bytes.size());
}

Digest Hasher::finish() const {
  Digest digest;
  static_assert(Digest::kSize == BLAKE3_OUT_LEN);
  blake3_hasher_finalize(hasher_in(state_), digest.bytes.data(), digest.bytes.size());
  return digest;
}

Digest chunk_digest(ByteView bytes) {
  Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

// Segments are short: the state is not copied from another, and only what is used of it is written.
std::uint64_t segment_hash(ByteView bytes) {
  static const Digest kKey = Hasher::derive("p2p 1 segment").finish();
  blake3_hasher hasher;
  blake3_hasher_init_keyed(&hasher, kKey.bytes.data());
  blake3_hasher_update(&hasher, bytes.data(), bytes.size());
  std::uint8_t start[8];
  blake3_hasher_finalize(&hasher, start, sizeof start);
  return get_u64(start);
}

ContentId content_id_of(ByteView encoded_manifest) {
  Hasher hasher = Hasher::derive("p2p 1 content id");
  hasher.update(encoded_manifest);
  return ContentId{hasher.finish().bytes};
}

SwarmId swarm_id_of(const ContentId& content, const Secret& psk) {
  Hasher hasher = Hasher::derive("p2p 1 swarm id");
  hasher.update(content.view());
  hasher.update(psk.view());
  return SwarmId{hasher.finish().bytes};
}

}  // namespace p2p
