// What the handshake gives to two sides that follow it. handshake_hostile_test.cc has the others.
#include "crypto/handshake.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "crypto/digest.h"
#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

bool contains(const Bytes& haystack, ByteView needle) {
  return std::search(haystack.begin(), haystack.end(), needle.begin(), needle.end()) !=
         haystack.end();
}

// Hands `bytes` over one at a time, as a slow network might.
void trickle(Handshake& to, const Bytes& bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    REQUIRE(!to.complete());
    const Result<std::size_t> used = to.on_bytes(ByteView(bytes).subspan(i, 1));
    REQUIRE(used.has_value());
    REQUIRE(*used == 1);
  }
}

}  // namespace

TEST_CASE("two sides with one secret get a session and know each other's key") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  const HandshakeConfig a = config_with(random, psk), b = config_with(random, psk);
  Pair pair(a, b, random);
  pair.run();
  REQUIRE(pair.initiator.complete());
  REQUIRE(pair.responder.complete());
  CHECK(pair.wire.size() == 3);
  Session ours = pair.initiator.take_session(), theirs = pair.responder.take_session();
  CHECK(ours.remote == b.static_keys.public_key);
  CHECK(theirs.remote == a.static_keys.public_key);
  CHECK(ours.cipher == available_ciphers().front());
  CHECK(ours.psk == psk);
  CHECK(theirs.psk == psk);
  CHECK(sessions_match(ours, theirs));
  CHECK(pair.initiator.take_output().empty());
  CHECK(!pair.initiator.refusal());
}

TEST_CASE("each handshake makes other keys, though the sides and the secret are the same") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  const HandshakeConfig a = config_with(random, psk), b = config_with(random, psk);
  Bytes frames[2];
  for (Bytes& frame : frames) {
    Pair pair(a, b, random);
    pair.run();
    REQUIRE(pair.initiator.complete());
    Session session = pair.initiator.take_session();
    frame = seal(session.sealer, FrameKind::kMessage, bytes_of("the same words"));
  }
  CHECK(frames[0] != frames[1]);
}

TEST_CASE("the two directions have different keys") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  Pair pair(config_with(random, psk), config_with(random, psk), random);
  pair.run();
  REQUIRE(pair.initiator.complete());
  Session session = pair.initiator.take_session();
  const ByteView body = bytes_of("sent back to where it came from");
  CHECK(!opens_as(session.opener, seal(session.sealer, FrameKind::kMessage, body), body));
}

TEST_CASE("without a fixed ephemeral key each side draws its own") {
  Random random(kSeed);
  const HandshakeConfig config = config_with(random, random_secret(random));
  Handshake one(Handshake::Role::kInitiator, config), other(Handshake::Role::kInitiator, config);
  CHECK(one.take_output() != other.take_output());
}

TEST_CASE("bytes may arrive one at a time") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  Pair pair(config_with(random, psk), config_with(random, psk), random);
  trickle(pair.responder, pair.initiator.take_output());
  trickle(pair.initiator, pair.responder.take_output());
  trickle(pair.responder, pair.initiator.take_output());
  REQUIRE(pair.initiator.complete());
  REQUIRE(pair.responder.complete());
  Session ours = pair.initiator.take_session(), theirs = pair.responder.take_session();
  CHECK(sessions_match(ours, theirs));
}

TEST_CASE("what follows the last message is left to the caller") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  Pair pair(config_with(random, psk), config_with(random, psk), random);
  REQUIRE(pair.responder.on_bytes(pair.initiator.take_output()).has_value());
  const Bytes second = pair.responder.take_output();
  Bytes with_more = second;
  with_more.resize(second.size() + 7, 0xaa);
  const Result<std::size_t> used = pair.initiator.on_bytes(with_more);
  REQUIRE(used.has_value());
  CHECK(*used == second.size());
  Session ours = pair.initiator.take_session();

  Bytes third = pair.initiator.take_output();
  const std::size_t third_bytes = third.size();
  const ByteView body = bytes_of("the first frame comes in the same packet");
  const Bytes frame = seal(ours.sealer, FrameKind::kMessage, body);
  third.insert(third.end(), frame.begin(), frame.end());
  const Result<std::size_t> used_third = pair.responder.on_bytes(third);
  REQUIRE(used_third.has_value());
  CHECK(*used_third == third_bytes);
  Session theirs = pair.responder.take_session();
  CHECK(opens_as(theirs.opener, frame, body));
  CHECK(pair.responder.on_bytes(frame).value() == 0);
}

TEST_CASE("the best cipher both have is agreed, by the initiator's order") {
  if (available_ciphers().size() < 2) {
    WARN("skipped: this machine has no AES instructions");
    return;
  }
  const Cipher aes = Cipher::kAes256Gcm, chacha = Cipher::kChaCha20Poly1305;
  struct Case {
    std::vector<Cipher> initiator, responder;
    Cipher agreed;
  };
  const Case cases[] = {
      {{aes, chacha}, {aes, chacha}, aes},    {{aes, chacha}, {chacha}, chacha},
      {{chacha}, {aes, chacha}, chacha},      {{aes}, {aes, chacha}, aes},
      {{chacha, aes}, {aes, chacha}, chacha},
  };
  Random random(kSeed);
  const Secret psk = random_secret(random);
  for (const Case& c : cases) {
    HandshakeConfig a = config_with(random, psk), b = config_with(random, psk);
    a.ciphers = c.initiator;
    b.ciphers = c.responder;
    Pair pair(a, b, random);
    pair.run();
    REQUIRE(pair.initiator.complete());
    REQUIRE(pair.responder.complete());
    Session ours = pair.initiator.take_session(), theirs = pair.responder.take_session();
    CHECK(ours.cipher == c.agreed);
    CHECK(sessions_match(ours, theirs));
  }
}

