// Holding: what an agent remembers of one content, from one start to the next.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/endpoint.h"
#include "base/id.h"
#include "base/result.h"
#include "content/link.h"
#include "crypto/keys.h"

namespace p2p::agent {

struct Holding {
  // kWanted: to be fetched, also after a restart. kPartial: given up, or never finished; what was
  // verified is kept. kComplete: all of it is here and was verified.
  enum class State { kWanted, kPartial, kComplete };

  ContentId content;
  State state = State::kWanted;
  // Whom the content is closed by: the secret of its link, or the cluster's key of that time.
  Secret psk;
  bool has_link_secret = true;                       // else psk is the cluster's
  std::vector<HostPort> trackers, seeders, members;  // of its link
  std::string name;         // of the content; empty until its manifest is here
  std::uint64_t bytes = 0;  // of the whole content; 0 until then
  bool pinned = false;
  std::int64_t added = 0, last_used = 0;  // seconds since 1970
  // A path of this host that is served from where it lies; empty for what the store holds itself.
  std::string source;

  bool in_store() const { return source.empty(); }
};

std::string_view state_name(Holding::State state);

// As text (JSON), for the agent alone: it holds the secret. Errors: kMalformed.
std::string encode_holding(const Holding& holding);
Result<Holding> decode_holding(std::string_view text, const ContentId& content);

}  // namespace p2p::agent
