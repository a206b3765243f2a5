#include "net/chunk_buffer.h"

#include <catch2/catch.hpp>

using namespace p2p::net;

namespace {

constexpr std::size_t kSize = 64 * 1024;

}  // namespace

TEST_CASE("a buffer's payload begins on a cache line, with slack at both ends") {
  const auto pool = std::make_shared<BufferPool>();
  const BufferRef buffer = pool->take(kSize);
  CHECK(buffer->size() == kSize);
  CHECK(reinterpret_cast<std::uintptr_t>(buffer->payload()) % ChunkBuffer::kAlignment == 0);
  buffer->payload()[-static_cast<long>(ChunkBuffer::kBefore)] = 1;
  buffer->payload()[kSize + ChunkBuffer::kBehind - 1] = 1;
}

TEST_CASE("a buffer that came back is the next to be given") {
  const auto pool = std::make_shared<BufferPool>();
  BufferRef first = pool->take(kSize);
  const std::uint8_t* const memory = first->payload();
  first.reset();
  CHECK(pool->take(2 * kSize)->payload() != memory);
  CHECK(pool->take(kSize)->payload() == memory);
}

TEST_CASE("a pool keeps what nobody uses while all together is little") {
  const auto pool = std::make_shared<BufferPool>();
  constexpr std::size_t kHalf = BufferPool::kKeptBytes / 2;
  std::vector<BufferRef> taken(3);
  for (BufferRef& buffer : taken) buffer = pool->take(kHalf);
  CHECK(pool->used_bytes() == 3 * kHalf);
  taken.pop_back();  // the other two are all that it may hold
  CHECK(pool->kept_bytes() == 0);
  taken.clear();
  CHECK(pool->used_bytes() == 0);
  CHECK(pool->kept_bytes() == 2 * kHalf);
  taken.push_back(pool->take(kHalf));
  CHECK(pool->kept_bytes() == kHalf);
}

TEST_CASE("a buffer may outlive the last who knew of its pool") {
  auto pool = std::make_shared<BufferPool>();
  const BufferRef buffer = pool->take(kSize);
  pool.reset();
  buffer->payload()[0] = 1;
}
