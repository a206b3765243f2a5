// Bandwidth: how fast a process may send and receive, over all its connections together and over
// each of them.
//
// What counts is every byte on a transport's TCP connections, either way: payload, messages, the
// frames around them and handshakes. Not the headers of TCP and IP, and not the datagrams of a
// member of a cluster.
//
// Payload waits for its turn, and so does reading, so that TCP holds the sender back. Short
// messages are counted and wait for nothing: news of the schedule must not grow old.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "base/limits.h"
#include "base/time.h"
#include "base/token_bucket.h"

namespace p2p::net {

// Below this the deadlines among peers would take slow for dead.
inline constexpr std::uint64_t kLeastBytesPerSecond = 20'000;

// Bytes a second; 0: no limit.
struct BandwidthLimits {
  std::uint64_t up = 0, down = 0;            // of the process
  std::uint64_t peer_up = 0, peer_down = 0;  // of each connection

  bool operator==(const BandwidthLimits&) const = default;
};

// One direction of a process. Thread-safe: its lanes share it.
class SharedBucket {
 public:
  // As of TokenBucket.
  void set_rate(std::uint64_t bytes_per_second, Time now) {
    std::lock_guard lock(mutex_);
    bucket_.set_rate(bytes_per_second, now);
  }
  Time take(std::size_t bytes, Time now) {
    std::lock_guard lock(mutex_);
    return bucket_.take(bytes, now);
  }
  void give_back(std::size_t bytes) {
    std::lock_guard lock(mutex_);
    bucket_.give_back(bytes);
  }

 private:
  std::mutex mutex_;
  TokenBucket bucket_;  // guarded by mutex_
};

enum class Flow { kUp, kDown };

struct Bandwidth {
  SharedBucket up, down;
};

// One direction of a connection: it takes from the process's bucket and from its own, in slices, so
// that all connections get on at the same time however low the limit is. Used on the connection's
// lane only.
class Throttle {
 public:
  // A slice lasts about this long at the limit: so soon is a chunk cancelled, or overtaken.
  static constexpr Duration kSliceTime = std::chrono::milliseconds(8);
  // Less would be little but the frame around it.
  static constexpr std::size_t kLeastSlice = 1024;
  // The largest frame, and what a read takes in behind it.
  static constexpr std::size_t kMostSlice = kMaxDataPayloadBytes + 4 * 1024;
  // A timer cannot tell what is due so soon from what is due now.
  static constexpr Duration kAtOnce = std::chrono::milliseconds(1);

  // The limit of the process, whose bucket that is, and of the connection. What was paid for under
  // others is forgotten, as the bucket has forgotten it.
  void set(SharedBucket& process, std::uint64_t process_rate, std::uint64_t own_rate, Time now);
  // False: nothing below is to be called.
  bool limits() const { return process_ != nullptr; }
  // Not more than this should flow in one go.
  std::size_t slice() const { return slice_; }

  // For a sender: are so many bytes paid for, and due? If not, they are at due(), or will be with
  // another slice then: ask again.
  bool pay(std::size_t bytes, Time now);
  // So many are sent: from what was paid for, as far as it goes; the rest is owed.
  void spend(std::size_t bytes, Time now);

  // For a receiver, after the fact. False: a slice is full, and no more is to be read before due().
  bool receive(std::size_t bytes, Time now);

  // Nothing more is going to flow: others have what was paid for in vain, and what was not is owed.
  void leave(Time now);

  Time due() const { return due_; }

 private:
  static bool is_due(Time due, Time now) { return due <= now + kAtOnce; }
  Time take(std::size_t bytes, Time now);

  SharedBucket* process_ = nullptr;
  TokenBucket own_;
  std::size_t slice_ = 0;
  std::size_t paid_ = 0;      // and not spent
  std::size_t received_ = 0;  // and not taken
  Time due_{};
};

}  // namespace p2p::net
