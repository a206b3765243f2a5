#include <algorithm>

#include "base/msgpack_codec.h"
#include "peer/messages.h"

namespace p2p::peer {
namespace {

// The message's number is its place in the variant, from 1.
constexpr std::uint64_t kLastNumber = std::variant_size_v<Message>;
constexpr std::size_t kMostElements = 5;

enum : std::uint64_t { kNone = 0, kAll = 1, kBits = 2 };  // forms of Chunks

constexpr std::size_t kPortBytes = 2;
constexpr std::size_t kMaxEndpointBytes = 16 + kPortBytes;

Error malformed(std::string_view field, std::string_view problem) {
  return Error{ErrorCode::kMalformed, std::string(field) + ": " + std::string(problem)};
}

// --- writing

void write_chunk_list(MsgpackWriter& writer, const std::vector<ChunkIndex>& chunks) {
  writer.pack_array(static_cast<std::uint32_t>(chunks.size()));
  for (ChunkIndex chunk : chunks) writer.pack(chunk);
}

void write_endpoint(MsgpackWriter& writer, const Endpoint& endpoint) {
  std::uint8_t bytes[kMaxEndpointBytes];
  const ByteView address = endpoint.address.wire_bytes();
  std::copy(address.begin(), address.end(), bytes);
  put_u16(bytes + address.size(), endpoint.port);
  write_bin(writer, ByteView(bytes, address.size() + kPortBytes));
}

// Each writes the array's head with its number of elements, then the number, then its fields.
void write_head(MsgpackWriter& writer, std::uint32_t fields, std::uint64_t number) {
  writer.pack_array(fields + 1);
  writer.pack(number);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Join& join) {
  write_head(writer, 4, number);
  writer.pack(join.version);
  write_bin(writer, join.swarm.view());
  writer.pack(join.port);
  write_str(writer, join.zone);
}

void write(MsgpackWriter& writer, std::uint64_t number, const ManifestRequest& request) {
  write_head(writer, 1, number);
  writer.pack(request.offset);
}

void write(MsgpackWriter& writer, std::uint64_t number, const ManifestPart& part) {
  write_head(writer, 3, number);
  writer.pack(part.total_bytes);
  writer.pack(part.offset);
  write_bin(writer, part.data);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Chunks& chunks) {
  const Bitfield& have = chunks.have;
  const std::uint64_t form = have.none() ? kNone : have.all() ? kAll : kBits;
  write_head(writer, 3, number);
  writer.pack(have.size());
  writer.pack(form);
  write_bin(writer, form == kBits ? have.to_wire() : Bytes());
}

void write(MsgpackWriter& writer, std::uint64_t number, const Have& have) {
  write_head(writer, 2, number);
  write_chunk_list(writer, have.chunks);
  writer.pack(have.load);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Lost& lost) {
  write_head(writer, 1, number);
  write_chunk_list(writer, lost.chunks);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Request& request) {
  write_head(writer, 1, number);
  writer.pack(request.chunk);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Give& give) {
  write_head(writer, 2, number);
  writer.pack(give.chunk);
  writer.pack(give.load);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Cancel& cancel) {
  write_head(writer, 1, number);
  writer.pack(cancel.chunk);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Reject& reject) {
  write_head(writer, 2, number);
  writer.pack(reject.chunk);
  writer.pack(static_cast<std::uint8_t>(reject.reason));
}

void write(MsgpackWriter& writer, std::uint64_t number, const Peers& peers) {
  write_head(writer, 1, number);
  writer.pack_array(static_cast<std::uint32_t>(peers.endpoints.size()));
  for (const Endpoint& endpoint : peers.endpoints) write_endpoint(writer, endpoint);
}

void write(MsgpackWriter& writer, std::uint64_t number, const Bye& bye) {
  write_head(writer, 2, number);
  writer.pack(static_cast<std::uint8_t>(bye.reason));
  write_str(writer, bye.text);
}

void write(MsgpackWriter& writer, std::uint64_t number, const OutlineRequest& request) {
  write_head(writer, 1, number);
  writer.pack(request.offset);
}

void write(MsgpackWriter& writer, std::uint64_t number, const OutlinePart& part) {
  write_head(writer, 3, number);
  writer.pack(part.total_bytes);
  writer.pack(part.offset);
  write_bin(writer, part.data);
}

void write(MsgpackWriter& writer, std::uint64_t number, const DetailRequest& request) {
  write_head(writer, 2, number);
  writer.pack(request.first);
  writer.pack(request.count);
}

void write(MsgpackWriter& writer, std::uint64_t number, const DetailPart& part) {
  write_head(writer, 3, number);
  writer.pack(part.first);
  writer.pack(part.count);
  write_bin(writer, part.data);
}

// Each range by what is left out before it, and its length: so no spelling is out of order.
void write(MsgpackWriter& writer, std::uint64_t number, const Partial& partial) {
  write_head(writer, 1, number);
  writer.pack_array(static_cast<std::uint32_t>(partial.chunks.size()));
  for (const PartialChunk& chunk : partial.chunks) {
    writer.pack_array(static_cast<std::uint32_t>(1 + 2 * chunk.missing.size()));
    writer.pack(chunk.chunk);
    std::uint32_t end = 0;
    for (const ByteRange& range : chunk.missing) {
      writer.pack(range.offset - end);
      writer.pack(range.bytes);
      end = range.offset + range.bytes;
    }
  }
}

// --- reading

using Fields = std::span<const MsgpackValue>;

template <typename T>
Result<T> read_number(const MsgpackValue& value, std::uint64_t max, std::string_view field) {
  P2P_ASSIGN(const std::uint64_t number, as_uint(value, max, field));
  return static_cast<T>(number);
}

// An index below kMaxChunks; whether the content has that chunk is the swarm's to judge.
Result<ChunkIndex> read_chunk(const MsgpackValue& value) {
  return read_number<ChunkIndex>(value, kMaxChunks - 1, "chunk");
}

Result<ChunkIndex> read_chunk_or_any(const MsgpackValue& value) {
  if (value.type == msgpack::type::POSITIVE_INTEGER && value.via.u64 == kAnyChunk) return kAnyChunk;
  return read_chunk(value);
}

Result<std::vector<ChunkIndex>> read_chunk_list(const MsgpackValue& value) {
  P2P_ASSIGN(const Fields elements, as_array(value, kMaxChunksInHave, "chunks"));
  std::vector<ChunkIndex> chunks;
  chunks.reserve(elements.size());
  for (const MsgpackValue& element : elements) {
    P2P_ASSIGN(const ChunkIndex chunk, read_chunk(element));
    chunks.push_back(chunk);
  }
  return chunks;
}

Result<Endpoint> read_endpoint(const MsgpackValue& value) {
  P2P_ASSIGN(const ByteView bytes, as_bin(value, kMaxEndpointBytes, "endpoint"));
  if (bytes.size() < kPortBytes) return malformed("endpoint", "too short");
  const std::size_t address_bytes = bytes.size() - kPortBytes;
  P2P_ASSIGN(const IpAddress address, IpAddress::from_bytes(bytes.first(address_bytes)));
  if (address.wire_bytes().size() != address_bytes)
    return malformed("endpoint", "an IPv4 address in IPv6 form");
  return Endpoint{address, get_u16(bytes.data() + address_bytes)};
}

Result<Message> read_fields(Fields fields, const Join*) {
  Join join;
  P2P_ASSIGN(join.version, read_number<std::uint32_t>(fields[0], UINT32_MAX, "version"));
  P2P_ASSIGN(const ByteView swarm, as_bin(fields[1], SwarmId::kSize, "swarm"));
  const auto id = SwarmId::from_bytes(swarm);
  if (!id) return malformed("swarm", "not 32 bytes");
  join.swarm = *id;
  P2P_ASSIGN(join.port, read_number<std::uint16_t>(fields[2], UINT16_MAX, "port"));
  P2P_ASSIGN(const std::string_view zone, as_str(fields[3], kMaxZoneBytes, "zone"));
  if (!is_zone(zone)) return malformed("zone", "not printable ASCII without spaces");
  join.zone = std::string(zone);
  return Message(std::move(join));
}

Result<Message> read_fields(Fields fields, const ManifestRequest*) {
  ManifestRequest request;
  P2P_ASSIGN(request.offset, read_number<std::uint32_t>(fields[0], kMaxManifestBytes, "offset"));
  return Message(request);
}

// Of something that has at most so many bytes, and at most so many in a part.
template <typename Part>
Result<Message> read_part(Fields fields, std::size_t most, std::size_t most_in_part,
                          std::string_view name) {
  Part part;
  P2P_ASSIGN(part.total_bytes, read_number<std::uint32_t>(fields[0], most, "total"));
  P2P_ASSIGN(part.offset, read_number<std::uint32_t>(fields[1], most, "offset"));
  P2P_ASSIGN(const ByteView data, as_bin(fields[2], most_in_part, "data"));
  if (data.size() > part.total_bytes || part.offset > part.total_bytes - data.size())
    return malformed(name, "past the end");
  part.data.assign(data.begin(), data.end());
  return Message(std::move(part));
}

Result<Message> read_fields(Fields fields, const ManifestPart*) {
  return read_part<ManifestPart>(fields, kMaxManifestBytes, kMaxManifestPartBytes, "manifest part");
}

Result<Message> read_fields(Fields fields, const Chunks*) {
  P2P_ASSIGN(const auto count, read_number<ChunkIndex>(fields[0], kMaxChunks, "chunk count"));
  P2P_ASSIGN(const std::uint64_t form, as_uint(fields[1], kBits, "form"));
  P2P_ASSIGN(const ByteView bits, as_bin(fields[2], Bitfield::wire_bytes(count), "bits"));
  if (form != kBits) {
    // An empty content has one spelling: none of it.
    if (!bits.empty() || (form == kAll && count == 0)) return malformed("bits", "not called for");
    return Message(Chunks{Bitfield(count, form == kAll)});
  }
  auto have = Bitfield::from_wire(bits, count);
  if (!have) return malformed("bits", "of another length, or with spare bits");
  if (have->none() || have->all()) return malformed("bits", "has a shorter form");
  return Message(Chunks{*std::move(have)});
}

Result<Message> read_fields(Fields fields, const Have*) {
  Have have;
  P2P_ASSIGN(have.chunks, read_chunk_list(fields[0]));
  P2P_ASSIGN(have.load, read_number<std::uint32_t>(fields[1], UINT32_MAX, "load"));
  return Message(std::move(have));
}

Result<Message> read_fields(Fields fields, const Lost*) {
  Lost lost;
  P2P_ASSIGN(lost.chunks, read_chunk_list(fields[0]));
  return Message(std::move(lost));
}

Result<Message> read_fields(Fields fields, const Request*) {
  P2P_ASSIGN(const ChunkIndex chunk, read_chunk_or_any(fields[0]));
  return Message(Request{chunk});
}

Result<Message> read_fields(Fields fields, const Give*) {
  Give give;
  P2P_ASSIGN(give.chunk, read_chunk(fields[0]));
  P2P_ASSIGN(give.load, read_number<std::uint32_t>(fields[1], UINT32_MAX, "load"));
  return Message(give);
}

Result<Message> read_fields(Fields fields, const Cancel*) {
  P2P_ASSIGN(const ChunkIndex chunk, read_chunk_or_any(fields[0]));
  return Message(Cancel{chunk});
}

Result<Message> read_fields(Fields fields, const Reject*) {
  P2P_ASSIGN(const ChunkIndex chunk, read_chunk_or_any(fields[0]));
  P2P_ASSIGN(
      const std::uint64_t reason,
      as_uint(fields[1], static_cast<std::uint64_t>(RejectReason::kSourceChanged), "reason"));
  if (reason == 0) return malformed("reason", "unknown");
  return Message(Reject{chunk, static_cast<RejectReason>(reason)});
}

Result<Message> read_fields(Fields fields, const Peers*) {
  P2P_ASSIGN(const Fields elements, as_array(fields[0], kMaxPeersInMessage, "peers"));
  Peers peers;
  peers.endpoints.reserve(elements.size());
  for (const MsgpackValue& element : elements) {
    P2P_ASSIGN(const Endpoint endpoint, read_endpoint(element));
    peers.endpoints.push_back(endpoint);
  }
  return Message(std::move(peers));
}

Result<Message> read_fields(Fields fields, const Bye*) {
  P2P_ASSIGN(const std::uint64_t reason,
             as_uint(fields[0], static_cast<std::uint64_t>(ByeReason::kVersion), "reason"));
  if (reason == 0) return malformed("reason", "unknown");
  P2P_ASSIGN(const std::string_view text, as_str(fields[1], kMaxByeTextBytes, "text"));
  // It is shown to a person: no control characters.
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }))
    return malformed("text", "not printable ASCII");
  return Message(Bye{static_cast<ByeReason>(reason), std::string(text)});
}

