#include "content/partial_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/limits.h"
#include "content/path_rules.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJournal = "journal";
constexpr const char* kLock = "lock";
constexpr const char* kOwner = "content";
constexpr const char* kReplacing = "replacing";
constexpr const char* kProbe = "probe";
constexpr std::size_t kMaxJournalBytes = kMaxChunks / 8 + 1024;
constexpr std::size_t kMaxNoteBytes = 1024;

// How often the folder may be removed by another process just as we open it.
constexpr int kAttempts = 100;

// ".NAME.p2p-partial", shortened where NAME is too long for it.
std::string partial_name(const std::string& target) {
  constexpr std::string_view kSuffix = ".p2p-partial";
  if (1 + target.size() + kSuffix.size() <= kMaxComponentBytes)
    return absl::StrCat(".", target, std::string(kSuffix));
  return absl::StrCat(".", chunk_digest(bytes_of(target)).hex(), std::string(kSuffix));
}

// Nothing: not there, or no file, or too large to be ours. An error: it may be ours, and cannot be
// read now.
Result<std::optional<Bytes>> read_small_file(const Fd& folder, const char* name,
                                             std::size_t max_bytes, const fs::path& shown) {
  const Opened file = try_open_beneath(folder.get(), name, O_RDONLY, 0);
  if (is_missing_or_other(file.error_number)) return std::optional<Bytes>();
  if (!file.fd) return open_error(shown / name, file.error_number);
  if (static_cast<std::uint64_t>(file.status.st_size) > max_bytes) return std::optional<Bytes>();
  Bytes bytes(static_cast<std::size_t>(file.status.st_size));
  P2P_TRY(read_all(file.fd.get(), bytes.data(), bytes.size(), 0, shown / name));
  return std::optional<Bytes>(std::move(bytes));
}

// Temporary file, sync, rename, sync of the folder: whole or not at all.
Status replace_small_file(const Fd& folder, const std::string& name, ByteView bytes,
                          const fs::path& shown) {
  const std::string temporary = name + ".new";
  P2P_TRY(remove_tree_at(folder.get(), temporary, shown));
  {
    P2P_ASSIGN(const Fd file,
               open_beneath(folder.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, 0600, shown));
    P2P_TRY(write_all(file.get(), bytes.data(), bytes.size(), 0, shown / temporary));
    P2P_TRY(sync_fd(file.get(), shown / temporary));
  }
  if (renameat(folder.get(), temporary.c_str(), folder.get(), name.c_str()) != 0)
    return system_error("replace", shown / name, errno);
  return sync_fd(folder.get(), shown);
}

bool names(int folder, const char* name, const Fd& fd) {
  struct stat named {
  }, opened{};
  return fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd.get(), &opened) == 0 &&
         named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

}  // namespace

Result<PartialFolder> PartialFolder::open(const Fd& parent, const std::string& target_name,
                                          const fs::path& target) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    PartialFolder partial;
    partial.parent_ = parent.get();
    partial.name_ = partial_name(target_name);
    partial.path_ = target.parent_path() / partial.name_;
    // Ours alone, so that nobody can change what is checked before it is in place.
    partial.is_new_ = mkdirat(parent.get(), partial.name_.c_str(), 0700) == 0;
    if (!partial.is_new_ && errno != EEXIST)
      return system_error("make the folder", partial.path_, errno);
    Opened opened = try_open_beneath(parent.get(), partial.name_, O_RDONLY | O_DIRECTORY, 0);
    if (opened.error_number == ENOENT) continue;
    if (!opened.fd) return open_error(partial.path_, opened.error_number);
    partial.folder_ = std::move(opened.fd);
    if (!partial.is_new_) P2P_TRY(partial.refuse_foreign());
    // Without a lock: the folder is being removed.
    P2P_TRY(partial.lock(target));
    if (!partial.lock_ || !partial.is_named_still()) continue;
    if (partial.is_new_) P2P_TRY(sync_fd(parent.get(), target.parent_path()));
    return partial;
  }
  return Error{
      ErrorCode::kExists,
      absl::StrCat(target.string(), " is being fetched by other processes, over and over")};
}

Status PartialFolder::lock(const fs::path& target) {
  Opened opened = try_open_beneath(folder_.get(), kLock, O_RDWR | O_CREAT, 0600);
  if (opened.error_number == ENOENT) return {};
  if (!opened.fd) return open_error(path_ / kLock, opened.error_number);
  if (flock(opened.fd.get(), LOCK_EX | LOCK_NB) != 0)
    return errno == EWOULDBLOCK
               ? Error{ErrorCode::kExists, target.string() + " is being fetched by another process"}
               : system_error("lock", path_ / kLock, errno);
  lock_ = std::move(opened.fd);
  return {};
}

