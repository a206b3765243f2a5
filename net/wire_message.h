// What a message frame carries: one byte that names the family, then the family's msgpack.
#pragma once

#include <variant>

#include "base/bytes.h"
#include "base/result.h"
#include "peer/messages.h"
#include "tracker/messages.h"

namespace p2p::net {

enum class Family : std::uint8_t { kAnnounce = 1, kSwarm = 2 };

using WireMessage = std::variant<tracker::Message, peer::Message>;

Family family_of(const WireMessage& message);
// `head` is what the bytes are to stand behind.
Bytes encode_wire(const WireMessage& message, Bytes head = {});
Result<WireMessage> decode_wire(ByteView body);

}  // namespace p2p::net
