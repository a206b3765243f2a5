#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/msgpack_codec.h"
#include "content/manifest.h"
#include "content/path_rules.h"

namespace p2p {
namespace {

enum Key : std::size_t { kVersion, kName, kRoot, kChunk, kEntries, kHashes, kKeyCount };
constexpr std::array<std::string_view, kKeyCount> kKeys = {"v",     "name",    "root",
                                                           "chunk", "entries", "hashes"};
constexpr std::array<std::string_view, kKeyCount> kFields = {
    "manifest field 'v'",     "manifest field 'name'",    "manifest field 'root'",
    "manifest field 'chunk'", "manifest field 'entries'", "manifest field 'hashes'"};
constexpr std::size_t kEntryFields = 3;

Error malformed(std::string message) { return Error{ErrorCode::kMalformed, std::move(message)}; }

// The lengths of the shortest forms, by the msgpack specification.
std::uint64_t uint_bytes(std::uint64_t value) {
  if (value < 0x80) return 1;
  if (value <= 0xff) return 2;
  if (value <= 0xffff) return 3;
  return value <= 0xffffffff ? 5 : 9;
}
std::uint64_t str_bytes(std::size_t size) {
  return size + (size < 32 ? 1 : size <= 0xff ? 2 : size <= 0xffff ? 3 : 5);
}
std::uint64_t bin_bytes(std::size_t size) {
  return size + (size <= 0xff ? 2 : size <= 0xffff ? 3 : 5);
}
std::uint64_t array_head_bytes(std::size_t count) {
  return count < 16 ? 1 : count <= 0xffff ? 3 : 5;
}

void write_entry(MsgpackWriter& writer, const Entry& entry) {
  writer.pack_array(kEntryFields);
  writer.pack(static_cast<std::uint64_t>(entry.kind));
  write_str(writer, entry.path);
  if (entry.kind == Entry::Kind::kSymlink)
    write_str(writer, entry.target);
  else
    writer.pack(entry.size_bytes);
}

void write_manifest(MsgpackBuffer& buffer, const Manifest& manifest) {
  MsgpackWriter writer(buffer);
  writer.pack_map(kKeyCount);
  write_str(writer, kKeys[kVersion]);
  writer.pack(std::uint64_t{kManifestVersion});
  write_str(writer, kKeys[kName]);
  write_str(writer, manifest.name);
  write_str(writer, kKeys[kRoot]);
  writer.pack(static_cast<std::uint64_t>(manifest.root));
  write_str(writer, kKeys[kChunk]);
  writer.pack(std::uint64_t{manifest.chunk_bytes});
  write_str(writer, kKeys[kEntries]);
  writer.pack_array(static_cast<std::uint32_t>(manifest.entries.size()));
  for (const Entry& entry : manifest.entries) write_entry(writer, entry);
  write_str(writer, kKeys[kHashes]);
  writer.pack_bin(static_cast<std::uint32_t>(manifest.chunk_hashes.size() * Digest::kSize));
  for (const Digest& digest : manifest.chunk_hashes)
    writer.pack_bin_body(reinterpret_cast<const char*>(digest.bytes.data()), Digest::kSize);
}

// Each element becomes an object some twenty times its size: 64 MiB of nulls would take more than
// a gigabyte. So elements are counted before anything is built.
class ElementCounter : public msgpack::null_visitor {
 public:
  bool start_array(std::uint32_t count) { return add(count); }
  bool start_map(std::uint32_t count) { return add(std::uint64_t{count} * 2); }
  bool too_many() const { return elements_ > kMaxElements; }

