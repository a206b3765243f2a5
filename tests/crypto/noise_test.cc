// crypto/noise.h against the vectors that Noise implementations publish and exchange.
#include "crypto/noise.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;
using nlohmann::json;

namespace {

constexpr const noise::Pattern* kPatterns[] = {&noise::kNN, &noise::kNNpsk0, &noise::kXX,
                                               &noise::kXXpsk3};

std::string vectors_path() {
  const char* folder = std::getenv("P2P_VECTORS");
  return std::string(folder ? folder : P2P_SOURCE_DIR "/../shared/vectors") + "/noise.json";
}

const noise::Pattern* pattern_of(const std::string& protocol_name) {
  for (const noise::Pattern* pattern : kPatterns)
    if (protocol_name == "Noise_" + std::string(pattern->name) + "_25519_ChaChaPoly_SHA256")
      return pattern;
  return nullptr;
}

Bytes hex_field(const json& vector, const std::string& name) {
  return vector.contains(name) ? from_hex(vector[name].get<std::string>()) : Bytes();
}

KeyPair key_field(const json& vector, const std::string& name) {
  if (!vector.contains(name)) return KeyPair{};
  return KeyPair::from_private(*Secret::from_bytes(hex_field(vector, name)));
}

noise::HandshakeState side_of(const noise::Pattern& pattern, const json& vector, bool initiator) {
  const std::string prefix = initiator ? "init_" : "resp_";
  return noise::HandshakeState(pattern, initiator, hex_field(vector, prefix + "prologue"),
                               key_field(vector, prefix + "static"),
                               key_field(vector, prefix + "ephemeral"));
}

void set_psk(noise::HandshakeState& side, const json& vector, const std::string& name) {
  if (!vector.contains(name)) return;
  side.set_psk(*Secret::from_bytes(from_hex(vector[name][0].get<std::string>())));
}

void check_transport(const json& message, noise::CipherState& writer, noise::CipherState& reader) {
  const Bytes payload = hex_field(message, "payload");
  Bytes wire;
  writer.encrypt_with_ad({}, payload, wire);
  CHECK(to_hex(wire) == message["ciphertext"].get<std::string>());
  const Result<Bytes> read = reader.decrypt_with_ad({}, wire);
  REQUIRE(read.has_value());
  CHECK(*read == payload);
}

void check_vector(const noise::Pattern& pattern, const json& vector) {
  noise::HandshakeState initiator = side_of(pattern, vector, true);
  noise::HandshakeState responder = side_of(pattern, vector, false);
  set_psk(initiator, vector, "init_psks");
  set_psk(responder, vector, "resp_psks");
  noise::CipherState ciphers[4];  // the initiator's way: writer, reader; the responder's: the same
  std::size_t index = 0;
  for (const json& message : vector["messages"]) {
    const bool forth = index++ % 2 == 0;
    if (initiator.finished()) {
      check_transport(message, ciphers[forth ? 0 : 2], ciphers[forth ? 1 : 3]);
      continue;
    }
    Bytes wire;
    REQUIRE((forth ? initiator : responder)
                .write_message(hex_field(message, "payload"), wire)
                .has_value());
    CHECK(to_hex(wire) == message["ciphertext"].get<std::string>());
    const Result<Bytes> read = (forth ? responder : initiator).read_message(wire);
    REQUIRE(read.has_value());
    CHECK(*read == hex_field(message, "payload"));
    if (!initiator.finished()) continue;
    ciphers[0].initialize_key(initiator.split().first);
    ciphers[1].initialize_key(responder.split().first);
    ciphers[2].initialize_key(responder.split().second);
    ciphers[3].initialize_key(initiator.split().second);
  }
  CHECK(index > pattern.message_count);
  CHECK(to_hex(initiator.handshake_hash()) == vector["handshake_hash"].get<std::string>());
  CHECK(to_hex(responder.handshake_hash()) == vector["handshake_hash"].get<std::string>());
}

}  // namespace

TEST_CASE("the published Noise vectors are reproduced") {
  std::ifstream file(vectors_path());
  if (!file) {
    WARN("skipped: no vectors at " << vectors_path() << "; set P2P_VECTORS to their folder");
    return;
  }
  const json document = json::parse(file);
  std::size_t checked = 0;
  for (const json& vector : document["vectors"]) {
    const std::string name = vector["protocol_name"];
    const noise::Pattern* pattern = pattern_of(name);
    if (!pattern) continue;
    INFO(name);
    check_vector(*pattern, vector);
    ++checked;
  }
  CHECK(checked == std::size(kPatterns));
}

TEST_CASE("a Noise message of any length that is too short is an error") {
  Random random(kSeed);
  const KeyPair keys[] = {random_keys(random), random_keys(random), random_keys(random),
                          random_keys(random)};
  noise::HandshakeState initiator(noise::kXX, true, {}, keys[0], keys[1]);
  Bytes first;
  REQUIRE(initiator.write_message({}, first).has_value());
  noise::HandshakeState responder(noise::kXX, false, {}, keys[2], keys[3]);
  REQUIRE(responder.read_message(first).has_value());
  Bytes second;
  REQUIRE(responder.write_message(bytes_of("payload"), second).has_value());
  for (std::size_t length = 0; length < second.size(); ++length) {
    noise::HandshakeState again(noise::kXX, true, {}, keys[0], keys[1]);
    Bytes out;
    REQUIRE(again.write_message({}, out).has_value());
    CHECK(!again.read_message(ByteView(second).first(length)).has_value());
  }
}

TEST_CASE("a public key of low order is refused") {
  // The points of order 1, 2, 4 and 8 that fit the field (RFC 7748, section 6.1, asks for the
  // check).
  const char* points[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  };
  Random random(kSeed);
  for (const char* point : points) {
    INFO(point);
    noise::HandshakeState responder(noise::kXX, false, {}, random_keys(random),
                                    random_keys(random));
    REQUIRE(responder.read_message(from_hex(point)).has_value());
    Bytes out;
    CHECK(!responder.write_message({}, out).has_value());
  }
}
