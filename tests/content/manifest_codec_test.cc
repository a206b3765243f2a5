// The bytes of a manifest: one encoding each, and nothing else is read.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "base/msgpack_codec.h"
#include "base/random.h"
#include "content/manifest.h"
#include "tests/content/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

using Write = std::function<void(MsgpackWriter&)>;

Write number(std::uint64_t value) {
  return [=](MsgpackWriter& writer) { writer.pack(value); };
}
Write negative(std::int64_t value) {
  return [=](MsgpackWriter& writer) { writer.pack(value); };
}
Write text(std::string value) {
  return [=](MsgpackWriter& writer) { write_str(writer, value); };
}
Write binary(Bytes value) {
  return [=](MsgpackWriter& writer) { write_bin(writer, value); };
}
Write nil() {
  return [](MsgpackWriter& writer) { writer.pack_nil(); };
}
Write raw(Bytes bytes) {
  return [=](MsgpackWriter& writer) {
    writer.pack_str_body(reinterpret_cast<const char*>(bytes.data()),
                         static_cast<std::uint32_t>(bytes.size()));
  };
}
Write array(std::vector<Write> elements) {
  return [=](MsgpackWriter& writer) {
    writer.pack_array(static_cast<std::uint32_t>(elements.size()));
    for (const Write& element : elements) element(writer);
  };
}

using Fields = std::vector<std::pair<Write, Write>>;

Bytes map_of(const Fields& fields) {
  MsgpackBuffer buffer;
  MsgpackWriter writer(buffer);
  writer.pack_map(static_cast<std::uint32_t>(fields.size()));
  for (const auto& [key, value] : fields) {
    key(writer);
    value(writer);
  }
  return to_bytes(buffer);
}

enum Field : std::size_t { kVersion, kName, kRoot, kChunk, kEntries, kHashes };

Write entry(std::uint64_t kind, std::string path, Write detail) {
  return array({number(kind), text(std::move(path)), std::move(detail)});
}

