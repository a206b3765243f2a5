// What one address may do at a tracker, and what the flag makes of it.
#include <catch2/catch.hpp>

#include "net/tracker_daemon.h"

using namespace p2p;
using namespace p2p::net;

namespace {

struct Limits {
  explicit Limits(unsigned handshakes_per_second) {
    transport.max_connections = kMaxTrackerConnections;
    set_address_limits(handshakes_per_second, transport, owner);
  }
  TransportConfig transport;
  tracker::OwnerConfig owner;
};

// How many peers of one address are listed, where so many announce at once.
std::size_t listed(unsigned handshakes_per_second, std::size_t announcing) {
  tracker::Owner owner(Limits(handshakes_per_second).owner, Random(1), Time{});
  const IpAddress gateway = *IpAddress::parse("192.0.2.1");
  for (std::uint64_t id = 1; id <= announcing; ++id) {
    PeerId peer;
    put_u64(peer.bytes.data(), id);
    owner.on_connected(id, peer, gateway, Time{});
    tracker::Announce announce;
    announce.event = tracker::Event::kStarted;
    announce.port = 4000;
    owner.on_message(id, announce, Time{});
    while (owner.poll_action()) {
    }
  }
  return owner.table().entry_count();
}

}  // namespace

TEST_CASE("by default an address has the limits that the parts name") {
  const Limits limits(kHandshakesPerSecond);
  CHECK(limits.transport.handshakes.per_second == kHandshakesPerSecond);
  CHECK(limits.transport.connections_per_address == kMaxConnectionsOfAddress);
  CHECK(limits.owner.limits.entries_per_address == tracker::TableLimits{}.entries_per_address);
  CHECK(limits.owner.limits.swarms_per_address == tracker::TableLimits{}.swarms_per_address);
  CHECK(limits.owner.announces.per_second == tracker::kAnnouncesOfAddress.per_second);
  CHECK(limits.owner.announces.burst == tracker::kAnnouncesOfAddress.burst);
}

TEST_CASE("ten times the handshakes of an address are ten times all that it may") {
  const Limits limits(10 * kHandshakesPerSecond);
  CHECK(limits.transport.handshakes.burst == 10'000);
  CHECK(limits.transport.connections_per_address == 50'000);
  CHECK(limits.owner.limits.entries_per_address == 200'000);
  CHECK(limits.owner.limits.swarms_per_address == 50'000);
  CHECK(limits.owner.announces.per_second == 10'000);
  CHECK(limits.owner.announces.burst == 200'000);
}

TEST_CASE("a site of 25,000 peers is listed where the tracker was told of its size") {
  CHECK(listed(kHandshakesPerSecond, 25'000) == 20'000);
  CHECK(listed(10 * kHandshakesPerSecond, 25'000) == 25'000);
  CHECK(listed(0, 25'000) == 25'000);
}

TEST_CASE("no flag makes a limit of an address more than the whole, or nothing") {
  for (const unsigned flag : {0u, 1u, kMaxHandshakesPerSecond}) {
    const Limits limits(flag);
    CHECK(limits.transport.connections_per_address <= kMaxTrackerConnections);
    CHECK(limits.owner.limits.entries_per_address >= 1);
    CHECK(limits.owner.limits.entries_per_address <= limits.owner.limits.entries);
    CHECK(limits.owner.limits.swarms_per_address >= 1);
    CHECK(limits.owner.limits.swarms_per_address <= limits.owner.limits.swarms);
    CHECK(limits.owner.announces.burst >= 1);
    RateLimiter announces(limits.owner.announces);
    CHECK(announces.allow(*IpAddress::parse("2001:db8::1"), Time{}));
  }
  CHECK(Limits(0).transport.connections_per_address == 0);
}
