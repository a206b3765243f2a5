#include "content/checked_record.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kSubjectAt = kVersionAt + 4;
constexpr std::size_t kSubjectBytes = 32;
constexpr std::size_t kBodyAt = kSubjectAt + kSubjectBytes;

bool is_same(ByteView a, ByteView b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

}  // namespace

Error malformed_record(const RecordKind& kind, const std::string& problem) {
  return Error{ErrorCode::kMalformed, absl::StrCat(kind.name, ": ", problem)};
}

Bytes wrap_record(const RecordKind& kind, ByteView subject, ByteView body) {
  P2P_CHECK(subject.size() == kSubjectBytes);
  Bytes bytes(kBodyAt + body.size() + Digest::kSize);
  std::copy(kind.magic.begin(), kind.magic.end(), bytes.begin());
  put_u32(bytes.data() + kVersionAt, kind.version);
  std::copy(subject.begin(), subject.end(), bytes.begin() + kSubjectAt);
  const auto checksum_at = std::copy(body.begin(), body.end(), bytes.begin() + kBodyAt);
  const Digest checksum = chunk_digest(ByteView(bytes.begin(), checksum_at));
  std::copy(checksum.bytes.begin(), checksum.bytes.end(), checksum_at);
  return bytes;
}

Result<ByteView> unwrap_record(const RecordKind& kind, ByteView subject, ByteView bytes) {
  if (bytes.size() < kBodyAt + Digest::kSize) return malformed_record(kind, "it is too short");
  if (!is_same(bytes.first(kind.magic.size()), kind.magic))
    return malformed_record(kind, "it is none");
  const ByteView checked = bytes.first(bytes.size() - Digest::kSize);
  if (!is_same(chunk_digest(checked).view(), bytes.last(Digest::kSize)))
    return malformed_record(kind, "its checksum does not match");
  const std::uint32_t version = get_u32(checked.data() + kVersionAt);
  if (version != kind.version)
    return malformed_record(kind, absl::StrCat("it has version ", version, ", not ", kind.version));
  if (!is_same(checked.subspan(kSubjectAt, kSubjectBytes), subject))
    return malformed_record(kind, absl::StrCat("it is of ", kind.of_another));
  return checked.subspan(kBodyAt);
}

}  // namespace p2p