Result<Message> read_fields(Fields fields, const OutlineRequest*) {
  OutlineRequest request;
  P2P_ASSIGN(request.offset, read_number<std::uint32_t>(fields[0], kMaxOutlineBytes, "offset"));
  return Message(request);
}

Result<Message> read_fields(Fields fields, const OutlinePart*) {
  return read_part<OutlinePart>(fields, kMaxOutlineBytes, kMaxOutlinePartBytes, "outline part");
}

// The groups of DetailRequest and DetailPart.
template <typename T>
Status read_groups(Fields fields, T& detail) {
  constexpr std::uint64_t kMostGroups = kMaxOutlineBytes / kGroupRecordBytes;
  P2P_ASSIGN(detail.first, read_number<std::uint32_t>(fields[0], kMostGroups, "first"));
  P2P_ASSIGN(detail.count, read_number<std::uint32_t>(fields[1], kMaxGroupsInDetail, "count"));
  if (detail.count == 0) return malformed("count", "no group");
  return {};
}

Result<Message> read_fields(Fields fields, const DetailRequest*) {
  DetailRequest request;
  P2P_TRY(read_groups(fields, request));
  return Message(request);
}

Result<Message> read_fields(Fields fields, const DetailPart*) {
  DetailPart part;
  P2P_TRY(read_groups(fields, part));
  P2P_ASSIGN(const ByteView data, as_bin(fields[2], kMaxDetailBytes, "data"));
  part.data.assign(data.begin(), data.end());
  return Message(std::move(part));
}

