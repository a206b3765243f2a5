// Fields that announce messages and store records have in common. For the codec files alone.
#pragma once

#include <string_view>

#include "base/canonical_msgpack.h"
#include "base/field_codec.h"
#include "base/id.h"
#include "base/zone.h"

namespace p2p::tracker {

inline SwarmId read_swarm(CanonicalReader& reader) { return read_id<SwarmId>(reader, "swarm"); }

inline std::string_view read_zone(CanonicalReader& reader) {
  const std::string_view zone = reader.str(kMaxZoneBytes, "zone");
  if (!is_zone(zone)) reader.fail("zone", "not printable ASCII without spaces");
  return zone;
}

}  // namespace p2p::tracker
