#include "crypto/channel.h"

#include <catch2/catch.hpp>

#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

struct Stream {
  Stream(Cipher cipher, const Secret& key) : sealer(cipher, key), opener(cipher, key) {}
  Sealer sealer;
  Opener opener;
};

bool available(Cipher cipher) {
  for (const Cipher candidate : available_ciphers())
    if (candidate == cipher) return true;
  return false;
}

Secret counting_key() {
  Bytes bytes(Secret::kSize);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  return *Secret::from_bytes(bytes);
}

Bytes header_bytes(std::uint32_t word) {
  Bytes bytes(kFrameHeaderBytes);
  put_u32(bytes.data(), word);
  return bytes;
}

}  // namespace

TEST_CASE("frames of every size up to the limits open as what was sealed") {
  INFO("seed " << kSeed);
  Random random(kSeed);
  for (const Cipher cipher : available_ciphers()) {
    INFO(cipher_name(cipher));
    Stream stream(cipher, random_secret(random));
    const std::size_t sizes[] = {0,   1,   15,  16,   17,   31,    32,
                                 127, 128, 129, 1000, 4096, 65537, kMaxDataBodyBytes};
    for (const std::size_t size : sizes) {
      const Bytes body = random_bytes(random, size);
      for (const FrameKind kind : {FrameKind::kMessage, FrameKind::kData}) {
        const Bytes frame = seal(stream.sealer, kind, body);
        REQUIRE(frame.size() == size + kFrameOverheadBytes);
        const Result<FrameHeader> header = parse_frame_header(frame);
        REQUIRE(header.has_value());
        CHECK(header->kind == kind);
        CHECK(header->body_bytes == size);
        CHECK(opens_as(stream.opener, frame, body));
      }
    }
    const Bytes longest = random_bytes(random, kMaxMessageBytes);
    CHECK(opens_as(stream.opener, seal(stream.sealer, FrameKind::kMessage, longest), longest));
  }
}

TEST_CASE("the body is opened where it lies, without a copy") {
  Random random(kSeed);
  for (const Cipher cipher : available_ciphers()) {
    Stream stream(cipher, random_secret(random));
    Bytes frame = seal(stream.sealer, FrameKind::kData, random_bytes(random, 100));
    const Result<MutableBytes> body = stream.opener.open(frame);
    REQUIRE(body.has_value());
    CHECK(body->data() == frame.data() + kFrameHeaderBytes);
    CHECK(body->size() == 100);
  }
}

TEST_CASE("frames are on the wire as the format says") {
  // Made with another implementation of both ciphers: key 00 01 ... 1f.
  const auto check = [](Cipher cipher, const char* first, const char* second) {
    if (!available(cipher)) return;
    Sealer sealer(cipher, counting_key());
    CHECK(to_hex(seal(sealer, FrameKind::kMessage, bytes_of("first frame"))) == first);
    CHECK(to_hex(seal(sealer, FrameKind::kData, bytes_of("second frame, data"))) == second);
  };
  check(Cipher::kAes256Gcm, "0000000b68d5c7adc10ce5cf69c5cc661bb35c9c3fd96ba78d0b355226f5a1",
        "8000001266b3dc932a9010787c4f3c5cc0865e9661feab96e4fa8edc76afbd7cc7f95d8320f5");
  check(Cipher::kChaCha20Poly1305, "0000000b7ed13042d9c6c0a3720c3964aa2c8230c5a438f8992b2a01f23a6c",
        "800000121a391fb65f6e981c5f10134a9f3473736490cf6b0fcfee5407ea3edbdd13b9b7f50c");
}

TEST_CASE("a frame with any one bit changed does not open") {
  Random random(kSeed);
  const Secret key = random_secret(random);
  for (const Cipher cipher : available_ciphers()) {
    INFO(cipher_name(cipher));
    Sealer sealer(cipher, key);
    const Bytes frame = seal(sealer, FrameKind::kMessage, random_bytes(random, 40));
    for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
      Bytes changed = frame;
      changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      Opener opener(cipher, key);
      const Result<MutableBytes> opened = opener.open(changed);
      REQUIRE(!opened.has_value());
      CHECK(opened.error().code == ErrorCode::kMalformed);
    }
  }
}

TEST_CASE("a frame cut at any length, or with the header fitted to the cut, does not open") {
  Random random(kSeed);
  const Secret key = random_secret(random);
  for (const Cipher cipher : available_ciphers()) {
    Sealer sealer(cipher, key);
    const Bytes frame = seal(sealer, FrameKind::kMessage, random_bytes(random, 40));
    for (std::size_t length = 0; length < frame.size(); ++length) {
      Bytes cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
      Opener opener(cipher, key);
      CHECK(!opener.open(cut).has_value());
      if (length < kFrameOverheadBytes) continue;
      put_u32(cut.data(), static_cast<std::uint32_t>(length - kFrameOverheadBytes));
      Opener second(cipher, key);
      CHECK(!second.open(cut).has_value());
    }
    Bytes longer = frame;
    longer.push_back(0);
    Opener opener(cipher, key);
    CHECK(!opener.open(longer).has_value());
  }
}