// A folder of one file of two chunks, field by field.
Fields good_fields() {
  return {{text("v"), number(1)},
          {text("name"), text("folder")},
          {text("root"), number(1)},
          {text("chunk"), number(65536)},
          {text("entries"), array({entry(0, "a", number(70'000))})},
          {text("hashes"), binary(Bytes(64, 0x11))}};
}

// The good fields with one value replaced.
Bytes with(Field field, Write value) {
  Fields fields = good_fields();
  fields[field].second = std::move(value);
  return map_of(fields);
}

std::string refusal(ByteView bytes) {
  const auto manifest = decode_manifest(bytes);
  return manifest ? "" : manifest.error().message;
}

bool is_read(ByteView bytes) { return decode_manifest(bytes).has_value(); }

bool says(ByteView bytes, const std::string& part) {
  const std::string message = refusal(bytes);
  INFO(message);
  return message.find(part) != std::string::npos;
}

Manifest every_kind() {
  return folder_of({file("a", 5), executable("b/c", 70'000), file("d", 0), empty_folder("e"),
                    symlink_to("f", "../x")});
}

std::string random_name(Random& random) {
  static const std::vector<std::string> kParts = {"a",      "b.txt",  "foo... bar",
                                                  "\u00e9", "\u65e5", std::string(40, 'x')};
  return kParts[random.below(kParts.size())] + std::to_string(random.below(50));
}

Entry random_entry(Random& random, const std::string& path) {
  const std::uint64_t size_bytes = random.below(2u << random.below(22));
  switch (random.below(5)) {
    case 0:
      return executable(path, size_bytes);
    case 1:
      return empty_folder(path);
    case 2:
      return symlink_to(path, "../" + random_name(random));
    default:
      return file(path, size_bytes);
  }
}

Manifest random_manifest(Random& random) {
  if (random.chance(0.2)) return single_file(random_name(random), random.below(5'000'000));
  std::set<std::string> paths;
  for (auto count = random.below(40); count > 0; --count) {
    // Folders and leaves are named apart, so that nothing is below a leaf.
    std::string path = "leaf " + random_name(random);
    for (auto depth = random.below(4); depth > 0; --depth)
      path.insert(0, "folder " + random_name(random) + "/");
    paths.insert(path);
  }
  std::vector<Entry> entries;
  for (const std::string& path : paths) entries.push_back(random_entry(random, path));
  Manifest manifest = folder_of(std::move(entries));
  manifest.chunk_bytes = kMinChunkBytes << random.below(7);
  return with_hashes(std::move(manifest));
}

}  // namespace

TEST_CASE("every manifest comes back from its bytes, and its bytes from it") {
  const std::uint64_t seed = 81;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 500; ++round) {
    CAPTURE(round);
    const Manifest manifest = random_manifest(random);
    const Bytes bytes = encode_manifest(manifest);
    REQUIRE(bytes.size() == encoded_manifest_bytes(manifest));
    const auto decoded = decode_manifest(bytes);
    REQUIRE(decoded.has_value());
    REQUIRE(*decoded == manifest);
    REQUIRE(encode_manifest(*decoded) == bytes);
  }
}

TEST_CASE("the length of an encoding is known beforehand, at every edge of msgpack's forms") {
  for (const std::uint64_t edge : {0x1full, 0x7full, 0xffull, 0xfffull, 0xffffull, 0xffffffffull}) {
    for (const std::uint64_t value : {edge, edge + 1}) {
      CAPTURE(value);
      Manifest sized = folder_of({});
      sized.chunk_bytes = kMaxChunkBytes;
      sized.entries = {file("a", value)};
      sized = with_hashes(std::move(sized));
      CHECK(encode_manifest(sized).size() == encoded_manifest_bytes(sized));
      if (value <= 4095) {
        const Manifest linked = folder_of({symlink_to("a", std::string(value, 'x'))});
        CHECK(encode_manifest(linked).size() == encoded_manifest_bytes(linked));
      }
      if (value <= 70'000) {
        Manifest many = folder_of({});
        for (std::uint64_t i = 0; i < value; ++i)
          many.entries.push_back(file(std::to_string(100'000 + i), 0));
        CHECK(encode_manifest(many).size() == encoded_manifest_bytes(many));
      }
    }
  }
  for (const std::uint64_t chunks : {7u, 8u, 2047u, 2048u}) {
    const Manifest manifest = single_file("a", chunks * kMinChunkBytes);
    CHECK(encode_manifest(manifest).size() == encoded_manifest_bytes(manifest));
  }
}

TEST_CASE("the encoding of a manifest is fixed") {
  Manifest manifest = folder_of({file("a", 70'000)});
  for (Digest& digest : manifest.chunk_hashes) digest.bytes.fill(0x11);
  CHECK(encode_manifest(manifest) == map_of(good_fields()));

  Manifest kinds = every_kind();
  CHECK(encode_manifest(kinds) ==
        map_of({{text("v"), number(1)},
                {text("name"), text("folder")},
                {text("root"), number(1)},
                {text("chunk"), number(65536)},
                {text("entries"), array({entry(0, "a", number(5)), entry(1, "b/c", number(70'000)),
                                         entry(0, "d", number(0)), entry(2, "e", number(0)),
                                         entry(3, "f", text("../x"))})},
                {text("hashes"), [](MsgpackWriter& writer) {
                   Bytes hashes(32, 1);
                   hashes.insert(hashes.end(), 32, 2);
                   write_bin(writer, hashes);
                 }}}));

  CHECK(encode_manifest(single_file("x", 0)) ==
        map_of({{text("v"), number(1)},
                {text("name"), text("x")},
                {text("root"), number(0)},
                {text("chunk"), number(65536)},
                {text("entries"), array({entry(0, "", number(0))})},
                {text("hashes"), binary({})}}));
}

TEST_CASE("a manifest truncated at any offset is refused") {
  for (const Manifest& manifest : {every_kind(), single_file("a", 200'000), folder_of({})}) {
    const Bytes bytes = encode_manifest(manifest);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      REQUIRE_FALSE(is_read(ByteView(bytes).first(size)));
  }
}

TEST_CASE("a manifest with a byte behind it is refused") {
  for (int byte = 0; byte < 256; ++byte) {
    Bytes bytes = encode_manifest(every_kind());
    bytes.push_back(static_cast<std::uint8_t>(byte));
    REQUIRE_FALSE(is_read(bytes));
  }
}

TEST_CASE("whatever becomes of a byte, a manifest that is read has exactly these bytes") {
  for (const Manifest& manifest : {every_kind(), single_file("a", 70'000), folder_of({})}) {
    const Bytes bytes = encode_manifest(manifest);
    for (std::size_t offset = 0; offset < bytes.size(); ++offset) {
      for (int value = 0; value < 256; ++value) {
        Bytes changed = bytes;
        changed[offset] = static_cast<std::uint8_t>(value);
        const auto decoded = decode_manifest(changed);
        if (decoded) REQUIRE(encode_manifest(*decoded) == changed);
      }
    }
  }
}

TEST_CASE("the keys of a manifest are these, in this order, each once") {
  REQUIRE(is_read(map_of(good_fields())));
  for (std::size_t i = 0; i < good_fields().size(); ++i) {
    CAPTURE(i);
    Fields fields = good_fields();
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK_FALSE(is_read(map_of(fields)));  // missing

    fields = good_fields();
    fields.insert(fields.begin() + static_cast<std::ptrdiff_t>(i), fields[i]);
    CHECK_FALSE(is_read(map_of(fields)));  // twice

    fields = good_fields();
    fields[i] = fields[(i + 1) % fields.size()];
    CHECK_FALSE(is_read(map_of(fields)));  // twice, and one missing

    fields = good_fields();
    std::swap(fields[i], fields[(i + 1) % fields.size()]);
    CHECK_FALSE(is_read(map_of(fields)));  // another order

    for (const Write& key : {text("x"), text(""), number(0), nil(), binary({'v'})}) {
      fields = good_fields();
      fields.insert(fields.begin() + static_cast<std::ptrdiff_t>(i), {key, number(0)});
      CHECK_FALSE(is_read(map_of(fields)));  // unknown
      fields = good_fields();
      fields[i].first = key;
      CHECK_FALSE(is_read(map_of(fields)));  // renamed
    }
  }
  Fields fields = good_fields();
  fields.emplace_back(text("zz"), nil());
  CHECK(says(map_of(fields), "unknown keys"));
  fields = good_fields();
  fields.pop_back();
  CHECK(says(map_of(fields), "the key 'hashes' is missing"));
  CHECK_FALSE(is_read(map_of({})));
}

TEST_CASE("a value of the wrong type is refused, and its field named") {
  const char* names[] = {"'v'", "'name'", "'root'", "'chunk'", "entr", "'hashes'"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    const auto field = static_cast<Field>(i);
    for (const Write& value : {nil(), negative(-1), array({nil()}), array({array({})}), text("1"),
                               binary({1}), Write([](MsgpackWriter& w) { w.pack(true); }),
                               Write([](MsgpackWriter& w) { w.pack_map(0); })}) {
      const std::string message = refusal(with(field, value));
      CAPTURE(i, message);
      if (field == kName && message.empty()) continue;  // "1" is a fine name
      CHECK(message.find(field == kHashes ? "hashes" : names[i]) != std::string::npos);
    }
  }
  // 65536, as floating point numbers.
  CHECK_FALSE(is_read(with(kChunk, raw({0xca, 0x47, 0x80, 0, 0}))));
  CHECK_FALSE(is_read(with(kChunk, raw({0xcb, 0x40, 0xf0, 0, 0, 0, 0, 0, 0}))));
}

TEST_CASE("a later version is refused, and the refusal says what to do") {
  CHECK(says(with(kVersion, number(2)), "version 2 and this p2p reads version 1"));
  CHECK_FALSE(is_read(with(kVersion, number(0))));
  CHECK_FALSE(is_read(with(kVersion, number(UINT64_MAX))));
}

TEST_CASE("an entry is a kind, a path and what goes with the kind") {
  const auto reads = [](Write value) { return is_read(with(kEntries, array({std::move(value)}))); };
  REQUIRE(reads(entry(0, "a", number(70'000))));
  CHECK(reads(entry(1, "a", number(70'000))));
  CHECK_FALSE(reads(array({})));
  CHECK_FALSE(reads(array({number(0), text("a")})));
  CHECK_FALSE(reads(array({number(0), text("a"), number(70'000), nil()})));
  CHECK_FALSE(reads(entry(4, "a", number(70'000))));
  CHECK_FALSE(reads(entry(UINT64_MAX, "a", number(70'000))));
  CHECK_FALSE(reads(array({negative(-1), text("a"), number(70'000)})));
  CHECK_FALSE(reads(array({text("0"), text("a"), number(70'000)})));
  CHECK_FALSE(reads(array({number(0), binary({'a'}), number(70'000)})));
  CHECK_FALSE(reads(array({number(0), number(1), number(70'000)})));
  for (const Write& size : {negative(-1), negative(INT64_MIN), number(UINT64_MAX), text("70000"),
                            number(kMaxContentBytes + 1), number(140'000), number(60'000), nil()})
    CHECK_FALSE(reads(entry(0, "a", size)));

  const auto reads_empty = [](Write value) {
    Fields fields = good_fields();
    fields[kEntries].second = array({std::move(value)});
    fields[kHashes].second = binary({});
    return is_read(map_of(fields));
  };
  CHECK(reads_empty(entry(0, "a", number(0))));
  CHECK(reads_empty(entry(2, "a", number(0))));
  CHECK_FALSE(reads_empty(entry(2, "a", number(1))));
  CHECK_FALSE(reads_empty(entry(2, "a", text(""))));
  CHECK(reads_empty(entry(3, "a", text("b"))));
  CHECK_FALSE(reads_empty(entry(3, "a", text(""))));
  CHECK_FALSE(reads_empty(entry(3, "a", number(0))));
  CHECK_FALSE(reads_empty(entry(3, "a", text(std::string(4096, 'a')))));
  CHECK_FALSE(reads_empty(entry(0, "../a", number(0))));
  CHECK_FALSE(reads_empty(entry(0, std::string(5000, 'a'), number(0))));
  CHECK(says(with(kEntries, array({entry(0, "a", number(1)), entry(9, "b", number(1))})),
             "manifest entry 2: kind"));
}

TEST_CASE("every chunk size but a power of two within the limits is refused") {
  for (const std::uint64_t bytes : {0ull, 1ull, 3ull, 65535ull, 65537ull, 32768ull, 1ull << 23,
                                    1ull << 31, 1ull << 32, (1ull << 32) + 65536, ~0ull})
    CHECK_FALSE(is_read(with(kChunk, number(bytes))));
}

TEST_CASE("hashes that do not match the sizes are refused") {
  for (const std::size_t bytes : {0, 1, 31, 32, 63, 65, 95, 96, 128})
    CHECK_FALSE(is_read(with(kHashes, binary(Bytes(bytes, 0x11)))));
  CHECK(says(with(kHashes, binary(Bytes(65, 0x11))), "no whole number of hashes"));
  CHECK(says(with(kHashes, binary(Bytes(96, 0x11))), "3 chunk hashes for 2 chunks"));
}

TEST_CASE("a number or length in a longer form than it needs is refused") {
  REQUIRE(is_read(with(kVersion, raw({0x01}))));
  for (const Bytes& one : {Bytes{0xcc, 1}, Bytes{0xcd, 0, 1}, Bytes{0xce, 0, 0, 0, 1},
                           Bytes{0xcf, 0, 0, 0, 0, 0, 0, 0, 1}, Bytes{0xd0, 1}, Bytes{0xd1, 0, 1},
                           Bytes{0xd2, 0, 0, 0, 1}, Bytes{0xd3, 0, 0, 0, 0, 0, 0, 0, 1}}) {
    CHECK(says(with(kVersion, raw(one)), "canonical"));
    CHECK(says(with(kRoot, raw(one)), "canonical"));
  }
  // As long as the proper form, but of the signed kind.
  CHECK(says(with(kChunk, raw({0xd2, 0x00, 0x01, 0x00, 0x00})), "canonical"));
  CHECK(is_read(with(kName, raw({0xa1, 'x'}))));
  CHECK(says(with(kName, raw({0xd9, 1, 'x'})), "canonical"));
  CHECK(says(with(kName, raw({0xda, 0, 1, 'x'})), "canonical"));
  CHECK(says(with(kName, raw({0xdb, 0, 0, 0, 1, 'x'})), "canonical"));

  // The head of the map.
  Bytes bytes = map_of(good_fields());
  REQUIRE(bytes[0] == 0x86);
  for (const Bytes& head : {Bytes{0xde, 0, 6}, Bytes{0xdf, 0, 0, 0, 6}}) {
    Bytes longer = head;
    longer.insert(longer.end(), bytes.begin() + 1, bytes.end());
    CHECK(says(longer, "canonical"));
  }
}

TEST_CASE("huge claims are refused at once") {
  for (const std::uint8_t form : {0xdd, 0xdf, 0xc6, 0xdb, 0xc9}) {
    const Bytes claim = {form, 0xff, 0xff, 0xff, 0xff};
    CHECK_FALSE(is_read(claim));
    for (std::size_t field = kVersion; field <= kHashes; ++field)
      CHECK_FALSE(is_read(with(static_cast<Field>(field), raw(claim))));
  }
  CHECK_FALSE(is_read(Bytes(100'000, 0x91)));  // arrays of one array of one array of ...
  CHECK_FALSE(is_read(Bytes(100'000, 0x81)));
}

TEST_CASE("a manifest that would become many times larger in memory is refused before it does") {
  // Nulls, each claimed and there: 24 bytes of memory for each byte.
  Bytes nulls = {0xdd, 0x03, 0xff, 0xff, 0xfb};
  nulls.resize(kMaxManifestBytes, 0xc0);
  CHECK(refusal(nulls) == "manifest: too many elements");
  // The same in pairs.
  nulls[0] = 0xdf;
  nulls[1] = 0x01;
  CHECK(refusal(nulls) == "manifest: too many elements");
}

TEST_CASE("a manifest over the size limit is refused, and the largest is read") {
  CHECK(decode_manifest(Bytes(kMaxManifestBytes + 1)).error().code == ErrorCode::kLimit);
  Manifest manifest = single_file("a", 0);
  manifest.chunk_bytes = kMaxChunkBytes;
  manifest.entries[0].size_bytes = (std::uint64_t{kMaxChunks} - 4) * kMaxChunkBytes;
  manifest.chunk_hashes.resize(kMaxChunks - 4);
  // The name fills it up to the limit.
  REQUIRE(encoded_manifest_bytes(manifest) < kMaxManifestBytes);
  while (encoded_manifest_bytes(manifest) < kMaxManifestBytes) manifest.name += 'n';
  const Bytes bytes = encode_manifest(manifest);
  CHECK(bytes.size() == kMaxManifestBytes);
  const auto decoded = decode_manifest(bytes);
  REQUIRE(decoded.has_value());
  CHECK(*decoded == manifest);
  manifest.name += 'n';
  CHECK(validate_manifest(manifest).error().code == ErrorCode::kLimit);
}
