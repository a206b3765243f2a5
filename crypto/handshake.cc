#include "crypto/handshake.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/check.h"
#include "crypto/digest.h"
#include "crypto/noise.h"

namespace p2p {
namespace {

constexpr std::string_view kMagic = "p2p1";
constexpr std::size_t kLengthBytes = 2;
constexpr std::size_t kRefusalBytes = 1;  // no Noise message is that short

Error malformed(std::string message) { return Error{ErrorCode::kMalformed, std::move(message)}; }

Error wrong_magic(std::size_t matching_bytes) {
  // Only the last byte differs: the version.
  return malformed(matching_bytes == kMagic.size() - 1
                       ? "the other side speaks another version of p2p"
                       : "the other side does not speak p2p");
}

Error refused_by_other(std::uint8_t reason) {
  switch (reason) {
    case static_cast<std::uint8_t>(HandshakeRefusal::kUnknownSecret):
      return {ErrorCode::kRefused, "the other side does not accept this secret"};
    case static_cast<std::uint8_t>(HandshakeRefusal::kBusy):
      return {ErrorCode::kRefused, "the other side is busy and takes no more connections now"};
    default:
      return {ErrorCode::kRefused,
              "the other side refused the connection (reason " + std::to_string(reason) + ")"};
  }
}

Bytes encode_ciphers(const std::vector<Cipher>& ciphers) {
  Bytes bytes;
  for (const Cipher cipher : ciphers) bytes.push_back(static_cast<std::uint8_t>(cipher));
  return bytes;
}

// The first of ours, best first, that the other side lists; it may list ones we do not know.
std::optional<Cipher> choose_cipher(const std::vector<Cipher>& ours, ByteView theirs) {
  for (const Cipher cipher : ours)
    if (std::find(theirs.begin(), theirs.end(), static_cast<std::uint8_t>(cipher)) != theirs.end())
      return cipher;
  return std::nullopt;
}

Secret stream_key(Cipher cipher, const Secret& split_key) {
  Hasher hasher = Hasher::derive("p2p 1 stream " + std::string(cipher_name(cipher)));
  hasher.update(split_key.view());
  Digest digest = hasher.finish();
  const Secret key = *Secret::from_bytes(digest.view());
  sodium_memzero(digest.bytes.data(), digest.bytes.size());
  return key;
}

}  // namespace

Bytes handshake_refusal(HandshakeRefusal reason) {
  Bytes bytes(kLengthBytes + kRefusalBytes);
  put_u16(bytes.data(), kRefusalBytes);
  bytes[kLengthBytes] = static_cast<std::uint8_t>(reason);
  return bytes;
}

struct Handshake::State {
  // What the other side must send next.
  enum class Awaiting { kMagic, kMessage1, kMessage2, kMessage3, kNothing };

  State(Role the_role, HandshakeConfig config, const KeyPair& ephemeral);

  // Each takes what it needs from the front of `rest`.
  Status take(ByteView& rest);
  Status take_magic(ByteView& rest);
  bool gather(std::size_t wanted, ByteView& rest);

  Status on_message(ByteView message);
  Status on_message1(ByteView message);
  Status on_message2(ByteView message);
  Status on_message3(ByteView message);
  Status send(ByteView payload);
  void finish(Cipher cipher);
  void fail(Error error);

