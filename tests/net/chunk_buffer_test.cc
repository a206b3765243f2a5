#include "net/chunk_buffer.h"

#include <catch2/catch.hpp>

using namespace p2p::net;

namespace {

constexpr std::size_t kSize = 64 * 1024;

}  // namespace

TEST_CASE("a buffer's payload begins on a cache line, with slack at both ends") {
  const auto pool = std::make_shared<BufferPool>(kSize);
  const BufferRef buffer = pool->take(kSize, [] {});
  CHECK(buffer->size() == kSize);
  CHECK(reinterpret_cast<std::uintptr_t>(buffer->payload()) % ChunkBuffer::kAlignment == 0);
  buffer->payload()[-static_cast<long>(ChunkBuffer::kBefore)] = 1;
  buffer->payload()[kSize + ChunkBuffer::kBehind - 1] = 1;
}

TEST_CASE("a buffer that came back is the next to be given") {
  const auto pool = std::make_shared<BufferPool>(4 * kSize);
  BufferRef first = pool->take(kSize, [] {});
  const std::uint8_t* const memory = first->payload();
  first.reset();
  CHECK(pool->take(2 * kSize, [] {})->payload() != memory);
  CHECK(pool->take(kSize, [] {})->payload() == memory);
}

TEST_CASE("past its limit a pool gives nothing, and calls once when something came back") {
  const auto pool = std::make_shared<BufferPool>(2 * kSize);
  BufferRef first = pool->take(kSize, [] {});
  const BufferRef second = pool->take(kSize, [] {});
  int calls = 0;
  CHECK_FALSE(pool->take(kSize, [&] { ++calls; }));
  CHECK_FALSE(pool->take(kSize, [&] { ++calls; }));
  const BufferRef beyond = pool->take_anyway(kSize);
  CHECK(pool->used_bytes() == 3 * kSize);
  first.reset();
  CHECK(calls == 2);
  CHECK_FALSE(pool->take(kSize, [] {}));
}

TEST_CASE("one buffer is always to be had, and who waits can be forgotten") {
  const auto pool = std::make_shared<BufferPool>(1);
  BufferRef only = pool->take(kSize, [] {});
  REQUIRE(only);
  CHECK_FALSE(pool->take(1, [] { FAIL("called"); }));
  pool->forget_waiting();
  only.reset();
}

TEST_CASE("a buffer may outlive the last who knew of its pool") {
  auto pool = std::make_shared<BufferPool>(kSize);
  const BufferRef buffer = pool->take(kSize, [] {});
  pool.reset();
  buffer->payload()[0] = 1;
}