Result<PartialChunk> read_partial_chunk(const MsgpackValue& value) {
  P2P_ASSIGN(const Fields elements, as_array(value, 1 + 2 * kMaxRangesOfChunk, "ranges"));
  if (elements.size() % 2 == 0) return malformed("ranges", "not in pairs");
  PartialChunk partial;
  P2P_ASSIGN(partial.chunk, read_chunk(elements[0]));
  std::uint32_t end = 0;
  for (std::size_t i = 1; i < elements.size(); i += 2) {
    P2P_ASSIGN(const auto skipped,
               read_number<std::uint32_t>(elements[i], kMaxChunkBytes, "left out"));
    P2P_ASSIGN(const auto bytes,
               read_number<std::uint32_t>(elements[i + 1], kMaxChunkBytes, "bytes"));
    partial.missing.push_back({end + skipped, bytes});
    if (end + skipped + bytes > kMaxChunkBytes) return malformed("range", "past the end");
    end += skipped + bytes;
  }
  if (!partial.missing.empty() && !are_partial_ranges(partial.missing, kMaxChunkBytes))
    return malformed("ranges", "empty, touching, or all of a chunk");
  return partial;
}

Result<Message> read_fields(Fields fields, const Partial*) {
  P2P_ASSIGN(const Fields elements, as_array(fields[0], kMaxRangesInPartial, "chunks"));
  Partial partial;
  partial.chunks.reserve(elements.size());
  std::size_t ranges = 0;
  for (const MsgpackValue& element : elements) {
    P2P_ASSIGN(PartialChunk chunk, read_partial_chunk(element));
    ranges += chunk.missing.size();
    if (ranges > kMaxRangesInPartial) return malformed("ranges", "too many");
    partial.chunks.push_back(std::move(chunk));
  }
  return Message(std::move(partial));
}