TEST_CASE("a frame that is repeated, left out or moved does not open") {
  Random random(kSeed);
  const Bytes body = random_bytes(random, 30);
  for (const Cipher cipher : available_ciphers()) {
    INFO(cipher_name(cipher));
    const Secret key = random_secret(random);
    Sealer sealer(cipher, key);
    std::vector<Bytes> frames;
    for (int i = 0; i < 3; ++i) frames.push_back(seal(sealer, FrameKind::kData, body));
    Opener repeated(cipher, key);
    CHECK(opens_as(repeated, frames[0], body));
    CHECK(!opens_as(repeated, frames[0], body));
    Opener dropped(cipher, key);
    CHECK(opens_as(dropped, frames[0], body));
    CHECK(!opens_as(dropped, frames[2], body));
    Opener moved(cipher, key);
    CHECK(!opens_as(moved, frames[1], body));
  }
}

TEST_CASE("after a frame that did not open nothing opens") {
  Random random(kSeed);
  const Bytes body = random_bytes(random, 30);
  Stream stream(Cipher::kChaCha20Poly1305, random_secret(random));
  const Bytes frame = seal(stream.sealer, FrameKind::kMessage, body);
  Bytes changed = frame;
  changed.back() ^= 1;
  CHECK(!opens_as(stream.opener, changed, body));
  CHECK(!opens_as(stream.opener, frame, body));
}

TEST_CASE("a frame opens under its own key and cipher only") {
  Random random(kSeed);
  const Secret key = random_secret(random), other = random_secret(random);
  const Bytes body = random_bytes(random, 30);
  for (const Cipher cipher : available_ciphers()) {
    Sealer sealer(cipher, key);
    const Bytes frame = seal(sealer, FrameKind::kMessage, body);
    for (const Cipher reader : available_ciphers()) {
      Opener right(reader, key), wrong(reader, other);
      CHECK(opens_as(right, frame, body) == (reader == cipher));
      CHECK(!opens_as(wrong, frame, body));
    }
  }
}

TEST_CASE("random bytes do not open, however they begin") {
  INFO("seed " << kSeed);
  Random random(kSeed);
  const Secret key = random_secret(random);
  for (int round = 0; round < 3000; ++round) {
    Bytes garbage = random_bytes(random, random.below(100));
    if (garbage.size() >= kFrameOverheadBytes && random.chance(0.5))
      put_u32(garbage.data(), static_cast<std::uint32_t>(garbage.size() - kFrameOverheadBytes));
    Opener opener(Cipher::kChaCha20Poly1305, key);
    CHECK(!opener.open(garbage).has_value());
  }
}

TEST_CASE("a sealer or opener that was moved goes on where it was") {
  Random random(kSeed);
  const Bytes body = random_bytes(random, 30);
  Stream stream(available_ciphers().front(), random_secret(random));
  CHECK(opens_as(stream.opener, seal(stream.sealer, FrameKind::kMessage, body), body));
  Sealer sealer = std::move(stream.sealer);
  Opener opener = std::move(stream.opener);
  CHECK(opens_as(opener, seal(sealer, FrameKind::kMessage, body), body));
}

TEST_CASE("a header is held against the limits before anything is kept for it") {
  const auto code = [](std::uint32_t word) {
    const Result<FrameHeader> header = parse_frame_header(header_bytes(word));
    return header ? std::optional<ErrorCode>() : header.error().code;
  };
  const auto data_bit = 0x80000000u;
  const auto max_message = static_cast<std::uint32_t>(kMaxMessageBytes);
  const auto max_data = static_cast<std::uint32_t>(kMaxDataBodyBytes);
  CHECK(!code(0));
  CHECK(!code(max_message));
  CHECK(code(max_message + 1) == ErrorCode::kLimit);
  CHECK(code(0x00ffffffu) == ErrorCode::kLimit);
  CHECK(!code(data_bit));
  CHECK(!code(data_bit | max_data));
  CHECK(code(data_bit | (max_data + 1)) == ErrorCode::kLimit);
  for (int bit = 24; bit < 31; ++bit) {
    CHECK(code(1u << bit | 10) == ErrorCode::kMalformed);
    CHECK(code(data_bit | 1u << bit | 10) == ErrorCode::kMalformed);
  }
  CHECK(code(0xffffffffu) == ErrorCode::kMalformed);
}

TEST_CASE("ChaCha20-Poly1305 is there on every machine, and last") {
  CHECK(available_ciphers().back() == Cipher::kChaCha20Poly1305);
  CHECK(cipher_name(Cipher::kAes256Gcm) == "AES-256-GCM");
  CHECK(cipher_name(Cipher::kChaCha20Poly1305) == "ChaCha20-Poly1305");
}
