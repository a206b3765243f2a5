#include "tracker/peer_table.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/tracker/support.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

const PeerId kStranger = peer_id(1'000'000);
const IpAddress kElsewhere = address("192.0.2.1");

TableEntry entry_of(std::uint32_t number, Time expires = kStart + 100s, bool complete = false) {
  return TableEntry{peer_id(number), Endpoint{host(number), 4000}, complete, expires, 0};
}

bool put(PeerTable& table, const SwarmId& swarm, const TableEntry& entry) {
  return table.put(swarm, entry, entry.endpoint.address).has_value();
}

void fill(PeerTable& table, std::uint32_t peers) {
  for (std::uint32_t i = 0; i < peers; ++i) REQUIRE(put(table, kSwarm, entry_of(i)));
}

}  // namespace

TEST_CASE("a sample never repeats, never names the asker and never exceeds what is wanted") {
  const std::uint64_t seed = 5;
  CAPTURE(seed);
  Random random(seed);
  for (const std::uint32_t size : {1u, 2u, 7u, 50u, 51u, 199u, 200u, 201u, 202u, 1000u}) {
    PeerTable table({}, Random(seed + size));
    fill(table, size);
    for (int round = 0; round < 200; ++round) {
      const auto asker = static_cast<std::uint32_t>(random.below(size));
      const std::size_t want = random.below(60);
      CAPTURE(size, asker, want);
      const auto sample = table.sample(kSwarm, peer_id(asker), host(asker), want);
      CHECK(sample.size() == std::min({want, std::size_t{size - 1}, kMaxPeersInMessage}));
      std::set<Endpoint> seen;
      for (const PeerRecord& record : sample) {
        CHECK(record.endpoint.address != host(asker));
        CHECK(seen.insert(record.endpoint).second);
      }
    }
  }
}

TEST_CASE("every other peer is handed out equally often, in every place") {
  // 4 standard deviations of a binomial count; the seed is fixed, so this holds or never does.
  for (const std::uint32_t size : {10u, 40u, 400u}) {
    PeerTable table({}, Random(17));
    for (std::uint32_t i = 0; i < size; ++i)
      REQUIRE(put(table, kSwarm, entry_of(i, kStart + 100s, i % 3 == 0)));
    std::map<Endpoint, int> counts, first_counts;
    const int rounds = 20'000;
    const std::size_t want = 8;
    for (int round = 0; round < rounds; ++round) {
      const auto sample = table.sample(kSwarm, peer_id(3), host(3), want);
      for (const PeerRecord& record : sample) ++counts[record.endpoint];
      ++first_counts[sample.front().endpoint];
    }
    CAPTURE(size);
    CHECK(counts.size() == size - 1);
    const double share = static_cast<double>(want) / (size - 1);
    const double deviation = std::sqrt(rounds * share * (1 - share));
    for (const auto& [peer, count] : counts)
      CHECK(std::abs(count - rounds * share) < 4 * deviation + 1);
    const double first = 1.0 / (size - 1);
    for (const auto& [peer, count] : first_counts)
      CHECK(std::abs(count - rounds * first) < 4.5 * std::sqrt(rounds * first) + 1);
  }
}

TEST_CASE("peers that nobody can dial are counted but never handed out") {
  PeerTable table({}, Random(1));
  fill(table, 5);
  TableEntry silent = entry_of(10);
  silent.endpoint.port = 0;
  REQUIRE(put(table, kSwarm, silent));
  TableEntry multicast = entry_of(11);
  multicast.endpoint.address = address("224.0.0.1");
  REQUIRE(put(table, kSwarm, multicast));
  CHECK(table.swarm_size(kSwarm) == 7);
  CHECK(table.sample(kSwarm, kStranger, kElsewhere, 50).size() == 5);
  CHECK(table.sample_incomplete(kSwarm, kStranger, 50).size() == 7);
}

