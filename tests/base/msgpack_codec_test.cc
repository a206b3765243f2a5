#include "base/msgpack_codec.h"

#include <catch2/catch.hpp>

using namespace p2p;

namespace {
Bytes nested_arrays(std::size_t depth) {
  Bytes bytes(depth, 0x91);
  bytes.push_back(0xc0);
  return bytes;
}
}  // namespace

TEST_CASE("nesting up to the limit is read, deeper is refused without recursion") {
  CHECK(read_msgpack(nested_arrays(kMaxNesting), kMaxMessageBytes, "test").has_value());
  CHECK_FALSE(read_msgpack(nested_arrays(kMaxNesting + 1), kMaxMessageBytes, "test").has_value());
  CHECK_FALSE(read_msgpack(nested_arrays(100000), kMaxMessageBytes, "test").has_value());
}

TEST_CASE("claims of 2^32-1 elements or bytes are refused before memory is taken") {
  for (std::uint8_t tag : {0xdd, 0xdf, 0xc6, 0xdb, 0xc9}) {
    const Bytes bytes = {tag, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00};
    CHECK_FALSE(read_msgpack(bytes, kMaxMessageBytes, "test").has_value());
  }
}

TEST_CASE("many small claims cannot add up to more than the bytes there are") {
  Bytes bytes;
  for (int i = 0; i < 20; ++i) bytes.insert(bytes.end(), {0xdc, 0x00, 0x20});
  bytes.resize(64, 0xc0);
  CHECK_FALSE(read_msgpack(bytes, kMaxMessageBytes, "test").has_value());
}

TEST_CASE("truncation at every offset and trailing bytes are refused") {
  MsgpackBuffer buffer;
  MsgpackWriter writer(buffer);
  writer.pack_array(3);
  writer.pack(70000u);
  write_str(writer, "name");
  write_bin(writer, Bytes(300, 7));
  Bytes bytes = to_bytes(buffer);
  CHECK(read_msgpack(bytes, kMaxMessageBytes, "test").has_value());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    CHECK_FALSE(read_msgpack(ByteView(bytes).first(size), kMaxMessageBytes, "test").has_value());
  bytes.push_back(0xc0);
  CHECK_FALSE(read_msgpack(bytes, kMaxMessageBytes, "test").has_value());
}

TEST_CASE("values of the wrong type or over a limit are refused with the field's name") {
  MsgpackBuffer buffer;
  MsgpackWriter writer(buffer);
  writer.pack_array(2);
  writer.pack(-5);
  writer.pack(11u);
  const Bytes bytes = to_bytes(buffer);
  const auto handle = read_msgpack(bytes, kMaxMessageBytes, "test");
  REQUIRE(handle.has_value());
  const auto fields = as_tuple(handle->get(), 2, "pair");
  REQUIRE(fields.has_value());
  CHECK_FALSE(as_uint((*fields)[0], 100, "size").has_value());
  CHECK(as_uint((*fields)[1], 10, "count").error().message == "count: 11 is over the limit of 10");
  CHECK(*as_uint((*fields)[1], 11, "count") == 11);
  CHECK_FALSE(as_str((*fields)[1], 10, "name").has_value());
  CHECK_FALSE(as_tuple(handle->get(), 3, "pair").has_value());
}
