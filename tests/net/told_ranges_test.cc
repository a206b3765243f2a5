// What one side may say of the ranges that it lacks.
#include "net/told_ranges.h"

#include <catch2/catch.hpp>

using namespace p2p;
using net::ToldRanges;

namespace {

const Layout kLayout{3 * std::uint64_t{kMinChunkBytes} - 10, kMinChunkBytes};

}  // namespace

TEST_CASE("the last word on a chunk counts") {
  ToldRanges told;
  REQUIRE(told.on_partial({{{1, {{0, 5}}}, {2, {{7, 1}}}}}, kLayout).has_value());
  REQUIRE(told.on_partial({{{1, {{3, 5}}}, {2, {}}}}, kLayout).has_value());
  REQUIRE(told.of(1) != nullptr);
  CHECK(*told.of(1) == std::vector<ByteRange>{{3, 5}});
  CHECK(told.of(2) == nullptr);
  CHECK(told.of(0) == nullptr);
}

TEST_CASE("chunks and ranges that the content has not are refused") {
  ToldRanges told;
  CHECK_FALSE(told.on_partial({{{3, {{0, 5}}}}}, kLayout).has_value());
  CHECK_FALSE(told.on_partial({{{2, {{kMinChunkBytes - 12, 3}}}}}, kLayout).has_value());
  CHECK_FALSE(told.on_partial({{{0, {{0, kMinChunkBytes}}}}}, kLayout).has_value());
}

TEST_CASE("ranges of all chunks together have a limit, and what is told anew counts once") {
  const std::uint32_t chunks = peer::kMaxRangesTold / kMaxRangesOfChunk;
  const Layout layout{std::uint64_t{chunks + 1} * kMinChunkBytes, kMinChunkBytes};
  PartialChunk chunk;
  for (std::uint32_t i = 0; i < kMaxRangesOfChunk; ++i) chunk.missing.push_back({2 * i, 1});
  ToldRanges told;
  for (int again = 0; again < 2; ++again)
    for (chunk.chunk = 0; chunk.chunk < chunks; ++chunk.chunk)
      REQUIRE(told.on_partial({{chunk}}, layout).has_value());
  const Status above = told.on_partial({{{chunks, {{0, 1}}}}}, layout);
  REQUIRE_FALSE(above.has_value());
  CHECK(above.error().code == ErrorCode::kLimit);
}
