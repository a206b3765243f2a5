#include "agent/catalog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/limits.h"
#include "content/private_file.h"
#include "crypto/digest.h"
#include "net/log.h"

namespace p2p::agent {
namespace {

namespace fs = std::filesystem;

constexpr const char* kContents = "contents";
constexpr const char* kRemoved = "removed";
constexpr const char* kHolding = "holding";
constexpr const char* kManifest = "manifest";
constexpr const char* kFiles = "files";
constexpr const char* kData = "data";
constexpr const char* kDamaged = "damaged";
// Of an holding, and of a record of files: a million of them, and all the chunks' hashes.
constexpr std::uint64_t kMaxHoldingBytes = 64 * 1024;
constexpr std::uint64_t kMaxRecordBytes = 256 * 1024 * 1024;

std::optional<ContentId> id_of(const std::string& name) {
  if (name.size() != 2 * ContentId::kSize) return std::nullopt;
  const std::string bytes = absl::HexStringToBytes(name);
  auto id = ContentId::from_bytes(bytes_of(bytes));
  // Only the spelling that we write ourselves.
  return id && id->hex() == name ? id : std::nullopt;
}

// A record of files is of a content: its key.
Digest key_of(const ContentId& content) { return *Digest::from_bytes(content.view()); }

// Copies of a content may share its files with the store (hard links): nobody is to change them by
// mistake. All may read them, so that a link is of use to others than its maker.
Status make_read_only(const Manifest& manifest, const fs::path& parent, const std::string& name) {
  const bool folder = manifest.root == Manifest::Root::kFolder;
  const fs::path shown = folder ? parent / name : parent;
  const Fd root(::open(shown.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!root) return system_error("open the folder", shown, errno);
  for (const p2p::Entry& entry : manifest.entries) {
    if (!entry.is_file()) continue;
    const std::string& path = folder ? entry.path : name;
    P2P_ASSIGN(const Fd file, open_beneath(root.get(), path, O_RDONLY, 0, shown));
    const mode_t mode = entry.kind == p2p::Entry::Kind::kExecutable ? 0555 : 0444;
    if (fchmod(file.get(), mode) != 0) return system_error("set the mode of", shown / path, errno);
  }
  return {};
}

std::string_view text_of(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Result<Catalog> Catalog::open(const fs::path& folder) {
  Catalog catalog;
  catalog.folder_ = folder;
  P2P_TRY(make_folder(folder, 0750));
  auto lock = lock_file(folder / "lock");
  if (!lock && lock.error().code == ErrorCode::kExists)
    return Error{ErrorCode::kExists, "another agent runs with the store " + folder.string()};
  P2P_ASSIGN(catalog.lock_, std::move(lock));
  P2P_TRY(make_folder(folder / kContents, 0755));
  P2P_TRY(make_folder(folder / kRemoved, 0700));
  return catalog;
}

fs::path Catalog::folder_of(const ContentId& content) const {
  return folder_ / kContents / content.hex();
}

std::vector<Holding> Catalog::load() const {
  std::vector<Holding> holdings;
  std::error_code failure;
  for (const auto& found : fs::directory_iterator(folder_ / kContents, failure)) {
    const auto id = id_of(found.path().filename().string());
    if (!id) continue;
    const fs::path path = found.path() / kHolding;
    const auto text = read_whole_file(path, kMaxHoldingBytes);
    auto holding = text ? decode_holding(*text, *id) : Result<Holding>(text.error());
    if (holding)
      holdings.push_back(*std::move(holding));
    else
      net::log_warn(absl::StrCat("passing over ", found.path().string(), ": ",
                                 holding.error().message, "; remove it, or put it right"));
  }
  if (failure)
    net::log_warn(
        absl::StrCat("cannot read ", (folder_ / kContents).string(), ": ", failure.message()));
  std::sort(holdings.begin(), holdings.end(),
            [](const Holding& a, const Holding& b) { return a.content < b.content; });
  return holdings;
}

Status Catalog::save(const Holding& holding) const {
  const fs::path folder = folder_of(holding.content);
  P2P_TRY(make_folder(folder, 0755));
  return write_private_file(folder / kHolding, encode_holding(holding), Replace::kYes);
}

fs::path Catalog::manifest_path(const ContentId& content) const {
  return folder_of(content) / kManifest;
}

Status Catalog::save_manifest(const ContentId& content, ByteView encoded) const {
  const fs::path path = manifest_path(content);
  P2P_TRY(write_private_file(path, std::string(text_of(encoded)), Replace::kYes));
  // Who may read the store may take contents out of it, and needs it for that.
  if (chmod(path.c_str(), 0644) != 0) return system_error("set the mode of", path, errno);
  return {};
}

Result<Held> Catalog::load_manifest(const ContentId& content) const {
  const fs::path path = manifest_path(content);
  P2P_ASSIGN(const std::string text, read_whole_file(path, kMaxManifestBytes));
  Held held;
  held.encoded_manifest.assign(text.begin(), text.end());
  if (content_id_of(held.encoded_manifest) != content)
    return Error{ErrorCode::kMalformed, path.string() + " is damaged"};
  P2P_ASSIGN(Manifest manifest, decode_manifest(held.encoded_manifest));
  held.manifest = std::make_shared<const Manifest>(std::move(manifest));
  return held;
}

Status Catalog::seal(const Holding& holding, std::shared_ptr<const Manifest> manifest) const {
  if (holding.in_store()) P2P_TRY(make_read_only(*manifest, folder_of(holding.content), kData));
  P2P_ASSIGN(const auto files, FileSet::open(manifest, data_of(holding), FileSet::Mode::kRead));
  P2P_ASSIGN(std::vector<FileStamp> stamps, files->take_stamps());
  return save_record(holding.content,
                     {manifest->chunk_bytes, std::move(stamps), manifest->chunk_hashes});
}

Status Catalog::save_record(const ContentId& content, const HashRecord& record) const {
  const Bytes bytes = encode_hash_record(record, key_of(content));
  return write_private_file(folder_of(content) / kFiles, std::string(text_of(bytes)),
                            Replace::kYes);
}

Result<HashRecord> Catalog::load_record(const ContentId& content) const {
  P2P_ASSIGN(const std::string text, read_whole_file(folder_of(content) / kFiles, kMaxRecordBytes));
  return decode_hash_record(bytes_of(text), key_of(content));
}

Result<std::unique_ptr<FileSet>> Catalog::open_files(
    const Holding& holding, std::shared_ptr<const Manifest> manifest) const {
  P2P_ASSIGN(HashRecord record, load_record(holding.content));
  const auto files = std::count_if(manifest->entries.begin(), manifest->entries.end(),
                                   [](const auto& each) { return each.is_file(); });
  for (const FileStamp& stamp : record.stamps)
    if (stamp.inode == 0)
      return Error{ErrorCode::kCorrupt,
                   data_of(holding).string() + " was being changed when it was scanned last"};
  if (record.stamps.size() != static_cast<std::size_t>(files))
    return Error{ErrorCode::kMalformed, "the record of the files of content " +
                                            holding.content.hex() + " is not of these files"};
  P2P_ASSIGN(auto opened,
             FileSet::open(std::move(manifest), data_of(holding), FileSet::Mode::kRead));
  opened->expect_stamps(std::move(record.stamps));
  return opened;
}

Status Catalog::remove(const ContentId& content) const {
  return move_away(folder_of(content), content);
}

Status Catalog::set_aside_damaged(const ContentId& content) const {
  const fs::path data = folder_of(content) / kData;
  struct stat there {};
  if (lstat(data.c_str(), &there) != 0 && errno == ENOENT) return {};
  P2P_TRY(remove_damaged(content));
  if (rename(data.c_str(), damaged_of(content).c_str()) == 0) return {};
  return system_error("set aside", data, errno);
}

Status Catalog::remove_damaged(const ContentId& content) const {
  return move_away(damaged_of(content), content);
}

Status Catalog::move_away(const fs::path& path, const ContentId& content) const {
  // To a name that nothing else there has.
  for (int number = 0;; ++number) {
    const fs::path away = folder_ / kRemoved / absl::StrCat(content.hex(), "-", number);
    // A file would replace a file.
    struct stat taken {};
    if (lstat(away.c_str(), &taken) == 0) continue;
    if (rename(path.c_str(), away.c_str()) == 0 || errno == ENOENT) return {};
    return system_error("remove", path, errno);
  }
}

Status Catalog::empty_removed() const {
  const fs::path path = folder_ / kRemoved;
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder) return system_error("open the folder", path, errno);
  return empty_folder(folder, path);
}

fs::path Catalog::damaged_of(const ContentId& content) const {
  return folder_of(content) / kDamaged;
}

fs::path Catalog::data_of(const Holding& holding) const {
  return holding.in_store() ? folder_of(holding.content) / kData : fs::path(holding.source);
}

}  // namespace p2p::agent