TEST_CASE("two sides without a cipher in common do not connect, and say why") {
  if (available_ciphers().size() < 2) {
    WARN("skipped: this machine has no AES instructions");
    return;
  }
  Random random(kSeed);
  const Secret psk = random_secret(random);
  HandshakeConfig a = config_with(random, psk), b = config_with(random, psk);
  a.ciphers = {Cipher::kAes256Gcm};
  b.ciphers = {Cipher::kChaCha20Poly1305};
  Pair pair(a, b, random);
  pair.run();
  REQUIRE(pair.initiator_error);
  CHECK(pair.initiator_error->code == ErrorCode::kMalformed);
  CHECK(pair.initiator_error->message == "the two sides have no cipher in common");
  CHECK(!pair.responder.complete());
}

TEST_CASE("a responder with a thousand secrets finds the one that is meant") {
  Random random(kSeed);
  std::vector<Secret> psks;
  for (int i = 0; i < 1000; ++i) psks.push_back(random_secret(random));
  HandshakeConfig responder{.static_keys = random_keys(random), .psks = psks};
  for (const std::size_t index : {std::size_t{0}, std::size_t{500}, std::size_t{999}}) {
    Pair pair(config_with(random, psks[index]), responder, random);
    pair.run();
    REQUIRE(pair.initiator.complete());
    REQUIRE(pair.responder.complete());
    Session ours = pair.initiator.take_session(), theirs = pair.responder.take_session();
    CHECK(theirs.psk == psks[index]);
    CHECK(sessions_match(ours, theirs));
  }
}

TEST_CASE("neither the static keys nor the secret is readable on the wire") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  const HandshakeConfig a = config_with(random, psk), b = config_with(random, psk);
  Pair pair(a, b, random);
  pair.run();
  REQUIRE(pair.responder.complete());
  for (const Bytes& message : pair.wire) {
    for (const HandshakeConfig* config : {&a, &b}) {
      CHECK(!contains(message, config->static_keys.public_key.view()));
      CHECK(!contains(message, config->static_keys.private_key.view()));
    }
    CHECK(!contains(message, psk.view()));
  }
}

TEST_CASE("two first messages of one initiator have nothing but their form in common") {
  Random random(kSeed);
  const HandshakeConfig config = config_with(random, random_secret(random));
  const KeyPair keys[] = {random_keys(random), random_keys(random)};
  Handshake one(Handshake::Role::kInitiator, config, keys[0]);
  Handshake other(Handshake::Role::kInitiator, config, keys[1]);
  const Bytes first = one.take_output(), second = other.take_output();
  REQUIRE(first.size() == second.size());
  constexpr std::size_t kForm = 6;  // magic and length
  for (std::size_t at = kForm; at + 8 <= first.size(); ++at)
    CHECK(!contains(second, ByteView(first).subspan(at, 8)));
}

TEST_CASE("the messages are on the wire as the format says") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  Pair pair(config_with(random, psk), config_with(random, psk), random);
  pair.run();
  REQUIRE(pair.wire.size() == 3);
  const std::size_t key = 32, tag = 16;
  const std::size_t first = key + 16 + tag;
  const std::size_t second = key + (key + tag) + available_ciphers().size() + tag;
  const std::size_t third = (key + tag) + 1 + tag;
  CHECK(text_of(pair.wire[0]).substr(0, 4) == "p2p1");
  CHECK(pair.wire[0].size() == 6 + first);
  CHECK(get_u16(pair.wire[0].data() + 4) == first);
  CHECK(pair.wire[1].size() == 2 + second);
  CHECK(get_u16(pair.wire[1].data()) == second);
  CHECK(pair.wire[2].size() == 2 + third);
  CHECK(get_u16(pair.wire[2].data()) == third);
}

TEST_CASE("the stream keys are derived from Noise's as the reference says") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  HandshakeConfig config = config_with(random, psk);
  config.ciphers = {Cipher::kChaCha20Poly1305};
  Handshake responder(Handshake::Role::kResponder, config);
  RogueInitiator initiator(psk, random_keys(random), random_keys(random));
  REQUIRE(responder.on_bytes(initiator.message1()).has_value());
  const std::uint8_t choice = 2;
  const Bytes third = initiator.message3(responder.take_output(), ByteView(&choice, 1));
  REQUIRE(responder.on_bytes(third).has_value());
  REQUIRE(responder.complete());
  Session session = responder.take_session();
  Hasher hasher = Hasher::derive("p2p 1 stream ChaCha20-Poly1305");
  hasher.update(initiator.noise.split().first.view());
  Sealer sealer(Cipher::kChaCha20Poly1305, *Secret::from_bytes(hasher.finish().view()));
  const ByteView body = bytes_of("from a second implementation");
  CHECK(opens_as(session.opener, seal(sealer, FrameKind::kMessage, body), body));
}
