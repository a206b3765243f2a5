#include "crypto/psk_list.h"

#include <catch2/catch.hpp>

#include "crypto/digest.h"
#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

TEST_CASE("a hint finds its psk among a thousand, and no psk with another ephemeral key") {
  Random random(kSeed);
  std::vector<Secret> psks;
  for (int i = 0; i < 1000; ++i) psks.push_back(random_secret(random));
  const PskList list(psks);
  for (std::size_t index : {0, 1, 499, 998, 999}) {
    const PeerId ephemeral = random_keys(random).public_key;
    const PskHint hint = PskList{psks[index]}.hint(0, ephemeral);
    CHECK(list.find(hint, ephemeral) == index);
    CHECK(list[index] == psks[index]);
    CHECK(!list.find(hint, random_keys(random).public_key));
  }
}

TEST_CASE("a hint that is cut, changed or of a psk that is not listed finds nothing") {
  Random random(kSeed);
  const PskList list{random_secret(random), random_secret(random)};
  const PeerId ephemeral = random_keys(random).public_key;
  const PskHint hint = list.hint(1, ephemeral);
  CHECK(list.find(hint, ephemeral) == 1u);
  CHECK(!list.find({}, ephemeral));
  CHECK(!list.find(ByteView(hint).first(15), ephemeral));
  for (std::size_t bit = 0; bit < hint.size() * 8; ++bit) {
    PskHint changed = hint;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    CHECK(!list.find(changed, ephemeral));
  }
  CHECK(!list.find(PskList{random_secret(random)}.hint(0, ephemeral), ephemeral));
  CHECK(!PskList().find(hint, ephemeral));
}

TEST_CASE("a hint is what the protocol's reference says") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  const PeerId ephemeral = random_keys(random).public_key;
  Hasher derive = Hasher::derive("p2p 1 psk hint");
  derive.update(psk.view());
  Hasher keyed = Hasher::keyed(*Secret::from_bytes(derive.finish().view()));
  keyed.update(ephemeral.view());
  const PskHint hint = PskList{psk}.hint(0, ephemeral);
  CHECK(to_hex(hint) == keyed.finish().hex().substr(0, 32));
}