TEST_CASE("loopback entries are given only to askers at loopback addresses") {
  PeerTable table({}, Random(1));
  fill(table, 2);
  TableEntry beside = entry_of(10);
  beside.endpoint = endpoint("127.0.0.1:4000");
  REQUIRE(put(table, kSwarm, beside));
  TableEntry beside6 = entry_of(11);
  beside6.endpoint = endpoint("[::1]:4000");
  REQUIRE(put(table, kSwarm, beside6));
  CHECK(table.sample(kSwarm, kStranger, kElsewhere, 50).size() == 2);
  CHECK(table.sample(kSwarm, kStranger, address("127.0.0.1"), 50).size() == 4);
  CHECK(table.sample(kSwarm, kStranger, address("::1"), 50).size() == 4);
  CHECK(table.sample(kSwarm, peer_id(10), address("127.0.0.1"), 50).size() == 3);
  // The asker itself stands in a group that is not asked for: nothing is skipped in its place.
  CHECK(table.sample(kSwarm, peer_id(10), kElsewhere, 50).size() == 2);
}

TEST_CASE("news goes to incomplete peers only, never to the newcomer") {
  PeerTable table({}, Random(1));
  fill(table, 6);
  REQUIRE(put(table, kSwarm, entry_of(0, kStart + 100s, true)));
  REQUIRE(put(table, kSwarm, entry_of(1, kStart + 100s, true)));
  CHECK(table.complete_count(kSwarm) == 2);
  for (int round = 0; round < 50; ++round) {
    const auto peers = table.sample_incomplete(kSwarm, peer_id(5), 10);
    CHECK(std::set<PeerId>(peers.begin(), peers.end()) ==
          std::set<PeerId>{peer_id(2), peer_id(3), peer_id(4)});
    CHECK(table.sample_incomplete(kSwarm, peer_id(5), 2).size() == 2);
  }
}

TEST_CASE("a renewal moves address, completeness and expiry") {
  PeerTable table({}, Random(1));
  REQUIRE(put(table, kSwarm, entry_of(1, kStart + 10s)));
  TableEntry renewed{peer_id(1), endpoint("[2001:db8::7]:9"), true, kStart + 50s, 77};
  REQUIRE(put(table, kSwarm, renewed));
  CHECK(table.entry_count() == 1);
  CHECK(table.complete_count(kSwarm) == 1);
  table.expire(kStart + 10s);
  const auto found = table.find(kSwarm, peer_id(1));
  REQUIRE(found);
  CHECK(found->endpoint == renewed.endpoint);
  CHECK(found->connection == 77);
  CHECK(table.sample(kSwarm, kStranger, kElsewhere, 5) ==
        std::vector<PeerRecord>{{renewed.endpoint, true}});
  table.expire(kStart + 50s);
  CHECK(table.entry_count() == 0);
}

TEST_CASE("an entry goes at its expiry and not before") {
  PeerTable table({}, Random(1));
  CHECK(table.next_expiry() == kNever);
  REQUIRE(put(table, kSwarm, entry_of(1, kStart + 10s)));
  REQUIRE(put(table, kSwarm, entry_of(2, kStart + 20s)));
  CHECK(table.next_expiry() == kStart + 10s);
  table.expire(kStart + 10s - 1ns);
  CHECK(table.entry_count() == 2);
  table.expire(kStart + 10s);
  CHECK(table.entry_count() == 1);
  CHECK(table.next_expiry() == kStart + 20s);
  table.expire(kStart);
  CHECK(table.entry_count() == 1);
  table.expire(kNever);
  CHECK(table.entry_count() == 0);
  CHECK(table.next_expiry() == kNever);
}

TEST_CASE("expire_by brings an expiry forward and never back") {
  PeerTable table({}, Random(1));
  REQUIRE(put(table, kSwarm, entry_of(1, kStart + 20s)));
  table.expire_by(kSwarm, peer_id(1), kStart + 30s);
  CHECK(table.find(kSwarm, peer_id(1))->expires == kStart + 20s);
  table.expire_by(kSwarm, peer_id(1), kStart + 5s);
  CHECK(table.next_expiry() == kStart + 5s);
  REQUIRE(put(table, kSwarm, entry_of(1, kStart + 40s)));
  table.expire(kStart + 39s);
  CHECK(table.entry_count() == 1);
  table.expire_by(kSwarm, peer_id(9), kStart);
  table.expire_by(swarm_id(9), peer_id(1), kStart);
  table.expire(kStart + 39s);
  CHECK(table.entry_count() == 1);
}

TEST_CASE("one call removes a bounded number of expired entries, the next ones the rest") {
  PeerTable table({}, Random(1));
  fill(table, kMaxExpiredPerCall + 100);
  table.expire(kStart + 1h);
  CHECK(table.entry_count() == 100);
  CHECK(table.next_expiry() <= kStart + 1h);
  table.expire(kStart + 1h);
  CHECK(table.entry_count() == 0);
  CHECK(table.swarm_count() == 0);
}

