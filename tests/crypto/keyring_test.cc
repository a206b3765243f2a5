#include "crypto/keyring.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

std::vector<Secret> random_secrets(std::size_t count) {
  Random random(kSeed);
  std::vector<Secret> keys;
  for (std::size_t i = 0; i < count; ++i) keys.push_back(random_secret(random));
  return keys;
}

}  // namespace

TEST_CASE("a key file of one line is a ring of one key") {
  const Secret key = random_secrets(1)[0];
  for (const std::string& text :
       {key.reveal() + "\n", key.reveal(), "  " + key.reveal() + "\r\n"}) {
    const Result<Keyring> ring = Keyring::parse(text);
    REQUIRE(ring);
    REQUIRE(ring->size() == 1);
    CHECK((*ring)[0] == key);
  }
}

TEST_CASE("the keys of a file keep their order, among blank lines and comments") {
  const std::vector<Secret> keys = random_secrets(3);
  const Result<Keyring> ring = Keyring::parse(
      absl::StrCat("# keys of the lab\n\n", keys[2].reveal(), " # since March\n", keys[0].reveal(),
                   "#the old one\n \t\n", keys[1].reveal(), "\n#end"));
  REQUIRE(ring);
  CHECK(ring->secrets() == std::vector<Secret>{keys[2], keys[0], keys[1]});
  CHECK(Keyring::parse(ring->reveal())->secrets() == ring->secrets());
}

TEST_CASE("a key is found by its hint, and a removed one is not") {
  const std::vector<Secret> keys = random_secrets(3);
  const Keyring ring = *Keyring::of({keys[0], keys[1]});
  CHECK(ring.find(key_hint_of(keys[0])) == 0u);
  CHECK(ring.find(key_hint_of(keys[1])) == 1u);
  CHECK(!ring.find(key_hint_of(keys[2])));
  CHECK(!Keyring().find(key_hint_of(keys[0])));
  CHECK(ring.hint(1) == key_hint_of(keys[1]));
  CHECK(hint_text(KeyHint{0x01, 0xab, 0, 0xff}) == "01ab00ff");
}

TEST_CASE("a ring holds no key twice, and no more than the limit") {
  const std::vector<Secret> keys = random_secrets(kMaxKeys + 1);
  CHECK(Keyring::of({keys.begin(), keys.end() - 1}));
  CHECK(Keyring::of(keys).error().code == ErrorCode::kLimit);
  CHECK(Keyring::of({}).error().code == ErrorCode::kUsage);
  const Result<Keyring> twice = Keyring::of({keys[0], keys[1], keys[0]});
  REQUIRE(!twice);
  CHECK(twice.error().code == ErrorCode::kUsage);
  CHECK(twice.error().message.find(hint_text(key_hint_of(keys[0]))) != std::string::npos);
}

TEST_CASE("a key file that is too long, has no key or a line that is none is refused") {
  const std::string key = random_secrets(1)[0].reveal();
  CHECK(Keyring::parse(key + std::string(kMaxKeyFileBytes - key.size(), ' ')));
  CHECK(Keyring::parse(key + std::string(kMaxKeyFileBytes - key.size() + 1, ' ')).error().code ==
        ErrorCode::kLimit);
  CHECK(Keyring::parse("").error().code == ErrorCode::kUsage);
  CHECK(Keyring::parse("# none\n").error().code == ErrorCode::kUsage);
  for (const std::string& line :
       {std::string("key"), key + key, key + " " + key, key.substr(1), key.substr(1) + "="}) {
    const Result<Keyring> ring = Keyring::parse(key + "\n\n" + line + "\n");
    REQUIRE(!ring);
    CHECK(ring.error().code == ErrorCode::kMalformed);
    CHECK(ring.error().message.starts_with("line 3 "));
    // Errors end up in logs.
    CHECK(ring.error().message.find(key.substr(1, 20)) == std::string::npos);
  }
}
