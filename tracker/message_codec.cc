#include <algorithm>

#include "base/msgpack_codec.h"
#include "tracker/messages.h"

namespace p2p::tracker {
namespace {

enum : std::uint64_t { kAnnounce = 1, kLookup = 2, kHandout = 3, kRefusal = 4 };

constexpr std::size_t kPortBytes = 2;
constexpr std::size_t kMaxEndpointBytes = 16 + kPortBytes;

Error malformed(std::string_view field, std::string_view problem) {
  return Error{ErrorCode::kMalformed, std::string(field) + ": " + std::string(problem)};
}

void write_endpoint(MsgpackWriter& writer, const Endpoint& endpoint) {
  std::uint8_t bytes[kMaxEndpointBytes];
  const ByteView address = endpoint.address.wire_bytes();
  std::copy(address.begin(), address.end(), bytes);
  put_u16(bytes + address.size(), endpoint.port);
  write_bin(writer, ByteView(bytes, address.size() + kPortBytes));
}

void write_head(MsgpackWriter& writer, std::uint32_t elements, std::uint64_t number,
                const SwarmId& swarm) {
  writer.pack_array(elements);
  writer.pack(number);
  write_bin(writer, swarm.view());
}

void write(MsgpackWriter& writer, const Announce& announce) {
  write_head(writer, 10, kAnnounce, announce.swarm);
  writer.pack(static_cast<std::uint8_t>(announce.event));
  writer.pack(announce.port);
  writer.pack(announce.complete);
  writer.pack(announce.have_permille);
  writer.pack(announce.want);
  writer.pack_array(static_cast<std::uint32_t>(announce.advertised.size()));
  for (const Endpoint& endpoint : announce.advertised) write_endpoint(writer, endpoint);
  write_str(writer, announce.zone);
  writer.pack(announce.starving);
}

void write(MsgpackWriter& writer, const Lookup& lookup) {
  write_head(writer, 3, kLookup, lookup.swarm);
  writer.pack(lookup.want);
}

void write(MsgpackWriter& writer, const Handout& handout) {
  write_head(writer, 4, kHandout, handout.swarm);
  writer.pack(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(handout.interval).count()));
  writer.pack_array(static_cast<std::uint32_t>(handout.peers.size()));
  for (const PeerRecord& peer : handout.peers) {
    writer.pack_array(3);
    write_endpoint(writer, peer.endpoint);
    writer.pack(peer.complete);
    writer.pack(peer.far);
  }
}

void write(MsgpackWriter& writer, const Refusal& refusal) {
  write_head(writer, 3, kRefusal, refusal.swarm);
  write_str(writer, refusal.text);
}

Result<Endpoint> read_endpoint(const MsgpackValue& value, std::string_view field) {
  P2P_ASSIGN(const ByteView bytes, as_bin(value, kMaxEndpointBytes, field));
  if (bytes.size() < kPortBytes) return malformed(field, "too short for an endpoint");
  const std::size_t address_bytes = bytes.size() - kPortBytes;
  P2P_ASSIGN(const IpAddress address, IpAddress::from_bytes(bytes.first(address_bytes)));
  const Endpoint endpoint{address, get_u16(bytes.data() + address_bytes)};
  if (address.wire_bytes().size() != address_bytes)
    return malformed(field, "an IPv4 address in IPv6 form");
  if (!endpoint.is_dialable()) return malformed(field, "nobody can be at " + endpoint.to_string());
  return endpoint;
}

Result<SwarmId> read_swarm(const MsgpackValue& value) {
  P2P_ASSIGN(const ByteView bytes, as_bin(value, SwarmId::kSize, "swarm"));
  const auto swarm = SwarmId::from_bytes(bytes);
  if (!swarm) return malformed("swarm", "not 32 bytes");
  return *swarm;
}

Result<std::uint8_t> read_want(const MsgpackValue& value) {
  P2P_ASSIGN(const std::uint64_t want, as_uint(value, kMaxPeersInMessage, "want"));
  return static_cast<std::uint8_t>(want);
}

Result<Message> read_announce(const MsgpackValue& value) {
  P2P_ASSIGN(const auto fields, as_tuple(value, 10, "announce"));
  Announce announce;
  P2P_ASSIGN(announce.swarm, read_swarm(fields[1]));
  P2P_ASSIGN(const auto event,
             as_uint(fields[2], static_cast<std::uint64_t>(Event::kStopped), "event"));
  announce.event = static_cast<Event>(event);
  P2P_ASSIGN(const auto port, as_uint(fields[3], UINT16_MAX, "port"));
  announce.port = static_cast<std::uint16_t>(port);
  P2P_ASSIGN(announce.complete, as_bool(fields[4], "complete"));
  P2P_ASSIGN(const auto have, as_uint(fields[5], kFullPermille, "have_permille"));
  announce.have_permille = static_cast<std::uint16_t>(have);
  P2P_ASSIGN(announce.want, read_want(fields[6]));
  P2P_ASSIGN(const auto advertised, as_array(fields[7], kMaxAdvertised, "advertised"));
  for (const MsgpackValue& element : advertised) {
    P2P_ASSIGN(const Endpoint endpoint, read_endpoint(element, "advertised"));
    announce.advertised.push_back(endpoint);
  }
  P2P_ASSIGN(const auto zone, as_str(fields[8], kMaxZoneBytes, "zone"));
  if (!is_zone(zone)) return malformed("zone", "not printable ASCII without spaces");
  announce.zone = std::string(zone);
  P2P_ASSIGN(announce.starving, as_bool(fields[9], "starving"));
  return Message(std::move(announce));
}

Result<Message> read_lookup(const MsgpackValue& value) {
  P2P_ASSIGN(const auto fields, as_tuple(value, 3, "lookup"));
  Lookup lookup;
  P2P_ASSIGN(lookup.swarm, read_swarm(fields[1]));
  P2P_ASSIGN(lookup.want, read_want(fields[2]));
  return Message(lookup);
}

Result<Message> read_handout(const MsgpackValue& value) {
  P2P_ASSIGN(const auto fields, as_tuple(value, 4, "handout"));
  Handout handout;
  P2P_ASSIGN(handout.swarm, read_swarm(fields[1]));
  constexpr auto kMaxMs =
      std::chrono::duration_cast<std::chrono::milliseconds>(kMaxInterval).count();
  P2P_ASSIGN(const auto interval_ms, as_uint(fields[2], kMaxMs, "interval_ms"));
  handout.interval = std::chrono::milliseconds(interval_ms);
  P2P_ASSIGN(const auto peers, as_array(fields[3], kMaxPeersInMessage, "peers"));
  handout.peers.reserve(peers.size());
  for (const MsgpackValue& element : peers) {
    P2P_ASSIGN(const auto parts, as_tuple(element, 3, "peer"));
    PeerRecord peer;
    P2P_ASSIGN(peer.endpoint, read_endpoint(parts[0], "peer"));
    P2P_ASSIGN(peer.complete, as_bool(parts[1], "complete"));
    P2P_ASSIGN(peer.far, as_bool(parts[2], "far"));
    handout.peers.push_back(peer);
  }
  return Message(std::move(handout));
}

Result<Message> read_refusal(const MsgpackValue& value) {
  P2P_ASSIGN(const auto fields, as_tuple(value, 3, "refusal"));
  Refusal refusal;
  P2P_ASSIGN(refusal.swarm, read_swarm(fields[1]));
  P2P_ASSIGN(const auto text, as_str(fields[2], kMaxRefusalTextBytes, "text"));
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }))
    return malformed("text", "not printable ASCII");
  refusal.text = std::string(text);
  return Message(std::move(refusal));
}

