// Somebody announces contents or peers without end: limits stop it, at a bounded cost in memory.
#include <malloc.h>

#include <catch2/catch.hpp>

#include "tests/tracker/support.h"
#include "tracker/owner.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

// 0 where the allocator does not tell, as under a sanitizer.
std::size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

std::size_t refusals(Owner& owner) {
  std::size_t found = 0;
  for (const auto& action : drain(owner))
    if (const auto* send = std::get_if<SendMessage>(&action))
      found += std::holds_alternative<Refusal>(send->message) ? 1 : 0;
  return found;
}

// One host: connection i says that it is peer i in swarm_of(i).
template <typename SwarmOf>
std::size_t flood(Owner& owner, std::uint64_t connections, SwarmOf swarm_of) {
  std::size_t refused = 0;
  for (ConnectionId id = 1; id <= connections; ++id) {
    owner.on_connected(id, peer_id(id), host(1), kStart);
    owner.on_message(id, announce_of(swarm_of(id), Event::kStarted, 4000, 50), kStart);
    refused += refusals(owner);
    owner.on_disconnected(id, kStart);
  }
  return refused;
}

}  // namespace

TEST_CASE("200000 peers from one address hit its limit, and others still get in") {
  OwnerConfig config;
  config.limits.entries_per_address = 1000;
  Owner owner(config, Random(1), kStart);
  CHECK(flood(owner, 200'000, [](auto) { return swarm_id(1); }) == 199'000);
  CHECK(owner.table().entry_count() == 1000);
  owner.on_connected(900'000, peer_id(900'000), host(2), kStart);
  owner.on_message(900'000, announce_of(swarm_id(1), Event::kStarted, 4000, 50), kStart);
  CHECK(refusals(owner) == 0);
  owner.on_timeout(kStart + kDisconnectGrace);
  CHECK(owner.table().entry_count() == 1);
}

TEST_CASE("200000 contents from one address hit its limit") {
  OwnerConfig config;
  config.limits.entries_per_address = 1000;
  Owner owner(config, Random(1), kStart);
  CHECK(flood(owner, 200'000, swarm_id) == 199'000);
  CHECK(owner.table().swarm_count() == 1000);
}

TEST_CASE("contents from many addresses hit the limit of swarms") {
  OwnerConfig config;
  config.limits.swarms = 500;
  Owner owner(config, Random(1), kStart);
  std::size_t refused = 0;
  for (ConnectionId id = 1; id <= 3000; ++id) {
    owner.on_connected(id, peer_id(id), host(static_cast<std::uint32_t>(id)), kStart);
    owner.on_message(id, announce_of(swarm_id(id), Event::kStarted, 4000, 50), kStart);
    refused += refusals(owner);
  }
  CHECK(refused == 2500);
  CHECK(owner.table().swarm_count() == 500);
}

TEST_CASE("200000 entries take a bounded amount of memory and give it back to new ones") {
  const std::size_t before = heap_bytes();
  PeerTable table({}, Random(1));
  const auto fill = [&table](std::uint32_t first, Time expires) {
    for (std::uint32_t i = first; i < first + 200'000; ++i) {
      const TableEntry entry{peer_id(i), Endpoint{host(i), 4000}, false, expires, i};
      REQUIRE(table.put(swarm_id(i % 2), entry, host(i / 1000)).has_value());
    }
  };
  fill(0, kStart + 1s);
  const std::size_t full = heap_bytes();
  if (before > 0) CHECK((full - before) / 200'000 <= 150);
  while (table.next_expiry() <= kStart + 1s) table.expire(kStart + 1s);
  CHECK(table.entry_count() == 0);
  fill(1'000'000, kStart + 2s);
  if (before > 0) CHECK(heap_bytes() <= full + full / 10);
}

TEST_CASE("a peer that starts and stops without end leaves nothing behind") {
  Owner owner({}, Random(1), kStart);
  owner.on_connected(1, peer_id(1), host(1), kStart);
  Time now = kStart;
  const auto churn = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      const SwarmId swarm = swarm_id(static_cast<std::uint64_t>(i));
      now += 2 * kAnnounceGap;
      owner.on_message(1, announce_of(swarm, Event::kStarted, 4000, 50), now);
      owner.on_message(1, announce_of(swarm, Event::kStopped, 4000, 50), now);
      drain(owner);
    }
  };
  churn(1000);
  const std::size_t before = heap_bytes();
  churn(100'000);
  CHECK(owner.table().entry_count() == 0);
  CHECK(owner.table().swarm_count() == 0);
  CHECK(heap_bytes() <= before + 64 * 1024);
  owner.on_disconnected(1, now);
  owner.on_timeout(now + kMaxInterval);
  CHECK(owner.next_timeout() == kNever);
}
