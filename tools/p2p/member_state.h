// Who this host is as a member of the cluster, from one start to the next: its key, so that others
// know it again under any address; the epoch of its last start; and where the other members were,
// so that a cluster that was wholly down finds itself again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/endpoint.h"
#include "base/result.h"
#include "crypto/keys.h"

namespace p2p::cli {

// Of the wall clock, since 1970: what epochs are made of.
std::uint64_t clock_ms();

struct MemberState {
  KeyPair identity;
  std::uint64_t epoch = 0;
  std::vector<Endpoint> known;
  // Where `known` is kept; empty where nothing is.
  std::filesystem::path known_file;
};

// That of the member at this port of the host: state folder/members/PORT. It is locked until the
// process ends; where another process has it, or without a port, it is a new one that is not kept.
// Errors: what is kept is damaged, or cannot be written: an epoch used twice would be unsafe.
Result<MemberState> open_member_state(std::uint16_t port);

// One that is not kept, for who only looks on.
MemberState passing_member();

// Where members may be, as far as this host knows: those on it, which includes kUsualGossipPort,
// and those that they kept. At most net::kMaxKnownMembers, each once.
std::vector<Endpoint> known_on_this_host();
// What the examples use; a cluster may use any.
inline constexpr std::uint16_t kUsualGossipPort = 7946;

// Replaces what is kept; problems are logged.
void keep_known(const std::filesystem::path& file, const std::vector<Endpoint>& members);

}  // namespace p2p::cli
