#include "content/bitfield.h"

#include <bit>

#include "base/check.h"

namespace p2p {
namespace {

constexpr std::size_t kWordBits = Bitfield::kWordBits;

// The bits at or after `index` in its word.
constexpr std::uint64_t bits_from(ChunkIndex index) {
  return ~std::uint64_t{0} >> (index % kWordBits);
}

std::size_t words_for(ChunkIndex size) { return (std::size_t{size} + kWordBits - 1) / kWordBits; }

// The first bit at or after `from` that is set in what `word_at` answers for a word's index.
template <typename WordAt>
ChunkIndex find(ChunkIndex from, ChunkIndex size, const WordAt& word_at) {
  if (from >= size) return size;
  std::size_t at = from / kWordBits;
  std::uint64_t word = word_at(at) & bits_from(from);
  const std::size_t end = words_for(size);
  while (word == 0) {
    if (++at == end) return size;
    word = word_at(at);
  }
  const std::size_t found = at * kWordBits + static_cast<std::size_t>(std::countl_zero(word));
  return found < size ? static_cast<ChunkIndex>(found) : size;
}

}  // namespace

Bitfield::Bitfield(ChunkIndex size, bool value)
    : words_(words_for(size), value ? ~std::uint64_t{0} : 0),
      size_(size),
      count_(value ? size : 0) {
  if (value && size % kWordBits != 0) words_.back() = ~bits_from(size);
}

std::optional<Bitfield> Bitfield::from_wire(ByteView bytes, ChunkIndex size) {
  if (bytes.size() != wire_bytes(size)) return std::nullopt;
  Bitfield field(size);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    field.words_[i / 8] |= std::uint64_t{bytes[i]} << (56 - i % 8 * 8);
  if (size % kWordBits != 0 && (field.words_.back() & bits_from(size)) != 0) return std::nullopt;
  for (const std::uint64_t word : field.words_)
    field.count_ += static_cast<ChunkIndex>(std::popcount(word));
  return field;
}

Bytes Bitfield::to_wire() const {
  Bytes bytes(wire_bytes(size_));
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(words_[i / 8] >> (56 - i % 8 * 8));
  return bytes;
}

ChunkIndex Bitfield::next_set(ChunkIndex from) const {
  return find(from, size_, [&](std::size_t at) { return words_[at]; });
}

ChunkIndex Bitfield::next_clear(ChunkIndex from) const {
  return find(from, size_, [&](std::size_t at) { return ~words_[at]; });
}

ChunkIndex Bitfield::next_set_not_in(const Bitfield& other, ChunkIndex from) const {
  P2P_CHECK(other.size_ == size_);
  return find(from, size_, [&](std::size_t at) { return words_[at] & ~other.words_[at]; });
}

std::uint64_t bytes_of_chunks(const Layout& layout, const Bitfield& which) {
  std::uint64_t bytes = 0;
  for (ChunkIndex i = which.next_set(0); i < which.size(); i = which.next_set(i + 1))
    bytes += layout.length_of(i);
  return bytes;
}

}  // namespace p2p
