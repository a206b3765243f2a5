#include "net/outbox.h"

#include <catch2/catch.hpp>

#include "net/chunk_inbox.h"
#include "net/send_pace.h"

using namespace p2p;
using net::Outbox;
using net::SendPace;

namespace {

constexpr std::uint32_t kChunk = kMinChunkBytes;

// Chunks whose bytes are their index; those from `bad` on cannot be read.
class Reader : public ChunkReader {
 public:
  Status read(ChunkIndex chunk, std::uint32_t, MutableBytes out) const override {
    if (chunk >= bad) return Error{ErrorCode::kIo, "gone"};
    std::fill(out.begin(), out.end(), static_cast<std::uint8_t>(chunk));
    return {};
  }
  ChunkIndex bad = 100;
};

// An outbox, and what the other side reads of it.
struct Line {
  std::shared_ptr<Reader> reader = std::make_shared<Reader>();
  net::ContentIo io{nullptr, Layout{3 * std::uint64_t{kChunk}, kChunk}, reader, nullptr, {}};
  Secret key = Secret::random();
  Sealer sealer{Cipher::kChaCha20Poly1305, key};
  Opener opener{Cipher::kChaCha20Poly1305, key};
  Outbox outbox;
  Bytes out;
  std::size_t used = 0;

  Outbox::Filled fill(std::size_t payload_bytes = 16 * 1024) {
    return outbox.fill(out, used, &sealer, &io, payload_bytes);
  }
  // 'm' and the first byte of each message frame, 'd' and the chunk of each data frame.
  std::string frames() {
    std::string text;
    MutableBytes rest = MutableBytes(out).first(used);
    while (!rest.empty()) {
      const auto header = parse_frame_header(rest);
      REQUIRE(header.has_value());
      const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
      const auto body = opener.open(rest.first(whole));
      REQUIRE(body.has_value());
      const bool data = header->kind == FrameKind::kData;
      text += data ? "d" + std::to_string(get_u32(body->data())) : "m" + std::to_string((*body)[0]);
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
  line.outbox.push_message({5});
  line.outbox.push_message({6});
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
  line.reader->bad = 2;
  line.outbox.push_message({5});
  line.outbox.push_chunk(2);
  const Outbox::Filled filled = line.fill();
  REQUIRE(filled.unreadable);
  CHECK(filled.unreadable->chunk == 2);
  CHECK(line.frames() == "m5");
  CHECK(line.outbox.empty());
}

TEST_CASE(
    "bytes of the handshake go out as they are, and messages are counted until they are taken") {
  init_crypto();
  Line line;
  line.outbox.push_plain(Bytes{1, 2, 3});
  CHECK(line.outbox.message_bytes() == 3);
  line.outbox.fill(line.out, line.used, nullptr, nullptr, 0);
  CHECK(Bytes(line.out.begin(), line.out.begin() + static_cast<long>(line.used)) == Bytes{1, 2, 3});
  line.outbox.push_message(Bytes(100));
  CHECK(line.outbox.message_bytes() == 100 + kFrameOverheadBytes);
  line.fill();
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
