// What one connection may hold of our memory and time. Every buffer and queue that the other side
// can fill stands here.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/limits.h"
#include "base/rate_limiter.h"
#include "base/time.h"
#include "crypto/channel.h"

namespace p2p::net {

// Bytes that the other side can make a connection hold.
struct ConnectionBudget {
  // The body of a message frame; a longer one ends the connection.
  std::size_t message_bytes;
  // Events that the control thread has not dealt with: reading pauses above, and goes on at half.
  std::size_t unconsumed_bytes;
  // Messages that wait for the socket to take them: a side that does not read is dropped here.
  std::size_t send_queue_bytes;
};
// Before Join, and for those who only announce: a tracker has thousands of these.
inline constexpr ConnectionBudget kSmallBudget{4 * 1024, 32 * 1024, 64 * 1024};
// After Join: a swarm admits few, and manifests and chunk maps are large.
inline constexpr ConnectionBudget kSwarmBudget{kMaxMessageBytes, 1024 * 1024, 2 * 1024 * 1024};

// What an event weighs in the budget beside its message.
inline constexpr std::size_t kEventBytes = 256;

// A read of messages and small frames takes at most this much. The rest of a larger data frame is
// read to its place at once.
inline constexpr std::size_t kReadBytes = 16 * 1024;
// What is left of a frame, which is less than a read, and a read.
inline constexpr std::size_t kReadBufferBytes = 2 * kReadBytes;

// Payload between socket and disk is bounded without a limit of its own. Coming in: each connection
// holds one chunk (chunk_inbox.h), and whole ones wait to be written. While these fill the window
// (SwarmConfig::max_window_bytes) nothing more is asked for (Swarm::set_unwritten): so they are two
// windows at most, and what was overdue. Going out: two blocks for each connection
// (Outbox::kAheadBytes).

// Handshakes of one address (base/rate_limiter.h). One costs a fraction of a millisecond, so that
// an address takes a hundredth of a core. After a rest it has the handshakes of so many seconds at
// once: a thousand hosts behind one address, which all start a fetch, are let in.
inline constexpr unsigned kHandshakesPerSecond = 20;
inline constexpr double kHandshakeBurstSeconds = 50;

inline constexpr RateLimit handshake_limit(double per_second) {
  return {per_second, std::max(per_second * kHandshakeBurstSeconds, 1.0)};
}

// Tests shorten these.
struct ConnectionTimeouts {
  // From accept or dial to the end of the handshake.
  Duration handshake = std::chrono::seconds(5);
  // From the handshake to the first Join or announce.
  Duration first_message = std::chrono::seconds(10);
  // From the first byte of a frame to its last, at most twice this.
  Duration frame = std::chrono::seconds(30);
};

}  // namespace p2p::net
