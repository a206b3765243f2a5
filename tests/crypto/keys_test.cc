#include "crypto/keys.h"

#include <catch2/catch.hpp>

#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

TEST_CASE("a secret's text is 43 characters of base64url and reads back") {
  Bytes counting(Secret::kSize);
  for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::uint8_t>(i);
  const Secret secret = *Secret::from_bytes(counting);
  CHECK(secret.reveal() == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
  CHECK(Secret::from_bytes(Bytes(32, 0xff))->reveal() ==
        "__________________________________________8");
  Random random(kSeed);
  for (int i = 0; i < 200; ++i) {
    const Secret drawn = random_secret(random);
    const Result<Secret> read = Secret::parse(drawn.reveal());
    REQUIRE(read.has_value());
    CHECK(*read == drawn);
  }
}

TEST_CASE("a secret's text has one form only, and an error does not repeat it") {
  const std::string good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
  const std::string texts[] = {
      "",
      good + "=",
      good + "A",
      good.substr(1),
      good.substr(0, 42) + "9",  // spare bits set
      "+" + good.substr(1),
      "/" + good.substr(1),
      " " + good.substr(1),
      good.substr(0, 42) + "\n",
      good.substr(0, 42) + "=",
      std::string(43, '\0'),
      std::string(100000, 'A'),
  };
  for (const std::string& text : texts) {
    INFO(text.substr(0, 60));
    const Result<Secret> read = Secret::parse(text);
    REQUIRE(!read.has_value());
    CHECK(read.error().code == ErrorCode::kMalformed);
    CHECK(read.error().message.find(good.substr(2, 20)) == std::string::npos);
  }
}

TEST_CASE("a secret has exactly 32 bytes") {
  CHECK(!Secret::from_bytes(Bytes(31)));
  CHECK(!Secret::from_bytes(Bytes(33)));
  CHECK(!Secret::from_bytes({}));
  CHECK(Secret::from_bytes(Bytes(32)) == Secret());
}

TEST_CASE("secrets, keys and seeds that are drawn differ") {
  CHECK(!(Secret::random() == Secret::random()));
  CHECK(KeyPair::random().public_key != KeyPair::random().public_key);
  CHECK(random_seed() != random_seed());
}

TEST_CASE("the public keys of RFC 7748's example are reproduced") {
  const auto public_of = [](std::string_view private_hex) {
    return KeyPair::from_private(*Secret::from_bytes(from_hex(private_hex))).public_key.hex();
  };
  CHECK(public_of("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a") ==
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  CHECK(public_of("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb") ==
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
}

TEST_CASE("the open tracker key is the same everywhere and no other secret") {
  CHECK(open_tracker_key() == open_tracker_key());
  CHECK(!(open_tracker_key() == Secret()));
}
