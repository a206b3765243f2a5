#include "content/layout.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/units.h"

using namespace p2p;

TEST_CASE("an empty content has no chunks") {
  CHECK(Layout{0, kMinChunkBytes}.chunk_count() == 0);
  CHECK(Layout{0, kMaxChunkBytes}.chunk_count() == 0);
}

TEST_CASE("only the last chunk is shorter, and it is never empty") {
  const Layout exact{3 * std::uint64_t{kMinChunkBytes}, kMinChunkBytes};
  CHECK(exact.chunk_count() == 3);
  CHECK(exact.length_of(2) == kMinChunkBytes);
  const Layout one_more{exact.total_bytes + 1, kMinChunkBytes};
  CHECK(one_more.chunk_count() == 4);
  CHECK(one_more.length_of(2) == kMinChunkBytes);
  CHECK(one_more.length_of(3) == 1);
  CHECK(one_more.offset_of(3) == exact.total_bytes);
}

TEST_CASE("the chunks of a content cover it without a gap") {
  const std::uint64_t seed = 31;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t total_bytes = random.below(1u << random.below(28));
    const auto chunk_bytes = static_cast<std::uint32_t>(kMinChunkBytes << random.below(7));
    CAPTURE(total_bytes, chunk_bytes);
    const Layout layout{total_bytes, chunk_bytes};
    std::uint64_t end = 0;
    for (ChunkIndex chunk = 0; chunk < layout.chunk_count(); ++chunk) {
      REQUIRE(layout.offset_of(chunk) == end);
      REQUIRE(layout.length_of(chunk) > 0);
      end += layout.length_of(chunk);
    }
    REQUIRE(end == total_bytes);
  }
}

TEST_CASE("chunk sizes are powers of two within the limits") {
  for (std::uint64_t bytes = kMinChunkBytes; bytes <= kMaxChunkBytes; bytes *= 2) {
    CHECK(is_valid_chunk_size(bytes));
    CHECK_FALSE(is_valid_chunk_size(bytes + 1));
    CHECK_FALSE(is_valid_chunk_size(bytes - 1));
    CHECK_FALSE(is_valid_chunk_size(bytes + bytes / 2));
  }
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{32768}, std::uint64_t{1} << 23,
        std::uint64_t{1} << 31, std::uint64_t{1} << 32, UINT64_MAX})
    CHECK_FALSE(is_valid_chunk_size(bytes));
}

TEST_CASE("the chunk size picked is the smallest that makes 2,048 chunks or fewer") {
  CHECK(pick_chunk_bytes(0) == kMinChunkBytes);
  CHECK(pick_chunk_bytes(1) == kMinChunkBytes);
  CHECK(pick_chunk_bytes(128 * kMiB) == 64 * kKiB);
  CHECK(pick_chunk_bytes(128 * kMiB + 1) == 128 * kKiB);
  CHECK(pick_chunk_bytes(kGiB) == 512 * kKiB);
  CHECK(pick_chunk_bytes(8 * kGiB) == 4 * kMiB);
  CHECK(pick_chunk_bytes(8 * kGiB + 1) == 4 * kMiB);
  CHECK(pick_chunk_bytes(UINT64_MAX) == kMaxChunkBytes);

  const std::uint64_t seed = 32;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 5000; ++round) {
    const std::uint64_t total_bytes = random.next() >> random.below(64);
    CAPTURE(total_bytes);
    const std::uint32_t picked = pick_chunk_bytes(total_bytes);
    REQUIRE(is_valid_chunk_size(picked));
    const auto needed = [&](std::uint64_t bytes) {
      return total_bytes / bytes + (total_bytes % bytes != 0);
    };
    if (picked < kMaxChunkBytes) REQUIRE(needed(picked) <= 2048);
    if (picked > kMinChunkBytes) REQUIRE(needed(picked / 2) > 2048);
  }
}
