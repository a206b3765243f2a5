#include "net/outbox.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "net/chunk_inbox.h"
#include "net/send_pace.h"

using namespace p2p;
using net::Outbox;
using net::SendPace;

namespace {

constexpr std::uint32_t kChunk = kMinChunkBytes;

net::WireMessage have(ChunkIndex chunk) { return peer::Message(peer::Have{{chunk}}); }
std::string chunk_of(ByteView body) {
  const auto message = net::decode_wire(body);
  REQUIRE(message.has_value());
  const auto& swarm = std::get<peer::Message>(*message);
  return std::to_string(std::get<peer::Have>(swarm).chunks.at(0));
}

// An outbox, the disk it has chunks read from, and what the other side reads of it. The bytes of a
// chunk are its index.
struct Line {
  Layout layout{3 * std::uint64_t{kChunk}, kChunk};
  Secret key = Secret::random();
  Sealer sealer{Cipher::kChaCha20Poly1305, key};
  Opener opener{Cipher::kChaCha20Poly1305, key};
  Outbox outbox;
  Bytes out, sent;
  std::shared_ptr<net::BufferPool> pool = std::make_shared<net::BufferPool>();

  void read(const Outbox::Block& block) {
    const net::BufferRef buffer = pool->take(kChunk);
    std::fill_n(buffer->payload(), block.bytes, static_cast<std::uint8_t>(block.chunk));
    outbox.on_read(block, buffer);
  }
  void read_all() {
    while (const auto block = outbox.next_read(layout)) read(*block);
  }
  Outbox::Filled fill(std::size_t payload_bytes = 16 * 1024) {
    read_all();
    Outbox::Filled filled = outbox.fill(out, &sealer, layout, payload_bytes);
    sent = out;
    sent.insert(sent.end(), filled.frame.begin(), filled.frame.end());
    return filled;
  }
  // 'm' and the chunk of each message frame, 'd' and the chunk of each data frame.
  std::string frames() {
    std::string text;
    MutableBytes rest = sent;
    while (!rest.empty()) {
      const auto header = parse_frame_header(rest);
      REQUIRE(header.has_value());
      const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
      const auto body = opener.open(rest.first(whole));
      REQUIRE(body.has_value());
      const bool data = header->kind == FrameKind::kData;
      if (data) {
        const auto payload = body->subspan(net::kDataHeaderBytes);
        const auto chunk = static_cast<std::uint8_t>(get_u32(body->data()));
        CHECK(std::count(payload.begin(), payload.end(), chunk) ==
              static_cast<long>(payload.size()));
      }
      text += data ? "d" + std::to_string(get_u32(body->data())) : "m" + chunk_of(*body);
      rest = rest.subspan(whole);
    }
    return text;
  }
};

}  // namespace

TEST_CASE("a message goes ahead of the rest of a chunk, and every frame opens in its order") {
  init_crypto();
  Line line;
  line.outbox.push_chunk(1);
  line.fill();
  CHECK(line.frames() == "d1");
  line.outbox.push_message(have(5));
  line.outbox.push_message(have(6));
  line.fill();
  CHECK(line.frames() == "m5m6d1");
  line.fill();
  CHECK(line.frames() == "d1");
}

TEST_CASE("a chunk ends with its last frame, and the next one follows") {
  init_crypto();
  Line line;
  line.outbox.push_chunk(1);
  line.outbox.push_chunk(2);
  CHECK_FALSE(line.fill(kChunk - 1).ends);
  CHECK(line.frames() == "d1");
  CHECK(line.fill(kChunk - 1).ends == ChunkIndex{1});
  CHECK(line.frames() == "d1");
  CHECK(line.fill(kChunk).ends == ChunkIndex{2});
  CHECK(line.frames() == "d2");
  CHECK(line.outbox.empty());
}

TEST_CASE("the rest of a chunk can be taken back until its last frame is taken") {
  init_crypto();
  Line line;
  line.outbox.push_chunk(1);
  line.fill();
  CHECK(line.outbox.drop_chunk(1));
  CHECK_FALSE(line.outbox.drop_chunk(1));
  CHECK(line.outbox.empty());
}

TEST_CASE("a chunk that cannot be read is given up, and what is before it still goes") {
  init_crypto();
  Line line;
  line.outbox.push_message(have(5));
  line.outbox.push_chunk(2);
  const auto block = line.outbox.next_read(line.layout);
  REQUIRE(block);
  CHECK(line.outbox.on_unreadable(*block));
  line.fill();
  CHECK(line.frames() == "m5");
  CHECK(line.outbox.empty());
}

TEST_CASE("messages go while a chunk is still being read") {
  init_crypto();
  Line line;
  line.outbox.push_chunk(1);
  const auto block = line.outbox.next_read(line.layout);
  CHECK_FALSE(line.outbox.ready());
  line.outbox.push_message(have(5));
  CHECK(line.outbox.ready());
  line.fill();
  CHECK(line.frames() == "m5");
  line.read(*block);
  CHECK(line.outbox.ready());
}

