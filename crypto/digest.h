// BLAKE3 digests. The only place (with digest.cc) that knows which hash p2p uses.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"
#include "crypto/keys.h"

namespace p2p {

// Incremental BLAKE3-256. Copyable; finish() may be called at any time and does not end it.
class Hasher {
 public:
  Hasher();  // plain hash
  static Hasher derive(
      std::string_view context);  // BLAKE3 derive_key mode; contexts are listed in docs/protocol.md
  static Hasher keyed(const Secret& key);  // BLAKE3 keyed mode
  Hasher(const Hasher&) = default;
  Hasher& operator=(const Hasher&) = default;
  ~Hasher();  // wipes the key, and what was hashed under it

  void update(ByteView bytes);
  Digest finish() const;

 private:
  // Room for a blake3_hasher without its header; digest.cc checks the size.
  static constexpr std::size_t kStateBytes = 1920;
  alignas(16) std::uint8_t state_[kStateBytes];
};

// The hash of a chunk: plain BLAKE3 of its bytes.
Digest chunk_digest(ByteView bytes);

// Of a segment, or of a group of them: the first 8 bytes of BLAKE3 under the key derive("p2p 1
// segment", ""). It finds what is alike; it proves nothing.
std::uint64_t segment_hash(ByteView bytes);

// The content id: BLAKE3 of the encoded manifest in the context "p2p 1 content id".
ContentId content_id_of(ByteView encoded_manifest);

// What owners (trackers, the hash table) call a content: derived from the id and the join secret,
// so that an owner can neither name nor join what it lists. Context "p2p 1 swarm id".
SwarmId swarm_id_of(const ContentId& content, const Secret& psk);

}  // namespace p2p
