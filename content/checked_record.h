// A checked record: how what we keep on disk for ourselves is wrapped, so that nothing cut off,
// harmed or meant for something else is taken for it.
//
// Bytes: 4 that name the kind, u32 version (big-endian), 32 that say what it is of, the body,
// 32-byte BLAKE3 of all before it.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"

namespace p2p {

struct RecordKind {
  const char* name;  // in errors
  std::array<std::uint8_t, 4> magic;
  std::uint32_t version;
  const char* of_another;  // in errors: what it is where it is not of what was asked for
};

// `subject` has 32 bytes.
Bytes wrap_record(const RecordKind& kind, ByteView subject, ByteView body);
// The body, within `bytes`. kMalformed for anything that is not a whole, unharmed record of this
// kind and subject.
Result<ByteView> unwrap_record(const RecordKind& kind, ByteView subject, ByteView bytes);
// The same error for a body that is not as it should be.
Error malformed_record(const RecordKind& kind, const std::string& problem);

}  // namespace p2p
