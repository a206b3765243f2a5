// The 32-byte names of p2p, each a type of its own so that none is taken for another.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "base/bytes.h"

namespace p2p {

template <typename Tag>
struct Id {
  static constexpr std::size_t kSize = 32;
  std::array<std::uint8_t, kSize> bytes{};

  static std::optional<Id> from_bytes(ByteView view) {
    if (view.size() != kSize) return std::nullopt;
    Id id;
    std::copy(view.begin(), view.end(), id.bytes.begin());
    return id;
  }

  ByteView view() const { return bytes; }
  std::string hex() const {
    return absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  // The first 8 hex digits: enough for a person to tell two apart in a log.
  std::string short_hex() const { return hex().substr(0, 8); }

  auto operator<=>(const Id&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const Id& id) {
    return H::combine(std::move(state), id.bytes);
  }
};

using Digest = Id<struct DigestTag>;        // BLAKE3 of a chunk
using ContentId = Id<struct ContentIdTag>;  // BLAKE3 of a manifest, in its own context
using SwarmId = Id<struct SwarmIdTag>;  // what owners call a content: it tells them nothing of it
using PeerId = Id<struct PeerIdTag>;    // a peer's X25519 public key

}  // namespace p2p
