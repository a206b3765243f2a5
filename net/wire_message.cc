#include "net/wire_message.h"

#include "absl/strings/str_cat.h"

namespace p2p::net {

Family family_of(const WireMessage& message) {
  return std::holds_alternative<tracker::Message>(message) ? Family::kAnnounce : Family::kSwarm;
}

Bytes encode_wire(const WireMessage& message, Bytes head) {
  head.push_back(static_cast<std::uint8_t>(family_of(message)));
  return std::visit([&head](const auto& inner) { return encode(inner, std::move(head)); }, message);
}

Result<WireMessage> decode_wire(ByteView body) {
  if (body.empty()) return Error{ErrorCode::kMalformed, "an empty message frame"};
  const ByteView rest = body.subspan(1);
  switch (static_cast<Family>(body[0])) {
    case Family::kAnnounce: {
      P2P_ASSIGN(auto message, tracker::decode(rest));
      return WireMessage(std::move(message));
    }
    case Family::kSwarm: {
      P2P_ASSIGN(auto message, peer::decode(rest));
      return WireMessage(std::move(message));
    }
  }
  return Error{ErrorCode::kMalformed, absl::StrCat("unknown message family ", body[0])};
}

}  // namespace p2p::net
