// Probe: one Swarm and what it wants done, for tests that play all its neighbours.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "peer/swarm.h"

namespace p2p::peer {

inline constexpr std::uint32_t kTestChunkBytes = kMinChunkBytes;

inline Layout layout_of(ChunkIndex chunks) {
  return {std::uint64_t{chunks} * kTestChunkBytes, kTestChunkBytes};
}

inline Bitfield bits(ChunkIndex size, const std::vector<ChunkIndex>& set) {
  Bitfield field(size);
  for (ChunkIndex chunk : set) field.set(chunk);
  return field;
}

// Four chunks asked for at once and `slots` sent, from the start and of everyone: for tests that
// are about something else than how these numbers come about.
inline SwarmConfig steady_config(std::uint32_t slots = 4) {
  return {.first_window_chunks = 4,
          .min_window_chunks = 4,
          .max_window_bytes = 4 * kTestChunkBytes,
          .first_slots = slots,
          .upload_slots = slots,
          .seeder_slots = slots};
}

struct Probe {
  Probe(ChunkIndex chunks, Bitfield have, SwarmConfig config = steady_config(),
        std::uint64_t seed = 1, std::vector<PartialChunk> partial = {})
      : swarm(config, layout_of(chunks), std::move(have), Random(seed), now, std::move(partial)) {}

  // A neighbour that has `theirs`.
  void join(ConnectionId connection, Bitfield theirs) {
    PeerId peer;
    peer.bytes[0] = static_cast<std::uint8_t>(connection);
    swarm.on_connected(connection, peer, now);
    say(connection, Chunks{std::move(theirs)});
  }
  void say(ConnectionId connection, Message message) {
    swarm.on_message(connection, message, now);
    drain();
  }
  void deliver(ConnectionId connection, ChunkIndex chunk) {
    swarm.on_data(connection, chunk, kTestChunkBytes, now);
    swarm.on_chunk_verified(connection, chunk, now);
    drain();
  }
  void drain() {
    while (auto action = swarm.poll_action()) actions.push_back(std::move(*action));
  }
  // Lets time pass, with every wake-up on the way.
  void wait(Duration duration) {
    const Time end = now + duration;
    while (swarm.next_timeout() <= end) {
      now = std::max(now, swarm.next_timeout());
      swarm.on_timeout(now);
      drain();
    }
    now = end;
  }

  // All actions of a kind so far, of one connection where it is given.
  template <typename T>
  std::vector<T> all(std::optional<ConnectionId> connection = {}) const {
    std::vector<T> found;
    for (const SwarmAction& action : actions) {
      const T* one = std::get_if<T>(&action);
      if (one == nullptr) continue;
      if constexpr (requires { one->connection; })
        if (connection && one->connection != *connection) continue;
      found.push_back(*one);
    }
    return found;
  }
  template <typename T>
  std::vector<T> said(ConnectionId connection) const {
    std::vector<T> found;
    for (const SendMessage& sent : all<SendMessage>(connection))
      if (const T* one = std::get_if<T>(&sent.message)) found.push_back(*one);
    return found;
  }
  // The text of the Bye that ended the connection; empty while it stands.
  std::string bye(ConnectionId connection) const {
    const auto ends = all<Disconnect>(connection);
    return ends.empty() ? "" : ends.back().bye.text;
  }
  std::optional<ByeReason> bye_reason(ConnectionId connection) const {
    const auto ends = all<Disconnect>(connection);
    if (ends.empty()) return std::nullopt;
    return ends.back().bye.reason;
  }

  Time now{};
  Swarm swarm;
  std::vector<SwarmAction> actions;
};

}  // namespace p2p::peer
