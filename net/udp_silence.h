// Why does nobody answer at a UDP port? For an error text.
#pragma once

#include "base/endpoint.h"

namespace p2p::net {

// Sends an empty datagram there and waits up to kUdpSilence for the system to say that nothing
// listens. True: it does not say so, as for a process that stays silent, or packets that are lost.
bool is_udp_silent(const Endpoint& where);

inline constexpr int kUdpSilenceMs = 200;

}  // namespace p2p::net