TEST_CASE("the limit of entries refuses newcomers and still renews") {
  PeerTable table({.entries = 3}, Random(1));
  fill(table, 3);
  const Status refused = table.put(kSwarm, entry_of(3), host(3));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ErrorCode::kLimit);
  CHECK(put(table, kSwarm, entry_of(1)));
  table.remove(kSwarm, peer_id(0));
  CHECK(put(table, kSwarm, entry_of(3)));
}

TEST_CASE("the limit of swarms refuses new swarms and still fills those there are") {
  PeerTable table({.swarms = 2}, Random(1));
  CHECK(put(table, swarm_id(1), entry_of(1)));
  CHECK(put(table, swarm_id(2), entry_of(1)));
  CHECK_FALSE(put(table, swarm_id(3), entry_of(1)));
  CHECK(put(table, swarm_id(2), entry_of(2)));
  table.remove(swarm_id(1), peer_id(1));
  CHECK(table.swarm_count() == 1);
  CHECK(put(table, swarm_id(3), entry_of(1)));
  CHECK(table.entry_count() == 3);
}

TEST_CASE("the limit of an address counts over all swarms and follows a peer that moves") {
  PeerTable table({.entries_per_address = 2}, Random(1));
  const IpAddress crowded = host(9), other = host(8);
  CHECK(table.put(swarm_id(1), entry_of(1), crowded).has_value());
  CHECK(table.put(swarm_id(2), entry_of(2), crowded).has_value());
  CHECK_FALSE(table.put(swarm_id(3), entry_of(3), crowded).has_value());
  CHECK(table.put(swarm_id(3), entry_of(3), other).has_value());
  // It may not move in: it keeps what it has.
  CHECK_FALSE(table.put(swarm_id(3), entry_of(3), crowded).has_value());
  CHECK(table.find(swarm_id(3), peer_id(3)).has_value());
  CHECK(table.put(swarm_id(1), entry_of(1), other).has_value());
  CHECK(table.put(swarm_id(3), entry_of(3), crowded).has_value());
  table.expire(kStart + 1h);
  CHECK(table.put(swarm_id(1), entry_of(1), crowded).has_value());
  CHECK(table.put(swarm_id(2), entry_of(2), crowded).has_value());
}

TEST_CASE("swarms are apart: a peer of one is unknown in another") {
  PeerTable table({}, Random(1));
  REQUIRE(put(table, swarm_id(1), entry_of(1)));
  CHECK(table.sample(swarm_id(2), kStranger, kElsewhere, 5).empty());
  CHECK_FALSE(table.find(swarm_id(2), peer_id(1)));
  table.remove(swarm_id(2), peer_id(1));
  CHECK(table.swarm_size(swarm_id(1)) == 1);
  CHECK(table.swarm_size(swarm_id(2)) == 0);
  CHECK(table.complete_count(swarm_id(2)) == 0);
}

TEST_CASE("the table agrees with a plain map through any puts, removals and expiries") {
  const std::uint64_t seed = 23;
  CAPTURE(seed);
  Random random(seed);
  PeerTable table({}, Random(seed));
  std::map<std::pair<SwarmId, PeerId>, TableEntry> model;
  Time now = kStart;
  for (int round = 0; round < 40'000; ++round) {
    const SwarmId swarm = swarm_id(random.below(4));
    const auto number = static_cast<std::uint32_t>(random.below(60));
    const auto what = random.below(10);
    if (what < 6) {
      TableEntry entry = entry_of(number, now + Duration(random.below(500)), random.chance(0.3));
      if (random.chance(0.2)) entry.endpoint.port = 0;
      REQUIRE(table.put(swarm, entry, host(number)).has_value());
      model[{swarm, entry.peer}] = entry;
    } else if (what < 7) {
      table.remove(swarm, peer_id(number));
      model.erase({swarm, peer_id(number)});
    } else if (what < 8) {
      const Time by = now + Duration(random.below(100));
      table.expire_by(swarm, peer_id(number), by);
      const auto found = model.find({swarm, peer_id(number)});
      if (found != model.end()) found->second.expires = std::min(found->second.expires, by);
    } else {
      now += Duration(random.below(20));
      table.expire(now);
      std::erase_if(model, [now](const auto& item) { return item.second.expires <= now; });
    }
    REQUIRE(table.entry_count() == model.size());
    if (round % 100 != 0) continue;
    std::size_t size = 0, complete = 0, dialable = 0;
    for (const auto& [key, entry] : model) {
      const auto found = table.find(key.first, key.second);
      REQUIRE(found);
      CHECK(found->endpoint == entry.endpoint);
      CHECK(found->complete == entry.complete);
      CHECK(found->expires == entry.expires);
      CHECK(table.next_expiry() <= entry.expires);
      if (key.first != swarm) continue;
      ++size;
      complete += entry.complete ? 1 : 0;
      dialable += entry.endpoint.is_dialable() ? 1 : 0;
    }
    CHECK(table.swarm_size(swarm) == size);
    CHECK(table.complete_count(swarm) == complete);
    CHECK(table.sample(swarm, kStranger, kElsewhere, 50).size() ==
          std::min<std::size_t>(dialable, 50));
  }
}

