#include "content/journal.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/random.h"
#include "crypto/digest.h"

using namespace p2p;

namespace {

ContentId content_id(std::uint8_t fill) { return *ContentId::from_bytes(Bytes(32, fill)); }

const ContentId kContent = content_id(7);
constexpr ChunkIndex kChunks = 203;

Bitfield some_bits(ChunkIndex size) {
  Bitfield field(size);
  for (ChunkIndex i = 0; i < size; i += 3) field.set(i);
  return field;
}

bool is_read(ByteView bytes, ChunkIndex chunks = kChunks) {
  const auto read = decode_journal(bytes, kContent, chunks);
  if (!read) CHECK(read.error().code == ErrorCode::kMalformed);
  return read.has_value();
}

// As somebody would write it who can compute the checksum.
Bytes with_checksum(Bytes journal) {
  const auto checksum_at = journal.end() - static_cast<std::ptrdiff_t>(Digest::kSize);
  const Digest digest = chunk_digest(ByteView(journal.begin(), checksum_at));
  std::copy(digest.bytes.begin(), digest.bytes.end(), checksum_at);
  return journal;
}

}  // namespace

TEST_CASE("a journal of any size comes back") {
  const std::uint64_t seed = 61;
  CAPTURE(seed);
  Random random(seed);
  for (ChunkIndex size = 0; size < 300; ++size) {
    CAPTURE(size);
    Bitfield verified(size);
    for (ChunkIndex i = 0; i < size; ++i)
      if (random.chance(0.3)) verified.set(i);
    const auto read = decode_journal(encode_journal(kContent, verified), kContent, size);
    REQUIRE(read.has_value());
    REQUIRE(*read == verified);
  }
}

TEST_CASE("the bytes of a journal are fixed") {
  Bitfield verified(10);
  verified.set(0);
  verified.set(9);
  const Bytes bytes = encode_journal(kContent, verified);
  Bytes expected = {'p', '2', 'p', 'j', 0, 0, 0, 1};
  expected.insert(expected.end(), 32, 7);
  for (const std::uint8_t byte : {0, 0, 0, 10, 0x80, 0x40}) expected.push_back(byte);
  const Digest checksum = chunk_digest(expected);
  expected.insert(expected.end(), checksum.bytes.begin(), checksum.bytes.end());
  CHECK(bytes == expected);
}

TEST_CASE("a journal truncated at any offset is refused") {
  const Bytes bytes = encode_journal(kContent, some_bits(kChunks));
  REQUIRE(is_read(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    REQUIRE_FALSE(is_read(ByteView(bytes).first(size)));
}

TEST_CASE("a journal with any bit flipped is refused") {
  const Bytes bytes = encode_journal(kContent, some_bits(kChunks));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes changed = bytes;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    REQUIRE_FALSE(is_read(changed));
  }
}

TEST_CASE("a journal that a power cut left zeroed, in part or whole, is refused") {
  const Bytes bytes = encode_journal(kContent, Bitfield(kChunks, true));
  CHECK_FALSE(is_read(Bytes(bytes.size(), 0)));
  for (std::size_t start = 0; start < bytes.size(); ++start) {
    Bytes changed = bytes;
    std::fill(changed.begin() + static_cast<std::ptrdiff_t>(start), changed.end(), std::uint8_t{0});
    REQUIRE_FALSE(is_read(changed));
  }
}

TEST_CASE("a journal with bytes behind it is refused") {
  Bytes bytes = encode_journal(kContent, some_bits(kChunks));
  bytes.push_back(0);
  CHECK_FALSE(is_read(bytes));
  bytes.insert(bytes.end(), bytes.begin(), bytes.end() - 1);
  CHECK_FALSE(is_read(bytes));
}

TEST_CASE("a journal of another content or size is refused, and says so") {
  const Bytes other = encode_journal(content_id(8), some_bits(kChunks));
  const auto read = decode_journal(other, kContent, kChunks);
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().message == "journal: it is of another content");

  // 203 and 204 chunks take as many bytes; 209 take one more.
  const Bytes bytes = encode_journal(kContent, some_bits(kChunks));
  for (const ChunkIndex chunks : {0u, 202u, 204u, 209u, 1u << 21})
    CHECK_FALSE(is_read(bytes, chunks));
}

TEST_CASE("a checksum does not excuse a wrong version, size or spare bit") {
  const Bytes bytes = encode_journal(kContent, some_bits(kChunks));
  CHECK(with_checksum(bytes) == bytes);
  Bytes version = bytes;
  version[7] = 2;
  CHECK_FALSE(is_read(with_checksum(version)));
  Bytes count = bytes;
  count[43] = kChunks + 1;
  CHECK_FALSE(is_read(with_checksum(count)));
  Bytes spare = bytes;
  spare[44 + kChunks / 8] |= 1;
  CHECK_FALSE(is_read(with_checksum(spare)));
  Bytes magic = bytes;
  magic[0] = 'P';
  CHECK_FALSE(is_read(with_checksum(magic)));
}
