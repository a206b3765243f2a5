// Bitfield: which chunks somebody has. Fixed size, with the count of set bits always known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/cache.h"
#include "base/check.h"
#include "content/layout.h"

namespace p2p {

class Bitfield {
 public:
  static constexpr std::size_t kWordBits = 64;

  Bitfield() = default;
  explicit Bitfield(ChunkIndex size, bool value = false);

  // As on the wire and in the journal: bit i of a content is bit (7 - i % 8) of byte i / 8, spare
  // bits 0. Nothing when the length is off by a byte or a spare bit is set.
  static std::optional<Bitfield> from_wire(ByteView bytes, ChunkIndex size);
  Bytes to_wire() const;
  static std::size_t wire_bytes(ChunkIndex size) { return (std::size_t{size} + 7) / 8; }

  ChunkIndex size() const { return size_; }
  ChunkIndex count() const { return count_; }
  bool all() const { return count_ == size_; }
  bool none() const { return count_ == 0; }

  // The index must be below size(), which is checked.
  bool test(ChunkIndex index) const {
    P2P_CHECK(index < size_);
    return (words_[index / kWordBits] & bit_of(index)) != 0;
  }
  // Both return whether the bit changed.
  bool set(ChunkIndex index) {
    if (test(index)) return false;
    words_[index / kWordBits] |= bit_of(index);
    ++count_;
    return true;
  }
  bool reset(ChunkIndex index) {
    if (!test(index)) return false;
    words_[index / kWordBits] &= ~bit_of(index);
    --count_;
    return true;
  }

  // The first set / clear bit at or after `from`; size() when there is none. Word by word.
  ChunkIndex next_set(ChunkIndex from) const;
  ChunkIndex next_clear(ChunkIndex from) const;
  // The first bit at or after `from` that is set here and clear in `other`; size() when there is
  // none.
  ChunkIndex next_set_not_in(const Bitfield& other, ChunkIndex from) const;
  // Has this one anything that `other` lacks?
  bool has_any_not_in(const Bitfield& other) const { return next_set_not_in(other, 0) != size_; }

  bool operator==(const Bitfield&) const = default;

  // A hint: this bit is going to be used. It need not be there.
  void fetch(ChunkIndex index) const {
    if (index < size_) fetch_into_cache(&words_[index / kWordBits], sizeof(words_[0]));
  }

 private:
  // Bit 0 is the highest of word 0: so the words, written big-endian, are the wire form. Bits past
  // the size are always 0.
  static constexpr std::uint64_t bit_of(ChunkIndex index) {
    return std::uint64_t{1} << (kWordBits - 1 - index % kWordBits);
  }

  std::vector<std::uint64_t> words_;
  ChunkIndex size_ = 0;
  ChunkIndex count_ = 0;
};

// The bytes of the content that lie in these chunks.
std::uint64_t bytes_of_chunks(const Layout& layout, const Bitfield& which);

}  // namespace p2p
