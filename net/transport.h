// Transport: the control thread's side of all connections. Listens, dials, hands connections to
// lanes and their events to a handler. Knows nothing of swarms.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/endpoint.h"
#include "crypto/handshake.h"
#include "net/connection_limits.h"
#include "net/events.h"
#include "net/lane.h"
#include "net/loop.h"

namespace p2p::net {

// Of connections that carry short messages only: one that paces them is of no use, and costs more
// than all the rest that the system does for them. Linux always has this one.
inline constexpr std::string_view kShortMessageCongestionControl = "reno";

struct TransportConfig {
  KeyPair keys = KeyPair::random();
  std::vector<Secret> accepted_psks;  // whoever has one of them may connect
  // 0: no thread, connections are served on the transport's own loop (net/lane.h).
  unsigned lanes = 1;
  // Those who connect send and are sent short messages only.
  bool short_messages = false;
  // Past their handshake; the listener turns away what comes above. Fewer where the system gives us
  // fewer descriptors: some must be left for files.
  std::size_t max_connections = 1000;
  // Open inbound connections of one address (IpAddress::network(); an IPv6 network has
  // kHostsOfNetwork times as many), in their handshake or past it, and never more than half of
  // max_connections. 0: no limit. One above it is closed as one above the rate is.
  std::size_t connections_per_address = 0;
  // Inbound connections of an address. One above the rate is closed when it is accepted: it costs
  // no handshake, no memory and no place, and is no event.
  RateLimit handshakes = handshake_limit(kHandshakesPerSecond);
  // Loopback addresses too: without it neither rate nor number is limited there, since whole
  // clusters are tried out on it.
  bool limits_loopback = false;
  ConnectionTimeouts timeouts;
  BandwidthLimits limits = {};
  // For the log, where an address is turned away: the flag that lets in more. Empty: there is none.
  std::string_view limits_flag = {};
};

// Connections that came in and were not let in, since the beginning.
struct TurnedAway {
  std::uint64_t by_rate = 0;    // of an address
  std::uint64_t by_number = 0;  // that an address has open
  std::uint64_t full = 0;       // no place, or no descriptor
};

// What the log says of an address that is turned away, which `does` what is too much.
std::string turned_away_text(const IpAddress& address, std::string_view does,
                             std::string_view limits_flag);

class Transport {
 public:
  Transport(Loop& loop, TransportConfig config, std::function<void(const Event&)> handler);
  ~Transport();

  // Port 0 takes any free one. Errors: kIo with the address.
  Status listen(const Endpoint& where);
  // Where it listens, with the real port.
  const Endpoint& local() const { return local_; }
  // Past their handshake.
  std::size_t open_connections() const { return opened_.size(); }
  const TurnedAway& turned_away() const { return turned_away_; }
  const PeerId& self() const { return config_.keys.public_key; }

  // Whoever has one of these may connect from now on; who is connected, or in his handshake, stays.
  void set_accepted_psks(const PskList& psks) {
    for (auto& lane : lanes_) lane->accept(psks);
  }

  // From now on, in both directions, for all connections: those that wait under other limits too.
  void set_limits(const BandwidthLimits& limits);

  // Always answered by Opened or Closed.
  ConnectionId dial(const Endpoint& remote, const Secret& psk);
  void attach(ConnectionId id, std::shared_ptr<const ContentIo> io) {
    lane_of(id).attach(id, std::move(io));
  }
  void send(ConnectionId id, WireMessage message) { lane_of(id).send(id, std::move(message)); }
  // Of what is attached; an answer for every request, an empty one past its end.
  void send_manifest_part(ConnectionId id, std::uint32_t offset) {
    lane_of(id).send_manifest_part(id, offset);
  }
  // The same of an outline.
  void send_outline_part(ConnectionId id, std::uint32_t offset,
                         std::shared_ptr<const Bytes> encoded) {
    lane_of(id).send_outline_part(id, offset, std::move(encoded));
  }
  void drop_chunk(ConnectionId id, ChunkIndex chunk) { lane_of(id).drop_chunk(id, chunk); }
  void send_chunk(ConnectionId id, ChunkIndex chunk) { lane_of(id).send_chunk(id, chunk); }
  void stop_sending(ConnectionId id, ChunkIndex chunk) { lane_of(id).stop_sending(id, chunk); }
  // After what was sent before; answered by Closed.
  void close(ConnectionId id) { lane_of(id).close(id); }

 private:
  void on_incoming();
  // False: the address opens more than its rate, or has as many open as it may.
  bool admit(const IpAddress& address);
  bool is_limited(const IpAddress& address) const {
    return config_.limits_loopback || !address.is_loopback();
  }
  std::size_t connection_limit(const IpAddress& address) const;
  // Of an inbound connection, when it is taken and when it is closed.
  void count_open(ConnectionId id, const IpAddress& address);
  void count_closed(ConnectionId id);
  void deliver();
  // False: the handler is not to see it.
  bool note(const Event& event);
  void note_consumed(const Event& event);
  Lane& lane_of(ConnectionId id) { return *lanes_[id % lanes_.size()]; }

  Loop& loop_;
  TransportConfig config_;
  std::function<void(const Event&)> handler_;
  // Lets posted deliveries know that the transport is gone. Outlives the lanes, which copy it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  EventQueue events_;
  std::shared_ptr<Bandwidth> bandwidth_ = std::make_shared<Bandwidth>();
  std::vector<std::unique_ptr<Lane>> lanes_;
  uv_tcp_t* listener_ = nullptr;  // freed by its close callback
  Endpoint local_;
  ConnectionId next_id_ = 1;
  std::size_t max_sockets_ = 0;  // half-open ones too
  std::size_t sockets_ = 0;
  RateLimiter handshakes_, excess_lines_;
  TurnedAway turned_away_;
  // Of each connection past its handshake: what was dealt with and is not reported to its lane.
  absl::flat_hash_map<ConnectionId, std::size_t> opened_;
  // Inbound connections of addresses that have a limit; empty where there is none.
  absl::flat_hash_map<ConnectionId, IpAddress> networks_;
  absl::flat_hash_map<IpAddress, std::size_t> open_of_network_;
};

}  // namespace p2p::net
