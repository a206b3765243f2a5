#include "crypto/digest.h"

#include <catch2/catch.hpp>

#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

// From test_vectors.json of the BLAKE3 project: input is 0, 1, ... 250, 0, 1, ...
struct Vector {
  std::size_t input_bytes;
  const char* hash;
  const char* keyed;
  const char* derived;
};

constexpr std::string_view kKey = "whats the Elvish word for friend";
constexpr std::string_view kContext = "BLAKE3 2019-12-27 16:29:52 test vectors context";
constexpr Vector kVectors[] = {
    {0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
     "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
     "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d"},
    {1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
     "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
     "b3e2e340a117a499c6cf2398a19ee0d29cca2bb7404c73063382693bf66cb06c"},
    {1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
     "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
     "7356cd7720d5b66b6d0697eb3177d9f8d73a4a5c5e968896eb6a689684302706"},
    {1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
     "357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69",
     "effaa245f065fbf82ac186839a249707c3bddf6d3fdda22d1b95a3c970379bcb"},
    {7169, "a003fc7a51754a9b3c7fae0367ab3d782dccf28855a03d435f8cfe74605e7817",
     "ed9b1a922c046fdb3d423ae34e143b05ca1bf28b710432857bf738bcedbfa511",
     "554b0a5efea9ef183f2f9b931b7497995d9eb26f5c5c6dad2b97d62fc5ac31d9"},
};

Bytes input_of(std::size_t count) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(i % 251);
  return bytes;
}

std::string hex_of(Hasher hasher, ByteView input) {
  hasher.update(input);
  return hasher.finish().hex();
}

}  // namespace

TEST_CASE("the published BLAKE3 vectors are reproduced in all three modes") {
  const Secret key = *Secret::from_bytes(bytes_of(kKey));
  for (const Vector& vector : kVectors) {
    INFO(vector.input_bytes << " bytes");
    const Bytes input = input_of(vector.input_bytes);
    CHECK(hex_of(Hasher(), input) == vector.hash);
    CHECK(hex_of(Hasher::keyed(key), input) == vector.keyed);
    CHECK(hex_of(Hasher::derive(kContext), input) == vector.derived);
    CHECK(chunk_digest(input).hex() == vector.hash);
  }
}

TEST_CASE("the digest does not depend on how the input was cut") {
  INFO("seed " << kSeed);
  Random random(kSeed);
  const Bytes input = random_bytes(random, 20000);
  for (int round = 0; round < 20; ++round) {
    Hasher hasher;
    for (std::size_t at = 0; at < input.size();) {
      const std::size_t count = std::min<std::size_t>(random.below(5000), input.size() - at);
      hasher.update(ByteView(input).subspan(at, count));
      at += count;
    }
    CHECK(hasher.finish() == chunk_digest(input));
  }
}

TEST_CASE("a hasher may be finished, copied and gone on with") {
  Hasher hasher;
  hasher.update(bytes_of("ab"));
  CHECK(hasher.finish() == chunk_digest(bytes_of("ab")));
  Hasher copy = hasher;
  hasher.update(bytes_of("c"));
  copy.update(bytes_of("d"));
  CHECK(hasher.finish() == chunk_digest(bytes_of("abc")));
  CHECK(copy.finish() == chunk_digest(bytes_of("abd")));
  copy = hasher;
  CHECK(copy.finish() == chunk_digest(bytes_of("abc")));
}

TEST_CASE("the same bytes have another name as a chunk, as a content and in each swarm") {
  Random random(kSeed);
  const Bytes bytes = random_bytes(random, 100);
  const ContentId content = content_id_of(bytes);
  const Secret one = random_secret(random), other = random_secret(random);
  CHECK(content.bytes != chunk_digest(bytes).bytes);
  CHECK(content == content_id_of(bytes));
  CHECK(swarm_id_of(content, one) == swarm_id_of(content, one));
  CHECK(swarm_id_of(content, one) != swarm_id_of(content, other));
  CHECK(swarm_id_of(content, one).bytes != content.bytes);
  CHECK(content.hex() == hex_of(Hasher::derive("p2p 1 content id"), bytes));
}