 private:
  static constexpr std::uint64_t kMaxElements =
      2 * kKeyCount + kMaxEntries * std::uint64_t{1 + kEntryFields};
  bool add(std::uint64_t count) {
    elements_ += count;
    return !too_many();
  }
  std::uint64_t elements_ = 0;
};

Status check_element_count(ByteView bytes) {
  ElementCounter counter;
  try {
    std::size_t walked = 0;
    msgpack::parse(reinterpret_cast<const char*>(bytes.data()), bytes.size(), walked, counter);
  } catch (const std::exception& failure) {
    return malformed(absl::StrCat("manifest: ", failure.what()));
  }
  if (counter.too_many()) return Error{ErrorCode::kLimit, "manifest: too many elements"};
  return {};
}

Result<Entry> read_entry(const MsgpackValue& value) {
  P2P_ASSIGN(const auto fields, as_tuple(value, kEntryFields, "entry"));
  Entry entry;
  P2P_ASSIGN(const std::uint64_t kind,
             as_uint(fields[0], static_cast<std::uint64_t>(Entry::Kind::kSymlink), "kind"));
  entry.kind = static_cast<Entry::Kind>(kind);
  P2P_ASSIGN(const std::string_view path, as_str(fields[1], kMaxPathBytes, "path"));
  entry.path = path;
  if (entry.kind == Entry::Kind::kSymlink) {
    P2P_ASSIGN(const std::string_view target, as_str(fields[2], kMaxSymlinkBytes, "target"));
    entry.target = target;
  } else {
    P2P_ASSIGN(entry.size_bytes, as_uint(fields[2], kMaxContentBytes, "size"));
  }
  return entry;
}

Result<std::vector<Entry>> read_entries(const MsgpackValue& value) {
  P2P_ASSIGN(const auto elements, as_array(value, kMaxEntries, kFields[kEntries]));
  std::vector<Entry> entries;
  entries.reserve(elements.size());
  for (const MsgpackValue& element : elements) {
    Result<Entry> entry = read_entry(element);
    if (!entry)
      return malformed(
          absl::StrCat("manifest entry ", entries.size() + 1, ": ", entry.error().message));
    entries.push_back(*std::move(entry));
  }
  return entries;
}

Result<std::vector<Digest>> read_hashes(const MsgpackValue& value) {
  P2P_ASSIGN(ByteView rest,
             as_bin(value, std::size_t{kMaxChunks} * Digest::kSize, kFields[kHashes]));
  if (rest.size() % Digest::kSize != 0)
    return malformed(absl::StrCat(std::string(kFields[kHashes]), ": ", rest.size(),
                                  " bytes are no whole number of hashes"));
  std::vector<Digest> hashes;
  hashes.reserve(rest.size() / Digest::kSize);
  for (; !rest.empty(); rest = rest.subspan(Digest::kSize))
    hashes.push_back(*Digest::from_bytes(rest.first(Digest::kSize)));
  return hashes;
}

// The values of the map, whose keys must be exactly ours in our order: which leaves no room for
// missing, unknown or doubled ones.
Result<std::array<const MsgpackValue*, kKeyCount>> read_values(const MsgpackValue& value) {
  if (value.type != msgpack::type::MAP) return malformed("manifest: not a map");
  const auto& map = value.via.map;
  std::array<const MsgpackValue*, kKeyCount> values{};
  for (std::size_t i = 0; i < kKeyCount; ++i) {
    const std::string expected(kKeys[i]);
    if (i >= map.size)
      return malformed(absl::StrCat("manifest: the key '", expected, "' is missing"));
    const MsgpackValue& key = map.ptr[i].key;
    if (key.type != msgpack::type::STR ||
        std::string_view(key.via.str.ptr, key.via.str.size) != kKeys[i])
      return malformed(absl::StrCat("manifest: key ", i + 1, " is not '", expected, "'"));
    values[i] = &map.ptr[i].val;
  }
  if (map.size > kKeyCount) return malformed("manifest: there are unknown keys");
  return values;
}

Status check_version(const MsgpackValue& value) {
  P2P_ASSIGN(const std::uint64_t version, as_uint(value, UINT64_MAX, kFields[kVersion]));
  if (version == kManifestVersion) return {};
  return malformed(absl::StrCat("manifest: it has version ", version,
                                " and this p2p reads version ", kManifestVersion,
                                "; is there a newer p2p?"));
}

Result<Manifest> read_manifest(const MsgpackValue& value) {
  P2P_ASSIGN(const auto values, read_values(value));
  P2P_TRY(check_version(*values[kVersion]));
  Manifest manifest;
  P2P_ASSIGN(const std::string_view name,
             as_str(*values[kName], kMaxComponentBytes, kFields[kName]));
  manifest.name = name;
  P2P_ASSIGN(
      const std::uint64_t root,
      as_uint(*values[kRoot], static_cast<std::uint64_t>(Manifest::Root::kFolder), kFields[kRoot]));
  manifest.root = static_cast<Manifest::Root>(root);
  P2P_ASSIGN(const std::uint64_t chunk_bytes,
             as_uint(*values[kChunk], kMaxChunkBytes, kFields[kChunk]));
  manifest.chunk_bytes = static_cast<std::uint32_t>(chunk_bytes);
  P2P_ASSIGN(manifest.entries, read_entries(*values[kEntries]));
  P2P_ASSIGN(manifest.chunk_hashes, read_hashes(*values[kHashes]));
  return manifest;
}

}  // namespace

std::uint64_t encoded_manifest_bytes(const Manifest& manifest) {
  std::uint64_t bytes = 1;  // the head of the map
  for (const std::string_view key : kKeys) bytes += str_bytes(key.size());
  bytes += uint_bytes(kManifestVersion) + str_bytes(manifest.name.size()) +
           uint_bytes(static_cast<std::uint64_t>(manifest.root)) +
           uint_bytes(manifest.chunk_bytes) + array_head_bytes(manifest.entries.size()) +
           bin_bytes(manifest.chunk_hashes.size() * Digest::kSize);
  for (const Entry& entry : manifest.entries)
    bytes += array_head_bytes(kEntryFields) + uint_bytes(static_cast<std::uint64_t>(entry.kind)) +
             str_bytes(entry.path.size()) +
             (entry.kind == Entry::Kind::kSymlink ? str_bytes(entry.target.size())
                                                  : uint_bytes(entry.size_bytes));
  return bytes;
}

Bytes encode_manifest(const Manifest& manifest) {
  P2P_CHECK(validate_manifest(manifest).has_value());
  MsgpackBuffer buffer(encoded_manifest_bytes(manifest));
  write_manifest(buffer, manifest);
  return to_bytes(buffer);
}

Result<Manifest> decode_manifest(ByteView bytes) {
  // Larger ones are refused by read_msgpack before it looks at them.
  if (bytes.size() <= kMaxManifestBytes) P2P_TRY(check_element_count(bytes));
  P2P_ASSIGN(const msgpack::object_handle handle,
             read_msgpack(bytes, kMaxManifestBytes, "manifest"));
  P2P_ASSIGN(Manifest manifest, read_manifest(handle.get()));
  P2P_TRY(validate_manifest(manifest));
  MsgpackBuffer buffer(encoded_manifest_bytes(manifest));
  write_manifest(buffer, manifest);
  const ByteView canonical = bytes_of(std::string_view(buffer.data(), buffer.size()));
  if (!std::equal(bytes.begin(), bytes.end(), canonical.begin(), canonical.end()))
    return malformed("manifest: not in its canonical encoding");
  return manifest;
}

}  // namespace p2p