// In a folder that all may write to (/tmp), somebody else can have made the partial folder, and
// would then be free to change the data between our check and the end.
Status PartialFolder::refuse_foreign() const {
  struct stat status {};
  if (fstat(folder_.get(), &status) != 0) return system_error("look at", path_, errno);
  if (status.st_uid == geteuid()) return {};
  // Some network file systems give root's files to another user: ours are then that user's too.
  struct stat probe {};
  const Fd file(openat(folder_.get(), kProbe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const bool same = file && fstat(file.get(), &probe) == 0 && probe.st_uid == status.st_uid;
  if (file) unlinkat(folder_.get(), kProbe, 0);
  if (same) return {};
  return Error{ErrorCode::kIo,
               absl::StrCat(path_.string(),
                            " belongs to another user, who could change what is fetched into it; "
                            "remove it or choose another place")};
}

// Between our open and our lock its holder may have finished and removed the folder, or the lock.
bool PartialFolder::is_named_still() const {
  return names(parent_, name_.c_str(), folder_) && names(folder_.get(), kLock, lock_);
}

Result<bool> PartialFolder::is_of(const ContentId& content) const {
  P2P_ASSIGN(const auto owner, read_small_file(folder_, kOwner, kMaxNoteBytes, path_));
  return owner && text_of(*owner) == content.hex();
}

// The data of a crashed commit is the old target, or a second name of the new one.
Result<bool> PartialFolder::is_used_up() const {
  P2P_ASSIGN(const auto note, read_small_file(folder_, kReplacing, kMaxNoteBytes, path_));
  struct stat data {};
  if (fstatat(folder_.get(), kData, &data, AT_SYMLINK_NOFOLLOW) != 0) return false;
  if (S_ISREG(data.st_mode) && data.st_nlink > 1) return true;
  return note && text_of(*note) != std::to_string(data.st_ino);
}

Status PartialFolder::claim(const ContentId& content) {
  P2P_ASSIGN(const bool ours, is_of(content));
  P2P_ASSIGN(const bool used_up, is_used_up());
  // The journal first, so that it never speaks of what is gone; the owner last.
  if (!ours || used_up)
    for (const char* name : {kJournal, kData}) P2P_TRY(remove_tree_at(folder_.get(), name, path_));
  P2P_TRY(remove_tree_at(folder_.get(), kReplacing, path_));
  if (ours) return {};
  P2P_TRY(remove_tree_at(folder_.get(), kOwner, path_));
  return replace_small_file(folder_, kOwner, bytes_of(content.hex()), path_);
}

Bytes PartialFolder::read_journal() const {
  auto bytes = read_small_file(folder_, kJournal, kMaxJournalBytes, path_);
  return bytes && *bytes ? std::move(**bytes) : Bytes();
}

Status PartialFolder::write_journal(ByteView bytes) const {
  return replace_small_file(folder_, kJournal, bytes, path_);
}

Status PartialFolder::note_replacing() const {
  struct stat data {};
  if (fstatat(folder_.get(), kData, &data, AT_SYMLINK_NOFOLLOW) != 0)
    return system_error("look at", data_path(), errno);
  return replace_small_file(folder_, kReplacing, bytes_of(std::to_string(data.st_ino)), path_);
}

Result<bool> PartialFolder::tells_names_apart() const {
  // Names that differ in case, and in Unicode normalisation (an e with an accent, in one and in two
  // characters).
  constexpr const char* kTwins[][2] = {{"probe", "PROBE"}, {"probe-\u00e9", "probe-e\u0301"}};
  bool apart = true;
  for (const auto& [name, twin] : kTwins) {
    const Fd file(openat(folder_.get(), name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return system_error("make a file in", path_, errno);
    struct stat status {};
    apart = apart && fstatat(folder_.get(), twin, &status, AT_SYMLINK_NOFOLLOW) != 0;
    unlinkat(folder_.get(), name, 0);
  }
  return apart;
}

Status PartialFolder::remove() {
  // The names that may be there, and nothing else: whoever waits for the lock makes it anew once it
  // is gone, and the folder is then theirs.
  // The data before the note on which it is: it may be an old target, half removed by a crash.
  for (const std::string name : {kData, kOld, kJournal, kReplacing, kProbe, kOwner})
    for (const char* suffix : {"", ".new"})
      P2P_TRY(remove_tree_at(folder_.get(), name + suffix, path_));
  P2P_TRY(remove_tree_at(folder_.get(), kLock, path_));
  if (unlinkat(parent_, name_.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT &&
      errno != ENOTEMPTY && errno != EEXIST)
    return system_error("remove", path_, errno);
  return {};
}

}  // namespace p2p