  const Role role;
  PskList psks;
  std::vector<Cipher> ciphers;
  // Gone, with its keys, as soon as the handshake is complete or has failed.
  std::optional<noise::HandshakeState> noise;
  Awaiting awaiting;
  // The magic, or a length and message, of which the first gathered_bytes are here.
  std::array<std::uint8_t, kLengthBytes + kMaxHandshakeMessageBytes> buffer;
  std::size_t gathered_bytes = 0;
  Bytes output;
  std::size_t psk_index = 0;
  std::optional<HandshakeRefusal> refusal;
  std::optional<Error> failure;
  std::optional<Session> session;
};

Handshake::State::State(Role the_role, HandshakeConfig config, const KeyPair& ephemeral)
    : role(the_role),
      psks(std::move(config.psks)),
      ciphers(std::move(config.ciphers)),
      awaiting(role == Role::kInitiator ? Awaiting::kMessage2 : Awaiting::kMagic) {
  P2P_CHECK(!ciphers.empty());
  noise.emplace(noise::kXXpsk3, role == Role::kInitiator, bytes_of(kMagic), config.static_keys,
                ephemeral);
  if (role == Role::kResponder) return;
  P2P_CHECK(psks.size() == 1);
  noise->set_psk(psks[0]);
  output.assign(kMagic.begin(), kMagic.end());
  P2P_CHECK(send(psks.hint(0, ephemeral.public_key)).has_value());
}

Status Handshake::State::take(ByteView& rest) {
  if (awaiting == Awaiting::kMagic) return take_magic(rest);
  if (!gather(kLengthBytes, rest)) return {};
  const std::size_t length = get_u16(buffer.data());
  if (length == 0 || length > kMaxHandshakeMessageBytes)
    return malformed("the other side claims a handshake message of " + std::to_string(length) +
                     " bytes; 1 to " + std::to_string(kMaxHandshakeMessageBytes) + " are allowed");
  if (!gather(kLengthBytes + length, rest)) return {};
  gathered_bytes = 0;
  return on_message(ByteView(buffer).subspan(kLengthBytes, length));
}

Status Handshake::State::take_magic(ByteView& rest) {
  while (!rest.empty() && gathered_bytes < kMagic.size()) {
    if (rest.front() != static_cast<std::uint8_t>(kMagic[gathered_bytes]))
      return wrong_magic(gathered_bytes);
    rest = rest.subspan(1);
    ++gathered_bytes;
  }
  if (gathered_bytes == kMagic.size()) {
    gathered_bytes = 0;
    awaiting = Awaiting::kMessage1;
  }
  return {};
}

bool Handshake::State::gather(std::size_t wanted, ByteView& rest) {
  if (gathered_bytes < wanted) {
    const std::size_t count = std::min(wanted - gathered_bytes, rest.size());
    std::copy_n(rest.begin(), count, buffer.begin() + gathered_bytes);
    gathered_bytes += count;
    rest = rest.subspan(count);
  }
  return gathered_bytes >= wanted;
}

Status Handshake::State::on_message(ByteView message) {
  switch (awaiting) {
    case Awaiting::kMessage1:
      return on_message1(message);
    case Awaiting::kMessage2:
      return on_message2(message);
    default:
      P2P_CHECK(awaiting == Awaiting::kMessage3);
      return on_message3(message);
  }
}

Status Handshake::State::on_message1(ByteView message) {
  P2P_ASSIGN(const Bytes hint, noise->read_message(message));
  if (hint.size() != PskHint{}.size())
    return malformed("the other side's first handshake message does not name a secret");
  const std::optional<std::size_t> index = psks.find(hint, noise->remote_ephemeral());
  if (!index) {
    output = handshake_refusal(HandshakeRefusal::kUnknownSecret);
    return Error{ErrorCode::kRefused, "the other side uses a secret that is not known here"};
  }
  psk_index = *index;
  noise->set_psk(psks[psk_index]);
  awaiting = Awaiting::kMessage3;
  return send(encode_ciphers(ciphers));
}

Status Handshake::State::on_message2(ByteView message) {
  if (message.size() == kRefusalBytes) {
    if (message[0] == static_cast<std::uint8_t>(HandshakeRefusal::kUnknownSecret) ||
        message[0] == static_cast<std::uint8_t>(HandshakeRefusal::kBusy))
      refusal = static_cast<HandshakeRefusal>(message[0]);
    return refused_by_other(message[0]);
  }
  P2P_ASSIGN(const Bytes theirs, noise->read_message(message));
  const std::optional<Cipher> cipher = choose_cipher(ciphers, theirs);
  if (!cipher) return malformed("the two sides have no cipher in common");
  const std::uint8_t choice = static_cast<std::uint8_t>(*cipher);
  P2P_TRY(send(ByteView(&choice, 1)));
  finish(*cipher);
  return {};
}

Status Handshake::State::on_message3(ByteView message) {
  P2P_ASSIGN(const Bytes choice, noise->read_message(message));
  const Bytes offered = encode_ciphers(ciphers);
  if (choice.size() != 1 || std::find(offered.begin(), offered.end(), choice[0]) == offered.end())
    return malformed("the other side chose a cipher that was not offered");
  finish(static_cast<Cipher>(choice[0]));
  return {};
}

Status Handshake::State::send(ByteView payload) {
  Bytes message;
  P2P_TRY(noise->write_message(payload, message));
  P2P_CHECK(message.size() > kRefusalBytes && message.size() <= kMaxHandshakeMessageBytes);
  std::uint8_t length[kLengthBytes];
  put_u16(length, static_cast<std::uint16_t>(message.size()));
  output.insert(output.end(), length, length + kLengthBytes);
  output.insert(output.end(), message.begin(), message.end());
  return {};
}

void Handshake::State::finish(Cipher cipher) {
  const auto [initiator_key, responder_key] = noise->split();
  const bool initiator = role == Role::kInitiator;
  session.emplace(
      Session{Sealer(cipher, stream_key(cipher, initiator ? initiator_key : responder_key)),
              Opener(cipher, stream_key(cipher, initiator ? responder_key : initiator_key)),
              noise->remote_static(), psks[psk_index], cipher});
  noise.reset();
  psks = {};
  awaiting = Awaiting::kNothing;
}

void Handshake::State::fail(Error error) {
  failure = std::move(error);
  noise.reset();
  psks = {};
}

Handshake::Handshake(Role role, HandshakeConfig config, std::optional<KeyPair> ephemeral)
    : state_(std::make_unique<State>(role, std::move(config),
                                     ephemeral ? *ephemeral : KeyPair::random())) {}
Handshake::Handshake(Handshake&&) noexcept = default;
Handshake& Handshake::operator=(Handshake&&) noexcept = default;
Handshake::~Handshake() = default;

Result<std::size_t> Handshake::on_bytes(ByteView bytes) {
  State& state = *state_;
  ByteView rest = bytes;
  while (!state.failure && !complete() && !rest.empty()) {
    Status status = state.take(rest);
    if (!status) state.fail(std::move(status).error());
  }
  if (state.failure) return *state.failure;
  return bytes.size() - rest.size();
}

Bytes Handshake::take_output() { return std::exchange(state_->output, {}); }

std::optional<HandshakeRefusal> Handshake::refusal() const { return state_->refusal; }

bool Handshake::complete() const { return state_->awaiting == State::Awaiting::kNothing; }

Session Handshake::take_session() {
  P2P_CHECK(complete() && state_->session);
  Session session = std::move(*state_->session);
  state_->session.reset();
  return session;
}

}  // namespace p2p
