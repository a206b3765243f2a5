#include "net/chunk_inbox.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace p2p;
using net::ChunkInbox;

namespace {

constexpr std::uint32_t kChunk = kMinChunkBytes;
const Layout kLayout{3 * std::uint64_t{kChunk} - 10, kChunk};

struct Frame {
  ChunkIndex chunk;
  std::uint32_t offset;
  Bytes payload;
};

Frame data_frame(ChunkIndex chunk, std::uint32_t offset, std::size_t bytes, std::uint8_t fill = 7) {
  return {chunk, offset, Bytes(bytes, fill)};
}

// An inbox with memory, and what came of each frame.
struct Inbox : ChunkInbox {
  std::shared_ptr<net::BufferPool> pool;

  explicit Inbox(std::shared_ptr<net::BufferPool> from = std::make_shared<net::BufferPool>())
      : ChunkInbox(from), pool(std::move(from)) {}

  // As a connection does for small frames: from elsewhere.
  Result<Progress> on_data(const Frame& frame, const Layout& layout) {
    return ChunkInbox::on_data(frame.chunk, frame.offset, frame.payload, layout);
  }
  // As a connection does for large frames: from where they belong.
  Result<Progress> on_placed_data(const Frame& frame, const Layout& layout) {
    const Place place = place_for(frame.payload.size(), layout);
    REQUIRE(place.buffer);
    std::copy(frame.payload.begin(), frame.payload.end(), place.payload);
    return ChunkInbox::on_data(frame.chunk, frame.offset, {place.payload, frame.payload.size()},
                               layout);
  }
};

// All of it, where a whole chunk came in.
Bytes bytes_of(const Result<ChunkInbox::Progress>& progress) {
  if (!progress || !progress->whole) return {};
  std::uint8_t* const from = progress->whole->payload();
  return Bytes(from, from + kLayout.length_of(progress->chunk));
}

}  // namespace

TEST_CASE("a requested chunk is whole with its last frame") {
  Inbox inbox;
  inbox.on_requested(1);
  const auto first = inbox.on_data(data_frame(1, 0, 1000), kLayout);
  REQUIRE(first.has_value());
  CHECK(first->bytes == 1000);
  CHECK_FALSE(first->whole);
  const auto last = inbox.on_data(data_frame(1, 1000, kChunk - 1000), kLayout);
  CHECK(bytes_of(last) == Bytes(kChunk, 7));
}

TEST_CASE("a chunk that begins ends an unfinished one, of which only a Reject may come") {
  Inbox inbox;
  inbox.on_requested(0);
  inbox.on_requested(2);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100, 1), kLayout).has_value());
  const auto other = inbox.on_data(data_frame(2, 0, kChunk - 10, 2), kLayout);
  CHECK(bytes_of(other) == Bytes(kChunk - 10, 2));
  SECTION("asked for anew it comes from its start") {
    inbox.on_reject(0);
    inbox.on_requested(0);
    CHECK(bytes_of(inbox.on_data(data_frame(0, 0, kChunk, 1), kLayout)) == Bytes(kChunk, 1));
  }
  SECTION("it may not begin again") {
    CHECK_FALSE(inbox.on_data(data_frame(0, 0, 100, 1), kLayout).has_value());
  }
  SECTION("it may not go on") {
    CHECK_FALSE(inbox.on_data(data_frame(0, 100, kChunk - 100, 1), kLayout).has_value());
  }
}

TEST_CASE("a connection holds the memory of one chunk, whatever comes in what order") {
  const Layout layout{1000 * std::uint64_t{kChunk}, kChunk};
  Inbox inbox;
  for (ChunkIndex chunk = 0; chunk < layout.chunk_count(); ++chunk) inbox.on_requested(chunk);
  CHECK(inbox.pool->used_bytes() == 0);
  for (ChunkIndex chunk = 0; chunk < layout.chunk_count(); ++chunk) {
    REQUIRE(inbox.on_data(data_frame(chunk, 0, 1), layout).has_value());
    REQUIRE(inbox.pool->used_bytes() == kChunk);
  }
}

TEST_CASE("a dropped chunk takes no memory, though more of it comes") {
  Inbox inbox;
  inbox.on_requested(0);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  inbox.drop(0);
  CHECK(inbox.pool->used_bytes() == 0);
  CHECK_FALSE(inbox.place_for(100, kLayout).buffer);
  const auto more = inbox.on_data(data_frame(0, 100, 100), kLayout);
  REQUIRE(more.has_value());
  CHECK(more->dropped);
  CHECK(inbox.pool->used_bytes() == 0);
}

