// Reading and writing the one canonical spelling of msgpack values, for small messages that come by
// the hundred thousand: nothing is allocated, built or copied on the way. The spelling is what
// msgpack's own packer chooses: each integer, length and count in the fewest bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace p2p {

// Reads value after value. What is not there as asked, or spelled otherwise, makes it fail: then
// and ever after its answers are zero and empty, and status() says what was wrong first.
class CanonicalReader {
 public:
  explicit CanonicalReader(ByteView bytes) : rest_(bytes) {}

  // Each at most `max`; `field` names it in the error.
  std::uint64_t uint(std::uint64_t max, std::string_view field);
  bool boolean(std::string_view field);
  ByteView bin(std::size_t max_bytes, std::string_view field);
  std::string_view str(std::size_t max_bytes, std::string_view field);
  // The number of elements that follow; each takes a byte at least.
  std::uint32_t array(std::uint32_t max, std::string_view field);
  // An array of exactly so many.
  void tuple(std::uint32_t count, std::string_view field);

  // For what only the caller can judge.
  void fail(std::string_view field, std::string_view problem);
  bool failed() const { return failed_; }
  // An error too where something is left.
  Status finish(std::string_view what);

 private:
  std::uint8_t head(std::string_view field);
  // A big-endian number of so many bytes, which must be at least `least`: below it has a shorter
  // spelling.
  std::uint64_t number(std::size_t bytes, std::uint64_t least, std::string_view field);
  ByteView take(std::uint64_t count, std::size_t max, std::string_view field);

  ByteView rest_;
  bool failed_ = false;
  Error error_;
};

// Appends to bytes. They may be longer than what is written until finish().
class CanonicalWriter {
 public:
  explicit CanonicalWriter(Bytes& out, std::size_t expected_bytes) : out_(out), used_(out.size()) {
    out_.resize(used_ + expected_bytes);
  }
  void finish() { out_.resize(used_); }

  void uint(std::uint64_t value);
  void boolean(bool value) { *room(1) = value ? 0xc3 : 0xc2; }
  void bin(ByteView bytes) {
    if (bytes.size() >= 1u << 8) return long_bin(bytes);
    std::uint8_t* out = short_bin(static_cast<std::uint8_t>(bytes.size()));
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  }
  // A binary of this size, which the caller is to write here.
  std::uint8_t* short_bin(std::uint8_t size) {
    std::uint8_t* out = room(2u + size);
    out[0] = 0xc4;
    out[1] = size;
    return out + 2;
  }
  void str(std::string_view text);
  void array(std::uint32_t count) {
    if (count >= 0x10) return long_array(count);
    *room(1) = static_cast<std::uint8_t>(0x90 | count);
  }

 private:
  void long_bin(ByteView bytes);
  void long_array(std::uint32_t count);
  std::uint8_t* room(std::size_t bytes) {
    if (out_.size() - used_ < bytes) out_.resize(2 * out_.size() + bytes);
    used_ += bytes;
    return out_.data() + used_ - bytes;
  }
  void body(const void* bytes, std::size_t count) {
    if (count > 0) std::memcpy(room(count), bytes, count);
  }

  Bytes& out_;
  std::size_t used_;
};

}  // namespace p2p
