// The secrets a side accepts, and the hint by which a responder finds which one an initiator means
// without the secret, or anything that names it, being readable on the wire.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "crypto/keys.h"

namespace p2p {

// The first 16 bytes of BLAKE3, keyed with derive("p2p 1 psk hint", psk), of the initiator's
// ephemeral public key: another one each time, so that who lacks the psk learns nothing from it.
using PskHint = std::array<std::uint8_t, 16>;

// Immutable, and cheap to copy: thousands of half-open connections share one list and the hint keys
// that it makes when built. Build it when the set of secrets changes, not for each connection. Safe
// to read from several threads.
class PskList {
 public:
  PskList() = default;
  PskList(std::vector<Secret> psks);            // not explicit: configs are filled from vectors
  PskList(std::initializer_list<Secret> psks);  // and from {psk}

  std::size_t size() const { return shared_ ? shared_->psks.size() : 0; }
  bool empty() const { return size() == 0; }
  const Secret& operator[](std::size_t index) const;

  PskHint hint(std::size_t index, const PeerId& ephemeral) const;
  // The psk that `hint` was made with: one compression of BLAKE3 a psk, under 0.2 ms a thousand.
  std::optional<std::size_t> find(ByteView hint, const PeerId& ephemeral) const;

 private:
  struct Shared {
    std::vector<Secret> psks;
    std::vector<Secret> hint_keys;  // one a psk
  };
  std::shared_ptr<const Shared> shared_;
};

}  // namespace p2p
