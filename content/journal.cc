#include "content/journal.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

constexpr std::array<std::uint8_t, 4> kMagic = {'p', '2', 'p', 'j'};
constexpr std::uint32_t kVersion = 1;

constexpr std::size_t kVersionAt = kMagic.size();
constexpr std::size_t kContentAt = kVersionAt + 4;
constexpr std::size_t kCountAt = kContentAt + ContentId::kSize;
constexpr std::size_t kBitsAt = kCountAt + 4;

Error malformed(const std::string& problem) {
  return Error{ErrorCode::kMalformed, "journal: " + problem};
}

bool starts_with(ByteView bytes, ByteView start) {
  return bytes.size() >= start.size() && std::equal(start.begin(), start.end(), bytes.begin());
}

}  // namespace

Bytes encode_journal(const ContentId& content, const Bitfield& verified) {
  const Bytes bits = verified.to_wire();
  Bytes bytes(kBitsAt + bits.size() + Digest::kSize);
  const auto checksum_at = bytes.end() - Digest::kSize;
  std::copy(kMagic.begin(), kMagic.end(), bytes.begin());
  put_u32(bytes.data() + kVersionAt, kVersion);
  std::copy(content.bytes.begin(), content.bytes.end(), bytes.begin() + kContentAt);
  put_u32(bytes.data() + kCountAt, verified.size());
  std::copy(bits.begin(), bits.end(), bytes.begin() + kBitsAt);
  const Digest checksum = chunk_digest(ByteView(bytes.begin(), checksum_at));
  std::copy(checksum.bytes.begin(), checksum.bytes.end(), checksum_at);
  return bytes;
}

Result<Bitfield> decode_journal(ByteView bytes, const ContentId& content, ChunkIndex chunk_count) {
  if (!starts_with(bytes, kMagic)) return malformed("it is none");
  const std::size_t expected_bytes = kBitsAt + Bitfield::wire_bytes(chunk_count) + Digest::kSize;
  if (bytes.size() != expected_bytes)
    return malformed(absl::StrCat("it has ", bytes.size(), " bytes instead of ", expected_bytes));
  const ByteView body = bytes.first(bytes.size() - Digest::kSize);
  if (!starts_with(chunk_digest(body).view(), bytes.last(Digest::kSize)))
    return malformed("its checksum does not match");
  const std::uint32_t version = get_u32(body.data() + kVersionAt);
  if (version != kVersion)
    return malformed(absl::StrCat("it has version ", version, ", not ", kVersion));
  if (!starts_with(body.subspan(kContentAt), content.view()))
    return malformed("it is of another content");
  const std::uint32_t count = get_u32(body.data() + kCountAt);
  if (count != chunk_count)
    return malformed(absl::StrCat("it is of ", count, " chunks instead of ", chunk_count));
  std::optional<Bitfield> verified = Bitfield::from_wire(body.subspan(kBitsAt), chunk_count);
  if (!verified) return malformed("it speaks of chunks that there are not");
  return *std::move(verified);
}

}  // namespace p2p