TEST_CASE("connections that each hold an unfinished chunk leave room for another") {
  const auto pool = std::make_shared<net::BufferPool>();
  const Layout layout{100 * std::uint64_t{kMaxChunkBytes}, kMaxChunkBytes};
  std::vector<Inbox> slow;
  for (ChunkIndex chunk = 0; chunk < 50; ++chunk) {
    Inbox& inbox = slow.emplace_back(pool);
    inbox.on_requested(chunk);
    REQUIRE(inbox.on_placed_data(data_frame(chunk, 0, 1), layout).has_value());
  }
  Inbox quick(pool);
  quick.on_requested(99);
  CHECK(quick.on_placed_data(data_frame(99, 0, 131072), layout).has_value());
}

TEST_CASE("data that nobody asked for is a violation") {
  Inbox inbox;
  CHECK_FALSE(inbox.on_data(data_frame(0, 0, 10), kLayout).has_value());
}

TEST_CASE("data of a chunk that does not exist, past its end, or out of order is a violation") {
  Inbox inbox;
  inbox.on_requested(0);
  inbox.on_requested(2);
  CHECK_FALSE(inbox.on_data(data_frame(3, 0, 10), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0xffffffff, 0, 10), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0, kChunk, 1), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0, 0xffffffff, 1), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(2, 0, kChunk - 9), kLayout).has_value());
  CHECK_FALSE(inbox.on_data(data_frame(0, 5, 10), kLayout).has_value());
}

TEST_CASE(
    "what is on its way for a dropped chunk is thrown away, and the chunk can be asked for again") {
  Inbox inbox;
  inbox.on_requested(0);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  inbox.drop(0);
  const auto tail = inbox.on_data(data_frame(0, 100, 100), kLayout);
  REQUIRE(tail.has_value());
  CHECK_FALSE(tail->whole);
  inbox.on_reject(0);
  CHECK_FALSE(inbox.on_data(data_frame(0, 200, 100), kLayout).has_value());
  inbox.on_requested(0);
  CHECK(bytes_of(inbox.on_data(data_frame(0, 0, kChunk), kLayout)) == Bytes(kChunk, 7));
}

TEST_CASE("what comes of a dropped chunk is in order too, and no more than the chunk") {
  Inbox inbox;
  inbox.on_requested(0);
  inbox.on_requested(1);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  inbox.drop(0);
  SECTION("again from its start") {
    CHECK_FALSE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  }
  SECTION("to its end, and then again") {
    REQUIRE(inbox.on_data(data_frame(0, 100, kChunk - 100), kLayout).has_value());
    CHECK_FALSE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  }
  SECTION("with another between") {
    REQUIRE(inbox.on_data(data_frame(1, 0, 100), kLayout).has_value());
    CHECK_FALSE(inbox.on_data(data_frame(0, 100, 100), kLayout).has_value());
  }
}

TEST_CASE("a dropped chunk that arrives whole after all ends the matter") {
  Inbox inbox;
  inbox.on_requested(0);
  inbox.drop(0);
  CHECK_FALSE(inbox.on_data(data_frame(0, 0, kChunk), kLayout)->whole);
  CHECK_FALSE(inbox.on_data(data_frame(0, 0, 10), kLayout).has_value());
}

TEST_CASE("a gift is taken once for each request that left the choice open") {
  Inbox inbox;
  CHECK_FALSE(inbox.on_give(0, kLayout).has_value());
  inbox.on_requested_any();
  CHECK_FALSE(inbox.on_give(3, kLayout).has_value());
  CHECK(inbox.on_give(2, kLayout).has_value());
  CHECK_FALSE(inbox.on_give(1, kLayout).has_value());
  CHECK(bytes_of(inbox.on_data(data_frame(2, 0, kChunk - 10), kLayout)) == Bytes(kChunk - 10, 7));
  inbox.on_requested_any();
  inbox.on_any_rejected();
  CHECK_FALSE(inbox.on_give(1, kLayout).has_value());
}

TEST_CASE(
    "a chunk that is given again before it has come, or after it was dropped, is a violation") {
  Inbox inbox;
  for (int i = 0; i < 4; ++i) inbox.on_requested_any();
  REQUIRE(inbox.on_give(0, kLayout).has_value());
  CHECK_FALSE(inbox.on_give(0, kLayout).has_value());
  inbox.drop(0);
  CHECK_FALSE(inbox.on_give(0, kLayout).has_value());
  inbox.on_reject(0);
  CHECK(inbox.on_give(0, kLayout).has_value());
}