TEST_CASE("only so much is read ahead, also for chunks that are taken back as fast as given") {
  init_crypto();
  Line line;
  line.layout = Layout{std::uint64_t{64} * 1024 * 1024, 4 * 1024 * 1024};
  line.outbox.push_chunk(0);
  line.outbox.push_chunk(1);
  std::vector<Outbox::Block> reads;
  for (int i = 0; i < 100; ++i) {
    while (const auto block = line.outbox.next_read(line.layout)) reads.push_back(*block);
    line.outbox.drop_chunk(0);
    line.outbox.push_chunk(0);
  }
  CHECK(reads.size() == Outbox::kMaxReads);
  CHECK(reads[0].bytes == Outbox::kBlockBytes);
  CHECK(reads[1].offset == Outbox::kBlockBytes);
}

TEST_CASE("what is read for a chunk that was taken back meanwhile is not sent twice") {
  init_crypto();
  Line line;
  line.outbox.push_chunk(1);
  const auto old = line.outbox.next_read(line.layout);
  line.outbox.drop_chunk(1);
  CHECK_FALSE(line.outbox.on_unreadable(*old));
  line.outbox.push_chunk(1);
  const auto first = line.outbox.next_read(line.layout);
  line.outbox.drop_chunk(1);
  line.outbox.push_chunk(1);
  const auto second = line.outbox.next_read(line.layout);
  REQUIRE(second);
  line.read(*first);
  line.read(*second);
  CHECK(line.fill(kChunk).ends == ChunkIndex{1});
  CHECK(line.frames() == "d1");
  CHECK(line.outbox.empty());
}

TEST_CASE(
    "bytes of the handshake go out as they are, and messages are counted until they are taken") {
  init_crypto();
  Line line;
  line.outbox.push_plain(Bytes{1, 2, 3});
  CHECK(line.outbox.message_bytes() == 3);
  line.fill();
  CHECK(line.sent == Bytes{1, 2, 3});
  line.outbox.push_message(have(5));
  const std::size_t whole = net::encode_wire(have(5)).size() + kFrameOverheadBytes;
  CHECK(line.outbox.message_bytes() == whole);
  line.outbox.push_message(have(6));
  CHECK(line.outbox.message_bytes() == 2 * whole);
  line.fill();
  CHECK(line.frames() == "m5m6");
  CHECK(line.outbox.message_bytes() == 0);
  CHECK(line.outbox.empty());
}

TEST_CASE("what is committed ahead follows the rate, from a slow link to a fast one") {
  SendPace pace;
  Time now = Time::min() + std::chrono::hours(1);
  const auto run = [&](double bytes_per_second) {
    for (int i = 0; i < 100; ++i) {
      pace.on_write(now);
      now += std::chrono::milliseconds(4);
      pace.on_written(static_cast<std::size_t>(bytes_per_second * 0.004), now);
    }
    return pace.ahead_bytes();
  };
  CHECK(run(1e6) == SendPace::kLeastBytes);
  CHECK(run(1e9) == SendPace::kMostBytes);
  CHECK(run(7e6) == 64 * 1024);
}

TEST_CASE("a pause between chunks is not taken for a slow link") {
  SendPace pace;
  Time now = Time::min() + std::chrono::hours(1);
  for (int i = 0; i < 100; ++i) {
    pace.on_write(now);
    now += std::chrono::milliseconds(11);
    pace.on_written(11 * 8000, now);
    pace.on_idle();
    now += std::chrono::seconds(1);
  }
  CHECK(pace.ahead_bytes() == 64 * 1024);
}

TEST_CASE("of a chunk with ranges only these are read and sent, each in frames of its own") {
  Line line;
  line.outbox.push_chunk(1, {{5, 3}, {100, 20'000}, {40'000, 1}});
  const auto block = line.outbox.next_read(line.layout);
  REQUIRE(block.has_value());
  CHECK(block->bytes == 20'004);
  CHECK(block->ranges == std::vector<ByteRange>{{5, 3}, {100, 20'000}, {40'000, 1}});
  line.read(*block);
  std::vector<std::pair<std::uint32_t, std::size_t>> frames;
  for (bool ended = false; !ended;) {
    const Outbox::Filled filled = line.fill(16 * 1024);
    ended = filled.ends.has_value();
    const auto body = line.opener.open(filled.frame);
    REQUIRE(body.has_value());
    const auto payload = body->subspan(net::kDataHeaderBytes);
    CHECK(std::count(payload.begin(), payload.end(), 1) == static_cast<long>(payload.size()));
    frames.emplace_back(get_u32(body->data() + 4), payload.size());
  }
  CHECK(frames == std::vector<std::pair<std::uint32_t, std::size_t>>{
                      {5, 3}, {100, 16'384}, {16'484, 3'616}, {40'000, 1}});
  CHECK(line.outbox.empty());
}
