// Whatever bytes are taken for a journal are its one encoding.
//
// Input: a byte of switches, two bytes of chunk count, then the journal. Bit 0: the checksum is put
// right first, so that what it guards is reached.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "content/journal.h"
#include "crypto/digest.h"

namespace {

// The corpus was made with the same content id.
const p2p::ContentId kContent = *p2p::ContentId::from_bytes(p2p::Bytes(p2p::ContentId::kSize, 7));

void mend_checksum(p2p::Bytes& journal) {
  if (journal.size() < p2p::Digest::kSize) return;
  const std::size_t at = journal.size() - p2p::Digest::kSize;
  const p2p::Digest digest = p2p::chunk_digest(p2p::ByteView(journal).first(at));
  std::copy(digest.bytes.begin(), digest.bytes.end(),
            journal.begin() + static_cast<std::ptrdiff_t>(at));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHeaderBytes = 3;
  if (size < kHeaderBytes) return 0;
  const p2p::ChunkIndex chunks = p2p::get_u16(data + 1);
  p2p::Bytes journal(data + kHeaderBytes, data + size);
  if ((data[0] & 1) != 0) mend_checksum(journal);
  const auto verified = p2p::decode_journal(journal, kContent, chunks);
  if (!verified.has_value()) return 0;
  P2P_CHECK(verified->size() == chunks);
  P2P_CHECK(p2p::encode_journal(kContent, *verified) == journal);
  return 0;
}
