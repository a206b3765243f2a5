// Short names for what the tracker's tests build over and over.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/endpoint.h"
#include "base/id.h"
#include "base/random.h"
#include "base/time.h"
#include "tracker/announcer.h"
#include "tracker/messages.h"

namespace p2p::tracker::test {

using namespace std::chrono_literals;

inline constexpr Time kStart{};

PeerId peer_id(std::uint64_t number);
SwarmId swarm_id(std::uint64_t number);
inline const SwarmId kSwarm = swarm_id(1);
IpAddress address(const std::string& text);
Endpoint endpoint(const std::string& text);
// 10.x.y.z by number, below 2^24.
IpAddress host(std::uint32_t number);

Announce announce_of(const SwarmId& swarm, Event event, std::uint16_t port, std::uint8_t want);

// Any message within the limits.
Message random_message(Random& random);

// Numbers 0, 1, ... of as many owners.
std::vector<OwnerNumber> first_owners(std::size_t count);

// All actions that stand ready.
template <typename Core>
auto drain(Core& core) {
  std::vector<typename decltype(core.poll_action())::value_type> actions;
  while (auto action = core.poll_action()) actions.push_back(std::move(*action));
  return actions;
}

}  // namespace p2p::tracker::test
