#include "net/chunk_inbox.h"

#include <catch2/catch.hpp>

using namespace p2p;
using net::ChunkInbox;

namespace {

constexpr std::uint32_t kChunk = kMinChunkBytes;
const Layout kLayout{3 * std::uint64_t{kChunk} - 10, kChunk};

Bytes data_frame(ChunkIndex chunk, std::uint32_t offset, std::size_t bytes, std::uint8_t fill = 7) {
  Bytes body(net::kDataHeaderBytes + bytes, fill);
  put_u32(body.data(), chunk);
  put_u32(body.data() + 4, offset);
  return body;
}

}  // namespace

TEST_CASE("a requested chunk is whole with its last frame, and has the right digest") {
  ChunkInbox inbox;
  inbox.on_requested(1);
  const auto first = inbox.on_data(data_frame(1, 0, 1000), kLayout);
  REQUIRE(first.has_value());
  CHECK(first->bytes == 1000);
  CHECK(first->whole.empty());
  const auto last = inbox.on_data(data_frame(1, 1000, kChunk - 1000), kLayout);
  REQUIRE(last.has_value());
  CHECK(last->whole == Bytes(kChunk, 7));
  CHECK(last->digest == chunk_digest(Bytes(kChunk, 7)));
}

TEST_CASE("chunks that arrive side by side are kept apart") {
  ChunkInbox inbox;
  inbox.on_requested(0);
  inbox.on_requested(2);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100, 1), kLayout).has_value());
  const auto other = inbox.on_data(data_frame(2, 0, kChunk - 10, 2), kLayout);
  CHECK(other->whole == Bytes(kChunk - 10, 2));
  CHECK(inbox.on_data(data_frame(0, 100, kChunk - 100, 1), kLayout)->whole == Bytes(kChunk, 1));
}

TEST_CASE("data that nobody asked for is a violation") {
  ChunkInbox inbox;
  CHECK_FALSE(inbox.on_data(data_frame(0, 0, 10), kLayout).has_value());
}

TEST_CASE("data of a chunk that does not exist, past its end, or out of order is a violation") {
  ChunkInbox inbox;
  inbox.on_requested(0);
  inbox.on_requested(2);
  CHECK_FALSE(inbox.on_data(data_frame(3, 0, 10), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0xffffffff, 0, 10), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0, kChunk, 1), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0, 0xffffffff, 1), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(2, 0, kChunk - 9), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0, 5, 10), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(Bytes(net::kDataHeaderBytes), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(Bytes(3), kLayout).has_value());
}

TEST_CASE(
    "what is on its way for a dropped chunk is thrown away, and the chunk can be asked for again") {
  ChunkInbox inbox;
  inbox.on_requested(0);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  inbox.drop(0);
  const auto tail = inbox.on_data(data_frame(0, 100, 100), kLayout);
  REQUIRE(tail.has_value());
  CHECK(tail->whole.empty());
  inbox.on_reject(0);
  CHECK_FALSE(inbox.on_data(data_frame(0, 200, 100), kLayout).has_value());
  inbox.on_requested(0);
  CHECK(inbox.on_data(data_frame(0, 0, kChunk), kLayout)->whole.size() == kChunk);
}

TEST_CASE("a dropped chunk that arrives whole after all ends the matter") {
  ChunkInbox inbox;
  inbox.on_requested(0);
  inbox.drop(0);
  CHECK(inbox.on_data(data_frame(0, 0, kChunk), kLayout)->whole.empty());
  CHECK_FALSE(inbox.on_data(data_frame(0, 0, 10), kLayout).has_value());
}

TEST_CASE("a gift is taken once for each request that left the choice open") {
  ChunkInbox inbox;
  CHECK_FALSE(inbox.on_give(0, kLayout).has_value());
  inbox.on_requested_any();
  CHECK_FALSE(inbox.on_give(3, kLayout).has_value());
  CHECK(inbox.on_give(2, kLayout).has_value());
  CHECK_FALSE(inbox.on_give(1, kLayout).has_value());
  CHECK(inbox.on_data(data_frame(2, 0, kChunk - 10), kLayout)->whole.size() == kChunk - 10);
  inbox.on_requested_any();
  inbox.on_any_rejected();
  CHECK_FALSE(inbox.on_give(1, kLayout).has_value());
}
