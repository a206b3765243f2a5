// Every limit on what comes from outside that more than one room needs. Limits of one room stand in
// its headers. Checked before memory is taken; docs/protocol.md lists them for other
// implementations.
#pragma once

#include <cstddef>
#include <cstdint>

namespace p2p {

// Chunks.
inline constexpr std::uint32_t kMinChunkBytes = 64 * 1024;
inline constexpr std::uint32_t kMaxChunkBytes = 4 * 1024 * 1024;
// 2^21 hashes of 32 bytes are 64 MiB: no manifest can name more chunks.
inline constexpr std::uint32_t kMaxChunks = 1u << 21;

// Encoded sizes.
inline constexpr std::size_t kMaxManifestBytes = 64 * 1024 * 1024;
inline constexpr std::size_t kMaxMessageBytes = 1024 * 1024;
inline constexpr std::size_t kMaxNesting = 32;

// Frames: a sealed unit on the wire (crypto/channel.h).
inline constexpr std::size_t kMaxDataPayloadBytes = 128 * 1024;

// Peers in one handout or peer exchange.
inline constexpr std::size_t kMaxPeersInMessage = 50;

}  // namespace p2p
