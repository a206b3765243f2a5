// Secrets and X25519 key pairs. A Secret is wiped when it goes and has no way to be printed by
// accident.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"

namespace p2p {

// Must be called once before anything else of this room; aborts where libsodium cannot start.
void init_crypto();

// 32 secret bytes: a pre-shared key (link secret or cluster key) or a private key. Copyable, wiped.
class Secret {
 public:
  static constexpr std::size_t kSize = 32;
  Secret() = default;  // all zero
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret();

  static Secret random();
  static std::optional<Secret> from_bytes(ByteView bytes);
  // base64url without padding, 43 characters, canonical only.
  static Result<Secret> parse(std::string_view text);
  std::string reveal() const;  // the same text; for links and key files only

  ByteView view() const { return bytes_; }
  bool operator==(const Secret& other) const;  // in constant time

 private:
  std::array<std::uint8_t, kSize> bytes_{};
};

// The key of trackers that run without a cluster key. Public: it keeps out bystanders who listen,
// not people who know p2p. Contents stay closed all the same: the tracker never has their secret.
Secret open_tracker_key();

struct KeyPair {
  Secret private_key;
  PeerId public_key;

  static KeyPair random();
  static KeyPair from_private(const Secret& private_key);
};

// 64 random bits from the system, to seed a Random.
std::uint64_t random_seed();

}  // namespace p2p
