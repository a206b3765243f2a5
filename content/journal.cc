#include "content/journal.h"

#include "absl/strings/str_cat.h"
#include "content/checked_record.h"

namespace p2p {
namespace {

constexpr RecordKind kJournal{"journal", {'p', '2', 'p', 'j'}, 1, "another content"};
constexpr std::size_t kCountBytes = 4;

}  // namespace

Bytes encode_journal(const ContentId& content, const Bitfield& verified) {
  Bytes body(kCountBytes);
  put_u32(body.data(), verified.size());
  const Bytes bits = verified.to_wire();
  body.insert(body.end(), bits.begin(), bits.end());
  return wrap_record(kJournal, content.view(), body);
}

Result<Bitfield> decode_journal(ByteView bytes, const ContentId& content, ChunkIndex chunk_count) {
  P2P_ASSIGN(const ByteView body, unwrap_record(kJournal, content.view(), bytes));
  const std::size_t expected_bytes = kCountBytes + Bitfield::wire_bytes(chunk_count);
  if (body.size() != expected_bytes)
    return malformed_record(
        kJournal, absl::StrCat("its body has ", body.size(), " bytes instead of ", expected_bytes));
  const std::uint32_t count = get_u32(body.data());
  if (count != chunk_count)
    return malformed_record(kJournal,
                            absl::StrCat("it is of ", count, " chunks instead of ", chunk_count));
  std::optional<Bitfield> verified = Bitfield::from_wire(body.subspan(kCountBytes), chunk_count);
  if (!verified) return malformed_record(kJournal, "it speaks of chunks that there are not");
  return *std::move(verified);
}

}  // namespace p2p
