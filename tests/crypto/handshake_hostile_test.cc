// What the handshake does with those who do not follow it.
#include <catch2/catch.hpp>

#include "crypto/handshake.h"
#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

// Two sides whose every key is fixed, so that a handshake can be run again with one byte changed.
struct Scene {
  explicit Scene(Random& random)
      : psk(random_secret(random)),
        a(config_with(random, psk)),
        b(config_with(random, psk)),
        a_ephemeral(random_keys(random)),
        b_ephemeral(random_keys(random)) {}

  Handshake initiator() const { return {Handshake::Role::kInitiator, a, a_ephemeral}; }
  Handshake responder() const { return {Handshake::Role::kResponder, b, b_ephemeral}; }

  Secret psk;
  HandshakeConfig a, b;
  KeyPair a_ephemeral, b_ephemeral;
};

struct Ends {
  bool initiator = false;
  bool responder = false;
};

// Runs a handshake; `meddle` may change each message (numbered from 1) on its way.
template <typename Meddle>
Ends run_with(const Scene& scene, Meddle meddle) {
  Handshake initiator = scene.initiator(), responder = scene.responder();
  const auto carry = [&](int number, Handshake& from, Handshake& to) {
    Bytes message = from.take_output();
    meddle(number, message);
    return !message.empty() && to.on_bytes(message).has_value();
  };
  (void)(carry(1, initiator, responder) && carry(2, responder, initiator) &&
         carry(3, initiator, responder));
  return {initiator.complete(), responder.complete()};
}

std::vector<std::size_t> message_sizes(const Scene& scene) {
  std::vector<std::size_t> sizes;
  const Ends ends = run_with(scene, [&](int, Bytes& message) { sizes.push_back(message.size()); });
  REQUIRE((ends.initiator && ends.responder));
  REQUIRE(sizes.size() == 3);
  return sizes;
}

Error error_of(Handshake& handshake, ByteView bytes) {
  const Result<std::size_t> used = handshake.on_bytes(bytes);
  REQUIRE(!used.has_value());
  CHECK(!handshake.complete());
  return used.error();
}

}  // namespace

