#include "base/canonical_msgpack.h"

#include <catch2/catch.hpp>

#include "base/msgpack_codec.h"

using namespace p2p;

namespace {

constexpr std::uint64_t kEdges[] = {0,      1,       0x7f,       0x80,        0xff,      0x100,
                                    0xffff, 0x10000, 0xffffffff, 0x100000000, UINT64_MAX};

// What msgpack's own packer makes of it.
template <typename Write>
Bytes packed(Write write) {
  MsgpackBuffer buffer;
  MsgpackWriter writer(buffer);
  write(writer);
  return to_bytes(buffer);
}

template <typename Write>
Bytes written(Write write) {
  Bytes bytes;
  CanonicalWriter writer(bytes, 1);
  write(writer);
  writer.finish();
  return bytes;
}

bool reads_uint(const Bytes& bytes) {
  CanonicalReader reader(bytes);
  reader.uint(UINT64_MAX, "number");
  return reader.finish("test").has_value();
}

}  // namespace

TEST_CASE("what is written is what msgpack's packer writes, and is read back") {
  for (const std::uint64_t value : kEdges) {
    const Bytes bytes = written([&](CanonicalWriter& writer) { writer.uint(value); });
    CHECK(bytes == packed([&](MsgpackWriter& writer) { writer.pack(value); }));
    CanonicalReader reader(bytes);
    CHECK(reader.uint(UINT64_MAX, "number") == value);
    CHECK(reader.finish("test").has_value());
  }
  for (const std::size_t size : {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536}) {
    CAPTURE(size);
    const Bytes blob(size, 'x');
    const std::string_view text = text_of(blob);
    const Bytes bytes = written([&](CanonicalWriter& writer) {
      writer.bin(blob);
      writer.str(text);
      writer.boolean(true);
      writer.array(static_cast<std::uint32_t>(size));
    });
    CHECK(bytes == packed([&](MsgpackWriter& writer) {
            write_bin(writer, blob);
            write_str(writer, text);
            writer.pack(true);
            writer.pack_array(static_cast<std::uint32_t>(size));
          }));
    Bytes filled = bytes;
    filled.resize(bytes.size() + size, 0);  // the array's elements
    CanonicalReader reader(filled);
    CHECK(reader.bin(size, "bin").size() == size);
    CHECK(reader.str(size, "str") == text);
    CHECK(reader.boolean("bool"));
    CHECK(reader.array(static_cast<std::uint32_t>(size), "array") == size);
    for (std::size_t i = 0; i < size; ++i) reader.uint(0, "element");
    CHECK(reader.finish("test").has_value());
  }
}

TEST_CASE("an integer, length or count in more bytes than it needs is refused") {
  CHECK_FALSE(reads_uint({0xcc, 0x7f}));
  CHECK(reads_uint({0xcc, 0x80}));
  CHECK_FALSE(reads_uint({0xcd, 0x00, 0xff}));
  CHECK_FALSE(reads_uint({0xce, 0x00, 0x00, 0xff, 0xff}));
  CHECK_FALSE(reads_uint({0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}));
  CHECK_FALSE(reads_uint({0xd0, 0x01}));  // signed
  const auto fails = [](Bytes bytes, auto read) {
    bytes.resize(bytes.size() + 256);
    CanonicalReader reader(bytes);
    read(reader);
    return reader.failed();
  };
  const auto bin = [](CanonicalReader& reader) { reader.bin(1000, "bin"); };
  const auto str = [](CanonicalReader& reader) { reader.str(1000, "str"); };
  const auto array = [](CanonicalReader& reader) { reader.array(1000, "array"); };
  CHECK_FALSE(fails({0xc4, 0xff}, bin));
  CHECK(fails({0xc5, 0x00, 0xff}, bin));
  CHECK(fails({0xc6, 0x00, 0x00, 0x00, 0xff}, bin));
  CHECK_FALSE(fails({0xd9, 0x20}, str));
  CHECK(fails({0xd9, 0x1f}, str));
  CHECK(fails({0xda, 0x00, 0xff}, str));
  CHECK_FALSE(fails({0xdc, 0x00, 0x10}, array));
  CHECK(fails({0xdc, 0x00, 0x0f}, array));
  CHECK(fails({0xdd, 0x00, 0x00, 0x00, 0x10}, array));
}

TEST_CASE("a reader that failed answers nothing more, and names what was wrong first") {
  const Bytes bytes = {0x05, 0xc3, 0x06};
  CanonicalReader reader(bytes);
  CHECK(reader.uint(4, "first") == 0);
  CHECK_FALSE(reader.boolean("second"));
  CHECK(reader.bin(10, "third").empty());
  const Status status = reader.finish("test");
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().code == ErrorCode::kMalformed);
  CHECK(status.error().message.find("first") != std::string::npos);
}

TEST_CASE("what claims more than there is, or leaves something, is refused") {
  for (const Bytes& bytes :
       {Bytes{0xc4, 5, 1, 2}, Bytes{0xc6, 0xff, 0xff, 0xff, 0xff}, Bytes{0xc4}}) {
    CanonicalReader reader(bytes);
    CHECK(reader.bin(SIZE_MAX, "bin").empty());
    CHECK(reader.failed());
  }
  const Bytes claim = {0xdd, 0xff, 0xff, 0xff, 0xff, 0x00};
  CanonicalReader reader(claim);
  CHECK(reader.array(UINT32_MAX, "array") == 0);
  CHECK(reader.failed());
  CHECK_FALSE(reads_uint({0x01, 0x01}));
  CHECK_FALSE(reads_uint({}));
}
