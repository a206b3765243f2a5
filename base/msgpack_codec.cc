#include "base/msgpack_codec.h"

#include "absl/strings/str_cat.h"

namespace p2p {
namespace {

Error malformed(std::string_view field, std::string_view problem) {
  return Error{ErrorCode::kMalformed, std::string(field) + ": " + std::string(problem)};
}

// Walks the bytes without building anything, and stops at the first claim that cannot be true.
class ClaimChecker : public msgpack::null_visitor {
 public:
  explicit ClaimChecker(std::size_t bytes) : unclaimed_(bytes) {}
  bool start_array(std::uint32_t count) { return claim(count) && enter(); }
  bool start_map(std::uint32_t count) { return claim(std::uint64_t{count} * 2) && enter(); }
  bool end_array() { return leave(); }
  bool end_map() { return leave(); }
  bool visit_ext(const char*, std::uint32_t) { return false; }
  bool visit_float32(float) { return false; }
  bool visit_float64(double) { return false; }
  void parse_error(std::size_t, std::size_t) {}
  void insufficient_bytes(std::size_t, std::size_t) {}

 private:
  // Each element takes a byte at least, so all counts together cannot pass the bytes there are.
  bool claim(std::uint64_t elements) {
    if (elements > unclaimed_) return false;
    unclaimed_ -= elements;
    return true;
  }
  bool enter() { return ++depth_ <= kMaxNesting; }
  bool leave() { return --depth_, true; }

  std::uint64_t unclaimed_;
  std::size_t depth_ = 0;
};

}  // namespace

void write_bin(MsgpackWriter& writer, ByteView bytes) {
  writer.pack_bin(static_cast<std::uint32_t>(bytes.size()));
  writer.pack_bin_body(reinterpret_cast<const char*>(bytes.data()),
                       static_cast<std::uint32_t>(bytes.size()));
}

void write_str(MsgpackWriter& writer, std::string_view text) {
  writer.pack_str(static_cast<std::uint32_t>(text.size()));
  writer.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

Bytes to_bytes(const MsgpackBuffer& buffer, Bytes head) {
  const ByteView view = bytes_of(std::string_view(buffer.data(), buffer.size()));
  head.insert(head.end(), view.begin(), view.end());
  return head;
}

Result<msgpack::object_handle> read_msgpack(ByteView bytes, std::size_t max_bytes,
                                            std::string_view what) {
  if (bytes.size() > max_bytes)
    return Error{ErrorCode::kLimit, absl::StrCat(std::string(what), " of ", bytes.size(),
                                                 " bytes is over the limit of ", max_bytes)};
  const char* data = reinterpret_cast<const char*>(bytes.data());
  try {
    ClaimChecker checker(bytes.size());
    std::size_t walked = 0;
    if (!msgpack::parse(data, bytes.size(), walked, checker) || walked != bytes.size())
      return malformed(what, "not one well-formed msgpack value");
    return msgpack::unpack(data, bytes.size(),
                           [](msgpack::type::object_type, std::size_t, void*) { return true; });
  } catch (const std::exception& failure) {
    return malformed(what, failure.what());
  }
}

Result<std::uint64_t> as_uint(const MsgpackValue& value, std::uint64_t max,
                              std::string_view field) {
  if (value.type != msgpack::type::POSITIVE_INTEGER)
    return malformed(field, "not an unsigned integer");
  if (value.via.u64 > max)
    return malformed(field, absl::StrCat(value.via.u64, " is over the limit of ", max));
  return value.via.u64;
}

Result<bool> as_bool(const MsgpackValue& value, std::string_view field) {
  if (value.type != msgpack::type::BOOLEAN) return malformed(field, "not a boolean");
  return value.via.boolean;
}

Result<ByteView> as_bin(const MsgpackValue& value, std::size_t max_bytes, std::string_view field) {
  if (value.type != msgpack::type::BIN) return malformed(field, "not a binary");
  if (value.via.bin.size > max_bytes)
    return malformed(field, absl::StrCat(value.via.bin.size, " bytes, more than ", max_bytes));
  return bytes_of(std::string_view(value.via.bin.ptr, value.via.bin.size));
}

Result<std::string_view> as_str(const MsgpackValue& value, std::size_t max_bytes,
                                std::string_view field) {
  if (value.type != msgpack::type::STR) return malformed(field, "not a string");
  if (value.via.str.size > max_bytes)
    return malformed(field, absl::StrCat(value.via.str.size, " bytes, more than ", max_bytes));
  return std::string_view(value.via.str.ptr, value.via.str.size);
}

Result<std::span<const MsgpackValue>> as_array(const MsgpackValue& value, std::size_t max,
                                               std::string_view field) {
  if (value.type != msgpack::type::ARRAY) return malformed(field, "not an array");
  if (value.via.array.size > max)
    return malformed(field, absl::StrCat(value.via.array.size, " elements, more than ", max));
  return std::span<const MsgpackValue>(value.via.array.ptr, value.via.array.size);
}

Result<std::span<const MsgpackValue>> as_tuple(const MsgpackValue& value, std::size_t count,
                                               std::string_view field) {
  P2P_ASSIGN(const auto elements, as_array(value, count, field));
  if (elements.size() != count)
    return malformed(field, absl::StrCat(elements.size(), " elements instead of ", count));
  return elements;
}

}  // namespace p2p