template <typename T>
Result<Message> read_as(const MsgpackValue& value, std::size_t fields) {
  P2P_ASSIGN(const Fields elements, as_tuple(value, fields + 1, "message"));
  return read_fields(elements.subspan(1), static_cast<const T*>(nullptr));
}

Result<Message> read_message(const MsgpackValue& value) {
  P2P_ASSIGN(const Fields elements, as_array(value, kMostElements, "message"));
  if (elements.empty()) return malformed("message", "empty");
  P2P_ASSIGN(const std::uint64_t number, as_uint(elements[0], kLastNumber, "message number"));
  switch (number) {
    case 1:
      return read_as<Join>(value, 4);
    case 2:
      return read_as<ManifestRequest>(value, 1);
    case 3:
      return read_as<ManifestPart>(value, 3);
    case 4:
      return read_as<Chunks>(value, 3);
    case 5:
      return read_as<Have>(value, 2);
    case 6:
      return read_as<Lost>(value, 1);
    case 7:
      return read_as<Request>(value, 1);
    case 8:
      return read_as<Give>(value, 2);
    case 9:
      return read_as<Cancel>(value, 1);
    case 10:
      return read_as<Reject>(value, 2);
    case 11:
      return read_as<Peers>(value, 1);
    case 12:
      return read_as<Bye>(value, 2);
    case 13:
      return read_as<OutlineRequest>(value, 1);
    case 14:
      return read_as<OutlinePart>(value, 3);
    case 15:
      return read_as<DetailRequest>(value, 2);
    case 16:
      return read_as<DetailPart>(value, 3);
    case 17:
      return read_as<Partial>(value, 1);
    default:
      return malformed("message number", "unknown");
  }
}

}  // namespace

Bytes encode(const Message& message, Bytes head) {
  MsgpackBuffer buffer(64);
  MsgpackWriter writer(buffer);
  const std::uint64_t number = message.index() + 1;
  std::visit([&](const auto& value) { write(writer, number, value); }, message);
  return to_bytes(buffer, std::move(head));
}

Result<Message> decode(ByteView bytes) {
  P2P_ASSIGN(const msgpack::object_handle handle,
             read_msgpack(bytes, kMaxMessageBytes, "peer message"));
  P2P_ASSIGN(Message message, read_message(handle.get()));
  // msgpack has several spellings of one value (5 as one byte or as nine); we have one.
  const Bytes canonical = encode(message);
  if (!std::equal(bytes.begin(), bytes.end(), canonical.begin(), canonical.end()))
    return malformed("peer message", "not in canonical form");
  return message;
}

}  // namespace p2p::peer