TEST_CASE("the same seed gives the same samples") {
  PeerTable a({}, Random(4)), b({}, Random(4));
  for (PeerTable* table : {&a, &b}) {
    fill(*table, 300);
    for (std::uint32_t i = 0; i < 100; i += 3) table->remove(kSwarm, peer_id(i));
    table->expire(kStart + 1s);
  }
  for (int round = 0; round < 20; ++round)
    CHECK(a.sample(kSwarm, kStranger, kElsewhere, 50) ==
          b.sample(kSwarm, kStranger, kElsewhere, 50));
}

TEST_CASE("a swarm's summary is that of its entries, whatever comes and goes") {
  Random random(5);
  PeerTable table({}, Random(1));
  const SwarmId swarm = swarm_id(1);
  struct Known {
    bool seeds, complete;
    std::uint8_t percent;
  };
  std::map<std::uint64_t, Known> known;
  std::size_t left_finished = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::uint64_t number = random.below(30);
    const auto found = known.find(number);
    const bool complete = random.chance(0.3);
    const auto percent = static_cast<std::uint8_t>(random.below(100));
    if (found != known.end() && random.chance(0.3)) {
      left_finished += !found->second.seeds && found->second.complete;
      table.remove(swarm, peer_id(number));
      known.erase(found);
      if (known.empty()) left_finished = 0;
    } else if (found != known.end() && random.chance(0.3)) {
      table.set_have_percent(swarm, peer_id(number), percent);
      if (!found->second.complete) found->second.percent = percent;
    } else {
      TableEntry entry;
      entry.peer = peer_id(number);
      entry.endpoint = {host(static_cast<std::uint32_t>(number)), 1};
      entry.complete = complete;
      entry.expires = kNever;
      if (!complete) entry.have_percent = percent;
      REQUIRE(table.put(swarm, entry, host(1)));
      known[number] = {found == known.end() ? complete : found->second.seeds, complete, percent};
    }
    SwarmSummary expected{swarm};
    for (const auto& [peer, of] : known) {
      ++expected.peers;
      expected.complete += of.complete;
      if (of.seeds) continue;
      ++expected.fetchers;
      expected.finished += of.complete;
      if (!of.complete) expected.percent_sum += of.percent;
    }
    const auto summary = table.summary(swarm);
    REQUIRE(summary.has_value() == !known.empty());
    CHECK(table.complete_count() == expected.complete);
    if (!summary) continue;
    CHECK(summary->peers == expected.peers);
    CHECK(summary->complete == expected.complete);
    CHECK(summary->fetchers == expected.fetchers);
    CHECK(summary->finished == expected.finished);
    CHECK(summary->percent_sum == expected.percent_sum);
    CHECK(summary->left_finished == left_finished);
  }
}

TEST_CASE("summaries of all swarms come bit by bit") {
  PeerTable table({}, Random(1));
  for (std::uint64_t number = 0; number < 25; ++number) {
    TableEntry entry;
    entry.peer = peer_id(number);
    entry.endpoint = {host(1), 1};
    entry.expires = kNever;
    REQUIRE(table.put(swarm_id(number), entry, host(1)));
  }
  table.remove(swarm_id(3), peer_id(3));
  std::size_t position = 0;
  std::set<SwarmId> found;
  do {
    for (const SwarmSummary& of : table.summaries(position, 10))
      CHECK(found.insert(of.swarm).second);
  } while (position != 0);
  CHECK(found.size() == 24);
}
