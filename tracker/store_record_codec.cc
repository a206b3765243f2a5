#include "base/canonical_msgpack.h"
#include "tracker/field_codec.h"
#include "tracker/store_record.h"

namespace p2p::tracker {
namespace {

enum : std::uint64_t { kRecord = 1, kRemoval = 2 };

constexpr std::uint32_t kRecordElements = 8;
constexpr std::uint32_t kRemovalElements = 4;

void write_head(CanonicalWriter& writer, std::uint32_t elements, std::uint64_t number,
                std::uint64_t by, const SwarmId& swarm, const PeerId& peer) {
  writer.array(elements);
  writer.uint(number);
  writer.uint(by);
  writer.bin(swarm.view());
  writer.bin(peer.view());
}

void write(CanonicalWriter& writer, const StoreRecord& record) {
  write_head(writer, kRecordElements, kRecord, record.writer, record.swarm, record.peer.peer);
  write_endpoint(writer, record.peer.endpoint);
  writer.boolean(record.peer.complete);
  writer.str(record.peer.zone);
  writer.uint(record.expires_ms);
}

void write(CanonicalWriter& writer, const StoreRemoval& removal) {
  write_head(writer, kRemovalElements, kRemoval, removal.writer, removal.swarm, removal.peer);
}

StoreRecord read_record(CanonicalReader& reader) {
  StoreRecord record;
  record.writer = reader.uint(UINT64_MAX, "writer");
  record.swarm = read_swarm(reader);
  record.peer.peer = read_id<PeerId>(reader, "peer");
  record.peer.endpoint = read_endpoint(reader, "endpoint");
  const Endpoint& at = record.peer.endpoint;
  if (!reader.failed() && at.port != 0 && !at.is_dialable())
    reader.fail("endpoint", "nobody can be at " + at.to_string());
  record.peer.complete = reader.boolean("complete");
  record.peer.zone = std::string(read_zone(reader));
  record.expires_ms = reader.uint(kMaxStoreTimeMs, "expires_ms");
  return record;
}

StoreRemoval read_removal(CanonicalReader& reader) {
  StoreRemoval removal;
  removal.writer = reader.uint(UINT64_MAX, "writer");
  removal.swarm = read_swarm(reader);
  removal.peer = read_id<PeerId>(reader, "peer");
  return removal;
}

StoreMessage read_store_message(CanonicalReader& reader) {
  const std::uint32_t elements = reader.array(kRecordElements, "record");
  const std::uint64_t number = reader.uint(kRemoval, "record number");
  if (number == kRecord && elements == kRecordElements) return read_record(reader);
  if (number == kRemoval && elements == kRemovalElements) return read_removal(reader);
  reader.fail("record", "unknown, or too many or too few elements");
  return {};
}

}  // namespace

Bytes encode(const StoreMessage& message) {
  Bytes bytes;
  CanonicalWriter writer(bytes, kMaxStoreRecordBytes);
  std::visit([&writer](const auto& value) { write(writer, value); }, message);
  writer.finish();
  return bytes;
}

Result<StoreMessage> decode_store_message(ByteView bytes) {
  if (bytes.size() > kMaxStoreRecordBytes)
    return Error{ErrorCode::kLimit, "store record: too long"};
  CanonicalReader reader(bytes);
  StoreMessage message = read_store_message(reader);
  P2P_TRY(reader.finish("store record"));
  return message;
}

}  // namespace p2p::tracker
