// UdpSocket: datagrams out and in, on a loop of one thread. It knows nothing of what is in them.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/result.h"
#include "crypto/datagram.h"
#include "net/loop.h"

namespace p2p::net {

// Of what the system takes no more of at once. Beyond it datagrams are dropped: late ones are worth
// less than none, and whoever sends them copes with loss anyway.
inline constexpr std::size_t kMaxUdpQueuedBytes = 128 * 1024;
// What the system keeps for us while the loop is busy: a burst of some hundred datagrams. Linux
// gives less where net.core.rmem_max says so.
inline constexpr std::size_t kUdpReceiveBufferBytes = 1024 * 1024;

// Since the start. Of datagrams, not bytes.
struct UdpCounts {
  std::uint64_t sent = 0;             // given to the system
  std::uint64_t dropped_full = 0;     // not sent: the queue was full
  std::uint64_t dropped_error = 0;    // not sent: the system refused, such as for want of a route
  std::uint64_t received = 0;         // given to the callback
  std::uint64_t received_longer = 0;  // than kMaxDatagramBytes, and dropped
};

// Must be destroyed on the loop's thread, before the loop. May be destroyed in its callback.
class UdpSocket {
 public:
  // The bytes are the socket's: valid during the call, in which they may be overwritten (a
  // DatagramOpener decrypts in place).
  using OnDatagram = std::function<void(const Endpoint& from, MutableBytes datagram)>;

  // As uv_udp_try_send. Another one is for tests only: of a system that takes no more.
  using TrySend = int (*)(uv_udp_t*, const uv_buf_t[], unsigned count, const sockaddr*);

  UdpSocket(Loop& loop, OnDatagram on_datagram, TrySend try_send = uv_udp_try_send);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  // Once. Port 0 takes any free one; on [::] it takes and sends IPv4 too. From then on datagrams
  // come in. Errors: kIo with the address.
  Status bind(const Endpoint& where);
  // Where it is bound, with the real port.
  const Endpoint& local() const { return local_; }

  // After bind(). Never waits; at most kMaxDatagramBytes. False: it was dropped at once, and
  // counted. True says nothing about its arrival.
  bool send(const Endpoint& to, ByteView datagram);

  const UdpCounts& counts() const;

 private:
  struct State;
  State* state_;  // freed by its close callback
  Endpoint local_;
};

}  // namespace p2p::net
