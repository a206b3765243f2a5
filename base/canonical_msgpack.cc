#include "base/canonical_msgpack.h"

#include "absl/strings/str_cat.h"

namespace p2p {
namespace {

// The first byte of a value: https://github.com/msgpack/msgpack/blob/master/spec.md
enum : std::uint8_t {
  kFixArray = 0x90,
  kFixStr = 0xa0,
  kFalse = 0xc2,
  kTrue = 0xc3,
  kBin8 = 0xc4,
  kBin16 = 0xc5,
  kBin32 = 0xc6,
  kUint8 = 0xcc,
  kUint16 = 0xcd,
  kUint32 = 0xce,
  kUint64 = 0xcf,
  kStr8 = 0xd9,
  kStr16 = 0xda,
  kStr32 = 0xdb,
  kArray16 = 0xdc,
  kArray32 = 0xdd,
};
// The first numbers that do not fit into the byte itself, of each kind.
constexpr std::uint64_t kPastFixInt = 0x80;
constexpr std::uint64_t kPastFixArray = 0x10;
constexpr std::uint64_t kPastFixStr = 0x20;

void put_number(std::uint8_t* out, std::size_t bytes, std::uint64_t value) {
  for (std::size_t i = bytes; i-- > 0; value >>= 8) out[i] = static_cast<std::uint8_t>(value);
}

}  // namespace

void CanonicalReader::fail(std::string_view field, std::string_view problem) {
  if (failed_) return;
  failed_ = true;
  rest_ = {};
  error_ = Error{ErrorCode::kMalformed, std::string(field) + ": " + std::string(problem)};
}

Status CanonicalReader::finish(std::string_view what) {
  if (!rest_.empty()) fail(what, "more than one message");
  if (failed_) return std::move(error_);
  return {};
}

std::uint8_t CanonicalReader::head(std::string_view field) {
  const ByteView byte = take(1, 1, field);
  return byte.empty() ? 0 : byte[0];
}

ByteView CanonicalReader::take(std::uint64_t count, std::size_t max, std::string_view field) {
  if (count > max)
    fail(field, absl::StrCat(count, " is over the limit of ", max));
  else if (count > rest_.size())
    fail(field, "cut off");
  if (failed_) return {};
  const ByteView taken = rest_.first(static_cast<std::size_t>(count));
  rest_ = rest_.subspan(taken.size());
  return taken;
}

std::uint64_t CanonicalReader::number(std::size_t bytes, std::uint64_t least,
                                      std::string_view field) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : take(bytes, bytes, field)) value = value << 8 | byte;
  if (!failed_ && value < least) fail(field, "not in its shortest form");
  return failed_ ? 0 : value;
}

std::uint64_t CanonicalReader::uint(std::uint64_t max, std::string_view field) {
  std::uint64_t value = head(field);
  if (value >= kPastFixInt) {
    switch (value) {
      case kUint8:
        value = number(1, kPastFixInt, field);
        break;
      case kUint16:
        value = number(2, 1u << 8, field);
        break;
      case kUint32:
        value = number(4, 1u << 16, field);
        break;
      case kUint64:
        value = number(8, std::uint64_t{1} << 32, field);
        break;
      default:
        fail(field, "not an unsigned integer");
    }
  }
  if (value > max) fail(field, absl::StrCat(value, " is over the limit of ", max));
  return failed_ ? 0 : value;
}

bool CanonicalReader::boolean(std::string_view field) {
  const std::uint8_t value = head(field);
  if (value != kTrue && value != kFalse) fail(field, "not a boolean");
  return value == kTrue && !failed_;
}

ByteView CanonicalReader::bin(std::size_t max_bytes, std::string_view field) {
  switch (head(field)) {
    case kBin8:
      return take(number(1, 0, field), max_bytes, field);
    case kBin16:
      return take(number(2, 1u << 8, field), max_bytes, field);
    case kBin32:
      return take(number(4, 1u << 16, field), max_bytes, field);
    default:
      fail(field, "not a binary");
      return {};
  }
}

std::string_view CanonicalReader::str(std::size_t max_bytes, std::string_view field) {
  const std::uint8_t first = head(field);
  if ((first & 0xe0) == kFixStr) return text_of(take(first & 0x1f, max_bytes, field));
  switch (first) {
    case kStr8:
      return text_of(take(number(1, kPastFixStr, field), max_bytes, field));
    case kStr16:
      return text_of(take(number(2, 1u << 8, field), max_bytes, field));
    case kStr32:
      return text_of(take(number(4, 1u << 16, field), max_bytes, field));
    default:
      fail(field, "not a string");
      return {};
  }
}

std::uint32_t CanonicalReader::array(std::uint32_t max, std::string_view field) {
  const std::uint8_t first = head(field);
  std::uint64_t count = first & 0x0f;
  if ((first & 0xf0) != kFixArray) {
    if (first == kArray16)
      count = number(2, kPastFixArray, field);
    else if (first == kArray32)
      count = number(4, 1u << 16, field);
    else
      fail(field, "not an array");
  }
  if (count > max) fail(field, absl::StrCat(count, " elements, more than ", max));
  if (count > rest_.size()) fail(field, "cut off");
  return failed_ ? 0 : static_cast<std::uint32_t>(count);
}

void CanonicalReader::tuple(std::uint32_t count, std::string_view field) {
  if (array(count, field) != count) fail(field, absl::StrCat("not ", count, " elements"));
}

void CanonicalWriter::uint(std::uint64_t value) {
  if (value < kPastFixInt) {
    *room(1) = static_cast<std::uint8_t>(value);
    return;
  }
  const std::size_t bytes = value < 1u << 8 ? 1 : value < 1u << 16 ? 2 : value >> 32 == 0 ? 4 : 8;
  std::uint8_t* out = room(1 + bytes);
  *out = bytes == 1 ? kUint8 : bytes == 2 ? kUint16 : bytes == 4 ? kUint32 : kUint64;
  put_number(out + 1, bytes, value);
}

void CanonicalWriter::long_bin(ByteView bytes) {
  const std::size_t size = bytes.size();
  const std::size_t width = size < 1u << 16 ? 2 : 4;
  std::uint8_t* out = room(1 + width);
  *out = width == 2 ? kBin16 : kBin32;
  put_number(out + 1, width, size);
  body(bytes.data(), size);
}

void CanonicalWriter::str(std::string_view text) {
  const std::size_t size = text.size();
  if (size < kPastFixStr) {
    *room(1) = static_cast<std::uint8_t>(kFixStr | size);
  } else {
    const std::size_t width = size < 1u << 8 ? 1 : size < 1u << 16 ? 2 : 4;
    std::uint8_t* out = room(1 + width);
    *out = width == 1 ? kStr8 : width == 2 ? kStr16 : kStr32;
    put_number(out + 1, width, size);
  }
  body(text.data(), size);
}

void CanonicalWriter::long_array(std::uint32_t count) {
  const std::size_t width = count < 1u << 16 ? 2 : 4;
  std::uint8_t* out = room(1 + width);
  *out = width == 2 ? kArray16 : kArray32;
  put_number(out + 1, width, count);
}

}  // namespace p2p