Result<Message> read_message(const MsgpackValue& value) {
  constexpr std::size_t kMostElements = 10;
  P2P_ASSIGN(const auto fields, as_array(value, kMostElements, "message"));
  if (fields.empty()) return malformed("message", "empty");
  P2P_ASSIGN(const std::uint64_t number, as_uint(fields[0], kRefusal, "message number"));
  switch (number) {
    case kAnnounce:
      return read_announce(value);
    case kLookup:
      return read_lookup(value);
    case kHandout:
      return read_handout(value);
    case kRefusal:
      return read_refusal(value);
    default:
      return malformed("message number", "unknown");
  }
}

}  // namespace

Bytes encode(const Message& message) {
  MsgpackBuffer buffer(kMaxTrackerMessageBytes);
  MsgpackWriter writer(buffer);
  std::visit([&writer](const auto& value) { write(writer, value); }, message);
  return to_bytes(buffer);
}

Result<Message> decode(ByteView bytes) {
  P2P_ASSIGN(const msgpack::object_handle handle,
             read_msgpack(bytes, kMaxTrackerMessageBytes, "tracker message"));
  P2P_ASSIGN(Message message, read_message(handle.get()));
  // msgpack has several spellings of one value (5 as one byte or as nine); we have one.
  const Bytes canonical = encode(message);
  if (!std::equal(bytes.begin(), bytes.end(), canonical.begin(), canonical.end()))
    return malformed("tracker message", "not in canonical form");
  return message;
}

}  // namespace p2p::tracker