TEST_CASE("data that is read to its place stays there, frame after frame and chunk after chunk") {
  Inbox inbox;
  inbox.on_requested(0);
  inbox.on_requested(1);
  for (ChunkIndex chunk : {1u, 0u}) {
    const auto fill = static_cast<std::uint8_t>(chunk);
    REQUIRE(inbox.on_placed_data(data_frame(chunk, 0, 100, fill), kLayout).has_value());
    CHECK(inbox.place_for(1, kLayout).payload ==
          inbox.place_for(1, kLayout).buffer->payload() + 100);
    CHECK(bytes_of(inbox.on_placed_data(data_frame(chunk, 100, kChunk - 100, fill), kLayout)) ==
          Bytes(kChunk, fill));
  }
  CHECK(inbox.pool->used_bytes() == 0);
}

TEST_CASE("data that was taken for another chunk's comes to its own, and harms no other") {
  Inbox inbox;
  inbox.on_requested(0);
  inbox.on_requested(1);
  REQUIRE(inbox.on_placed_data(data_frame(0, 0, 100, 1), kLayout).has_value());
  REQUIRE(inbox.on_placed_data(data_frame(1, 0, 5000, 2), kLayout).has_value());
  CHECK(bytes_of(inbox.on_placed_data(data_frame(1, 5000, kChunk - 5000, 2), kLayout)) ==
        Bytes(kChunk, 2));
}

TEST_CASE("a frame that claims more than a chunk has room for is given no place") {
  Inbox inbox;
  inbox.on_requested(0);
  CHECK_FALSE(inbox.place_for(kChunk + 1, kLayout).buffer);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  CHECK(inbox.place_for(kChunk - 100, kLayout).buffer);
  CHECK_FALSE(inbox.place_for(kChunk - 99, kLayout).buffer);
}

TEST_CASE("the place of a frame outlasts its chunk, and no memory is held for nothing") {
  Inbox inbox;
  inbox.on_requested(0);
  REQUIRE(inbox.on_data(data_frame(0, 0, 100), kLayout).has_value());
  ChunkInbox::Place place = inbox.place_for(200, kLayout);
  inbox.drop(0);
  place.payload[199] = 1;
  place = {};
  CHECK(inbox.pool->used_bytes() == 0);
  inbox.on_reject(0);
  inbox.on_requested(1);
  REQUIRE(inbox.place_for(1, kLayout).buffer);
  inbox.on_reject(1);
  CHECK(inbox.pool->used_bytes() == 0);
}

TEST_CASE("of a partial chunk what is missing comes to its place, however it is read") {
  const bool placed = GENERATE(true, false);
  Inbox inbox;
  inbox.on_partial({{{1, {{10, 20}, {1000, 500}}}}}, kLayout);
  inbox.on_requested(1);
  const auto on = [&](const Frame& frame) {
    return placed ? inbox.on_placed_data(frame, kLayout) : inbox.on_data(frame, kLayout);
  };
  REQUIRE(on(data_frame(1, 10, 20, 1)).has_value());
  REQUIRE(on(data_frame(1, 1000, 300, 2)).has_value());
  const auto last = on(data_frame(1, 1300, 200, 3));
  REQUIRE(last.has_value());
  CHECK(last->partial);
  const Bytes bytes = bytes_of(last);
  REQUIRE(bytes.size() == kChunk);
  CHECK(std::count(bytes.begin() + 10, bytes.begin() + 30, 1) == 20);
  CHECK(std::count(bytes.begin() + 1000, bytes.begin() + 1300, 2) == 300);
  CHECK(std::count(bytes.begin() + 1300, bytes.begin() + 1500, 3) == 200);
  CHECK_FALSE(inbox.expects_data());
}

TEST_CASE("data beside the missing ranges, or over the end of one, is a violation") {
  Inbox inbox;
  inbox.on_partial({{{1, {{10, 20}, {1000, 500}}}}}, kLayout);
  inbox.on_requested(1);
  SECTION("from the start") { CHECK_FALSE(inbox.on_data(data_frame(1, 0, 10), kLayout)); }
  SECTION("over the end") { CHECK_FALSE(inbox.on_data(data_frame(1, 10, 21), kLayout)); }
  SECTION("in between") {
    REQUIRE(inbox.on_data(data_frame(1, 10, 20), kLayout).has_value());
    CHECK_FALSE(inbox.on_data(data_frame(1, 30, 1), kLayout));
  }
}

TEST_CASE("a chunk that is wanted whole again comes whole") {
  Inbox inbox;
  inbox.on_partial({{{1, {{10, 20}}}}}, kLayout);
  inbox.on_partial({{{1, {}}}}, kLayout);
  inbox.on_requested(1);
  const auto whole = inbox.on_data(data_frame(1, 0, kChunk), kLayout);
  CHECK(bytes_of(whole) == Bytes(kChunk, 7));
  CHECK_FALSE(whole->partial);
}
