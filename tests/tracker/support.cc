#include "tests/tracker/support.h"

#include <numeric>

namespace p2p::tracker::test {
namespace {

template <typename IdType>
IdType numbered(std::uint64_t number) {
  IdType id;
  put_u64(id.bytes.data(), number);
  return id;
}

Endpoint random_endpoint(Random& random) {
  for (;;) {
    Bytes bytes(random.chance(0.5) ? 4 : 16);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    const Endpoint drawn{*IpAddress::from_bytes(bytes), static_cast<std::uint16_t>(random.next())};
    if (drawn.is_dialable()) return drawn;
  }
}

SwarmId random_swarm(Random& random) {
  SwarmId swarm;
  for (auto& byte : swarm.bytes) byte = static_cast<std::uint8_t>(random.next());
  return swarm;
}

}  // namespace

PeerId peer_id(std::uint64_t number) { return numbered<PeerId>(number); }
SwarmId swarm_id(std::uint64_t number) { return numbered<SwarmId>(number); }
IpAddress address(const std::string& text) { return *IpAddress::parse(text); }
Endpoint endpoint(const std::string& text) { return *Endpoint::parse(text); }

IpAddress host(std::uint32_t number) {
  const Bytes bytes = {10, static_cast<std::uint8_t>(number >> 16),
                       static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
  return *IpAddress::from_bytes(bytes);
}

Announce announce_of(const SwarmId& swarm, Event event, std::uint16_t port, std::uint8_t want) {
  Announce announce;
  announce.swarm = swarm;
  announce.event = event;
  announce.port = port;
  announce.want = want;
  return announce;
}

Message random_message(Random& random) {
  const SwarmId swarm = random_swarm(random);
  const auto want = static_cast<std::uint8_t>(random.below(kMaxPeersInMessage + 1));
  switch (random.below(6)) {
    case 0: {
      Announce announce = announce_of(swarm, static_cast<Event>(random.below(4)),
                                      static_cast<std::uint16_t>(random.next()), want);
      announce.complete = random.chance(0.5);
      announce.have_permille = static_cast<std::uint16_t>(random.below(kFullPermille + 1));
      for (auto i = random.below(kMaxAdvertised + 1); i > 0; --i)
        announce.advertised.push_back(random_endpoint(random));
      for (auto i = random.below(kMaxZoneBytes + 1); i > 0; --i)
        announce.zone.push_back(static_cast<char>('!' + random.below(94)));
      announce.starving = random.chance(0.5);
      return announce;
    }
    case 1:
      return Lookup{swarm, want};
    case 2: {
      Handout handout{swarm, std::chrono::milliseconds(random.below(3'600'001)), {}};
      for (auto i = random.below(kMaxPeersInMessage + 1); i > 0; --i)
        handout.peers.push_back({random_endpoint(random), random.chance(0.5), random.chance(0.5)});
      return handout;
    }
    case 3:
      return Watch{swarm, std::chrono::milliseconds(random.below(60'001))};
    case 4: {
      Report report;
      report.swarm = swarm;
      for (auto i = random.below(kMaxReportNameBytes + 1); i > 0; --i)
        report.name.push_back(static_cast<char>(random.next()));
      report.bytes = random.below(kMaxReportedBytes + 1);
      report.chunks = static_cast<std::uint32_t>(
          random.below(random.chance(0.5) ? 2 * kReportColumns : kMaxChunks + 1));
      report.have_chunks = static_cast<std::uint32_t>(random.below(report.chunks + 1));
      report.down_rate = random.below(kMaxReportedRate + 1);
      report.up_rate = random.below(kMaxReportedRate + 1);
      for (auto i = column_count(report.chunks); i > 0; --i)
        report.columns.push_back(static_cast<std::uint8_t>(random.next()));
      return report;
    }
    default: {
      Refusal refusal{swarm, {}};
      for (auto i = random.below(kMaxRefusalTextBytes + 1); i > 0; --i)
        refusal.text.push_back(static_cast<char>(' ' + random.below(95)));
      return refusal;
    }
  }
}

std::vector<OwnerNumber> first_owners(std::size_t count) {
  std::vector<OwnerNumber> owners(count);
  std::iota(owners.begin(), owners.end(), OwnerNumber{0});
  return owners;
}

}  // namespace p2p::tracker::test