TEST_CASE("a man in the middle who changes any bit of any message never gets two ends to agree") {
  INFO("seed " << kSeed);
  Random random(kSeed);
  const Scene scene(random);
  const std::vector<std::size_t> sizes = message_sizes(scene);
  for (int target = 1; target <= 3; ++target) {
    for (std::size_t bit = 0; bit < sizes[static_cast<std::size_t>(target) - 1] * 8; ++bit) {
      const Ends ends = run_with(scene, [&](int number, Bytes& message) {
        if (number == target) message[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      });
      INFO("message " << target << ", bit " << bit);
      REQUIRE(!ends.responder);
      // Once its third message is out, the initiator can know no more until a frame opens.
      REQUIRE(ends.initiator == (target == 3));
    }
  }
}

TEST_CASE("a man in the middle who cuts or lengthens a message never gets two ends to agree") {
  Random random(kSeed);
  const Scene scene(random);
  const std::vector<std::size_t> sizes = message_sizes(scene);
  for (int target = 1; target <= 3; ++target) {
    const std::size_t length_at = target == 1 ? 4 : 0;
    for (std::size_t length = 0; length < sizes[static_cast<std::size_t>(target) - 1]; ++length) {
      const auto cut = [&](bool fit, int number, Bytes& message) {
        if (number != target) return;
        message.resize(length);
        if (fit && length >= length_at + 2)
          put_u16(message.data() + length_at, static_cast<std::uint16_t>(length - length_at - 2));
      };
      for (const bool fit : {false, true})
        REQUIRE(!run_with(scene, [&](int n, Bytes& message) { cut(fit, n, message); }).responder);
    }
    const Ends longer = run_with(scene, [&](int number, Bytes& message) {
      if (number != target) return;
      message.push_back(0);
      put_u16(message.data() + length_at,
              static_cast<std::uint16_t>(message.size() - length_at - 2));
    });
    CHECK(!longer.responder);
  }
}

TEST_CASE("an initiator with a secret the responder lacks is refused before any Diffie-Hellman") {
  Random random(kSeed);
  Pair pair(config_with(random, random_secret(random)), config_with(random, random_secret(random)),
            random);
  pair.run();
  REQUIRE(pair.responder_error);
  CHECK(pair.responder_error->code == ErrorCode::kRefused);
  REQUIRE(pair.initiator_error);
  CHECK(pair.initiator_error->code == ErrorCode::kRefused);
  CHECK(pair.initiator_error->message == "the other side does not accept this secret");
  CHECK(pair.initiator.refusal() == HandshakeRefusal::kUnknownSecret);
  REQUIRE(pair.wire.size() == 2);
  CHECK(pair.wire[1] == Bytes{0, 1, 1});
}

TEST_CASE("a responder without secrets refuses everybody") {
  Random random(kSeed);
  Pair pair(config_with(random, random_secret(random)),
            HandshakeConfig{.static_keys = random_keys(random)}, random);
  pair.run();
  REQUIRE(pair.initiator_error);
  CHECK(pair.initiator_error->code == ErrorCode::kRefused);
}

TEST_CASE("a busy responder is told from one that does not know the secret") {
  Random random(kSeed);
  const HandshakeConfig config = config_with(random, random_secret(random));
  Handshake busy(Handshake::Role::kInitiator, config);
  const Error error = error_of(busy, handshake_refusal(HandshakeRefusal::kBusy));
  CHECK(error.code == ErrorCode::kRefused);
  CHECK(error.message == "the other side is busy and takes no more connections now");
  CHECK(busy.refusal() == HandshakeRefusal::kBusy);

  Handshake unknown(Handshake::Role::kInitiator, config);
  CHECK(error_of(unknown, Bytes{0, 1, 77}).code == ErrorCode::kRefused);
  CHECK(!unknown.refusal());
}

TEST_CASE("a stranger is refused at the first byte that is wrong") {
  Random random(kSeed);
  const HandshakeConfig config = config_with(random, random_secret(random));
  const std::string_view right = "p2p1";
  for (std::size_t wrong_at = 0; wrong_at < right.size(); ++wrong_at) {
    Handshake responder(Handshake::Role::kResponder, config);
    for (std::size_t i = 0; i < wrong_at; ++i)
      REQUIRE(responder.on_bytes(bytes_of(right.substr(i, 1))).has_value());
    const Error error = error_of(responder, bytes_of("?"));
    CHECK(error.code == ErrorCode::kMalformed);
    CHECK(error.message == (wrong_at == 3 ? "the other side speaks another version of p2p"
                                          : "the other side does not speak p2p"));
    CHECK(responder.take_output().empty());
  }
  Handshake responder(Handshake::Role::kResponder, config);
  CHECK(error_of(responder, bytes_of("GET / HTTP/1.1\r\n")).code == ErrorCode::kMalformed);
}

TEST_CASE("a length over the limit, or of nothing, is refused before the message arrives") {
  Random random(kSeed);
  const HandshakeConfig config = config_with(random, random_secret(random));
  for (const std::size_t length :
       {std::size_t{0}, kMaxHandshakeMessageBytes + 1, std::size_t{0x8000}, std::size_t{0xffff}}) {
    Bytes bytes(2);
    put_u16(bytes.data(), static_cast<std::uint16_t>(length));
    Handshake initiator(Handshake::Role::kInitiator, config);
    CHECK(error_of(initiator, bytes).code == ErrorCode::kMalformed);
    bytes.insert(bytes.begin(), {'p', '2', 'p', '1'});
    Handshake responder(Handshake::Role::kResponder, config);
    CHECK(error_of(responder, bytes).code == ErrorCode::kMalformed);
  }
}

TEST_CASE("after an error every later call gives it again and takes nothing") {
  Random random(kSeed);
  const Scene scene(random);
  Handshake responder = scene.responder();
  const std::string message = error_of(responder, bytes_of("?")).message;
  Handshake initiator = scene.initiator();
  CHECK(error_of(responder, initiator.take_output()).message == message);
  CHECK(error_of(responder, {}).message == message);
}

TEST_CASE("a cipher that was not offered, or not one cipher, is refused") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  HandshakeConfig config = config_with(random, psk);
  config.ciphers = {Cipher::kChaCha20Poly1305};
  for (const Bytes& choice : {Bytes{1}, Bytes{0}, Bytes{255}, Bytes{}, Bytes{2, 2}, Bytes{2, 1}}) {
    Handshake responder(Handshake::Role::kResponder, config);
    RogueInitiator rogue(psk, random_keys(random), random_keys(random));
    REQUIRE(responder.on_bytes(rogue.message1()).has_value());
    const Error error = error_of(responder, rogue.message3(responder.take_output(), choice));
    CHECK(error.code == ErrorCode::kMalformed);
    CHECK(error.message == "the other side chose a cipher that was not offered");
  }
}

TEST_CASE("ciphers of a later version are passed over") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  for (const auto& [offer, agreed] : {std::pair{Bytes{9, 2, 200}, true},
                                      {Bytes{9, 200}, false},
                                      {Bytes{}, false},
                                      {Bytes(400, 2), true}}) {
    Handshake initiator(Handshake::Role::kInitiator, config_with(random, psk));
    noise::HandshakeState responder(noise::kXXpsk3, false, bytes_of("p2p1"), random_keys(random),
                                    random_keys(random));
    responder.set_psk(psk);
    REQUIRE(responder.read_message(ByteView(initiator.take_output()).subspan(6)).has_value());
    Bytes message;
    REQUIRE(responder.write_message(offer, message).has_value());
    CHECK(initiator.on_bytes(framed(message)).has_value() == agreed);
    CHECK(initiator.complete() == agreed);
  }
}

TEST_CASE("who has the secret but sends a hint of another form is malformed, not refused") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  for (const std::size_t size : {0, 15, 17, 400}) {
    Handshake responder(Handshake::Role::kResponder, config_with(random, psk));
    RogueInitiator rogue(psk, random_keys(random), random_keys(random));
    CHECK(error_of(responder, rogue.message1(Bytes(size))).code == ErrorCode::kMalformed);
  }
}

TEST_CASE("keys of low order are refused, ephemeral or static") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  KeyPair low = random_keys(random);
  low.public_key = PeerId{};
  Handshake first(Handshake::Role::kResponder, config_with(random, psk));
  RogueInitiator ephemeral(psk, random_keys(random), low);
  CHECK(error_of(first, ephemeral.message1()).code == ErrorCode::kMalformed);
  CHECK(first.take_output().empty());

  Handshake second(Handshake::Role::kResponder, config_with(random, psk));
  RogueInitiator statics(psk, low, random_keys(random));
  REQUIRE(second.on_bytes(statics.message1()).has_value());
  const Bytes third = statics.message3(second.take_output(), Bytes{2});
  CHECK(error_of(second, third).code == ErrorCode::kMalformed);
}

TEST_CASE("who claims a static key without having its private half is refused") {
  Random random(kSeed);
  const Secret psk = random_secret(random);
  KeyPair stolen = random_keys(random);
  stolen.public_key = random_keys(random).public_key;
  Handshake responder(Handshake::Role::kResponder, config_with(random, psk));
  RogueInitiator rogue(psk, stolen, random_keys(random));
  REQUIRE(responder.on_bytes(rogue.message1()).has_value());
  const Bytes third = rogue.message3(responder.take_output(), Bytes{2});
  CHECK(error_of(responder, third).code == ErrorCode::kMalformed);
}

TEST_CASE("replayed messages of another handshake do not complete one") {
  Random random(kSeed);
  const Scene scene(random);
  std::vector<Bytes> recorded;
  run_with(scene, [&](int, Bytes& message) { recorded.push_back(message); });
  REQUIRE(recorded.size() == 3);
  // The hint is the recorded one, so that message 1 is answered: but under a new ephemeral key.
  Handshake responder(Handshake::Role::kResponder, scene.b, random_keys(random));
  REQUIRE(responder.on_bytes(recorded[0]).has_value());
  CHECK(!responder.take_output().empty());
  CHECK(error_of(responder, recorded[2]).code == ErrorCode::kMalformed);
  Handshake initiator(Handshake::Role::kInitiator, scene.a, random_keys(random));
  CHECK(error_of(initiator, recorded[1]).code == ErrorCode::kMalformed);
}

TEST_CASE("a side that gets its own message back does not connect to itself") {
  Random random(kSeed);
  const Scene scene(random);
  Handshake initiator = scene.initiator();
  const Bytes first = initiator.take_output();
  CHECK(error_of(initiator, first).code == ErrorCode::kMalformed);
  Handshake again = scene.initiator();
  CHECK(error_of(again, ByteView(first).subspan(4)).code == ErrorCode::kMalformed);
}

TEST_CASE("random bytes never complete a handshake, and never more is used than was given") {
  INFO("seed " << kSeed);
  Random random(kSeed);
  const Scene scene(random);
  Handshake genuine = scene.initiator();
  const Bytes first = genuine.take_output();
  for (int round = 0; round < 2000; ++round) {
    const bool is_initiator = random.chance(0.5);
    Handshake side = is_initiator ? scene.initiator() : scene.responder();
    // Half of what a responder gets begins well.
    if (!is_initiator && random.chance(0.5))
      REQUIRE(side.on_bytes(ByteView(first).first(random.below(first.size() + 1))).has_value());
    for (int part = 0; part < 5; ++part) {
      const Bytes bytes = random_bytes(random, random.below(300));
      const Result<std::size_t> used = side.on_bytes(bytes);
      if (used) REQUIRE(*used <= bytes.size());
    }
    REQUIRE(!side.complete());
  }
}
