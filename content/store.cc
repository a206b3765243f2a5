#include "content/store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <shared_mutex>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/units.h"
#include "content/file_set.h"
#include "content/journal.h"
#include "content/path_rules.h"
#include "content/rooted.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

constexpr const char* kData = "data";
constexpr const char* kJournal = "journal";
constexpr const char* kLock = "lock";
constexpr const char* kOwner =
    "content";  // the hex id of the content that the partial folder is for

// ".NAME.p2p-partial", shortened where NAME is too long for it.
std::string partial_name(const std::string& target) {
  constexpr std::string_view kSuffix = ".p2p-partial";
  if (1 + target.size() + kSuffix.size() <= kMaxComponentBytes)
    return absl::StrCat(".", target, std::string(kSuffix));
  return absl::StrCat(".", chunk_digest(bytes_of(target)).hex(), std::string(kSuffix));
}

Error taken(const fs::path& target, const char* how) {
  return Error{ErrorCode::kExists, absl::StrCat(target.string(), how)};
}

// May the target be put where it is to go?
Status check_target(int parent, const std::string& name, const fs::path& target, bool overwrite) {
  struct stat status {};
  if (fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Status() : Status(system_error("look at", target, errno));
  if (!overwrite)
    return taken(target, " is there already; name another with -o, or give --overwrite");
  if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISLNK(status.st_mode)) return {};
  return taken(target, " is a FIFO, socket or device, and is not replaced");
}

// Does the file system keep names apart that differ only in case? Tried with two names in the
// partial folder.
bool tries_names_apart(const fs::path& folder) {
  const Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd lower(
      openat(dir.get(), "name-test", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool apart = faccessat(dir.get(), "NAME-TEST", F_OK, AT_SYMLINK_NOFOLLOW) != 0;
  unlinkat(dir.get(), "name-test", 0);
  return apart;
}

Result<Bytes> read_small_file(int folder, const char* name, std::size_t max_bytes,
                              const fs::path& shown) {
  P2P_ASSIGN(const Fd file, open_beneath(folder, name, O_RDONLY, 0, shown));
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return system_error("look at", shown / name, errno);
  if (static_cast<std::uint64_t>(status.st_size) > max_bytes)
    return Error{ErrorCode::kLimit, absl::StrCat((shown / name).string(), " is too large")};
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  P2P_TRY(read_all(file.get(), bytes.data(), bytes.size(), 0, shown / name));
  return bytes;
}

// Temporary file, sync, rename, sync of the folder: whole or not at all.
Status replace_small_file(int folder, const std::string& name, ByteView bytes,
                          const fs::path& shown) {
  const std::string temporary = name + ".new";
  if (unlinkat(folder, temporary.c_str(), 0) != 0 && errno != ENOENT)
    return system_error("replace", shown / temporary, errno);
  {
    P2P_ASSIGN(const Fd file,
               open_beneath(folder, temporary, O_WRONLY | O_CREAT | O_EXCL, 0600, shown));
    P2P_TRY(write_all(file.get(), bytes.data(), bytes.size(), 0, shown / temporary));
    P2P_TRY(sync_fd(file.get(), shown / temporary));
  }
  if (renameat(folder, temporary.c_str(), folder, name.c_str()) != 0)
    return system_error("replace", shown / name, errno);
  return sync_fd(folder, shown);
}

int rename_with(int from, const char* old_name, int to, const char* new_name, unsigned flags) {
  return static_cast<int>(syscall(SYS_renameat2, from, old_name, to, new_name, flags));
}

}  // namespace

struct Store::Impl {
  std::shared_ptr<const Manifest> manifest;
  ContentId content;
  StoreOptions options;
  fs::path target;   // as it was given
  fs::path partial;  // for errors
  std::string target_name, partial_name;
  Fd parent, folder, lock;  // of the target, of the partial data, and held while we write
  Bitfield resumed;

  // Where chunks are read and written: the partial data, and the target once it is in place.
  std::shared_mutex files_mutex;
  std::unique_ptr<FileSet> files;  // guarded by files_mutex
  bool committed = false;          // guarded by files_mutex

  bool is_folder() const { return manifest->root == Manifest::Root::kFolder; }
  fs::path data_path() const { return partial / kData; }

  Status open_partial();
  Status take_over();
  Status check_names();
  Status check_space(const Bitfield& present) const;
  Status find_resumed();
  Status sync_data() const;
  Status finish_entries();
  Status finish_entry(int root, const Entry& entry);
  Status move_into_place();
};

Status Store::Impl::open_partial() {
  if (mkdirat(parent.get(), partial_name.c_str(), 0700) != 0 && errno != EEXIST)
    return system_error("make", partial, errno);
  P2P_ASSIGN(folder, open_beneath(parent.get(), partial_name, O_RDONLY | O_DIRECTORY, 0,
                                  target.parent_path()));
  P2P_ASSIGN(lock, open_beneath(folder.get(), kLock, O_RDWR | O_CREAT, 0600, partial));
  // The kernel lets go of the lock when its holder dies: there are no stale ones.
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return errno == EWOULDBLOCK ? taken(target, " is being fetched by another process")
                                : system_error("lock", partial, errno);
  // Between our open and our lock the folder may have been finished and removed by its holder.
  struct stat ours {
  }, named{};
  if (fstat(folder.get(), &ours) != 0 ||
      fstatat(parent.get(), partial_name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
      ours.st_ino != named.st_ino)
    return taken(target, " has just been fetched by another process");
  return {};
}

// A partial folder of another content is of no use: it is emptied. The name of its content comes
// first and is removed last.
Status Store::Impl::take_over() {
  const auto owner = read_small_file(folder.get(), kOwner, 1024, partial);
  const std::string id = content.hex();
  if (owner && text_of(*owner) == id) return {};
  for (const char* name : {kData, kJournal, kOwner})
    P2P_TRY(remove_tree_at(folder.get(), name, partial));
  return replace_small_file(folder.get(), kOwner, bytes_of(id), partial);
}

Status Store::Impl::check_names() {
  const auto [first, second] = first_colliding_paths(*manifest);
  if (first.empty() && second.empty()) return {};
  const auto& test = options.tells_names_apart;
  if (test ? test(partial) : tries_names_apart(partial)) return {};
  return Error{ErrorCode::kMalformed,
               absl::StrCat("the file system of ", target.string(), " cannot hold both '", first,
                            "' and '", second, "'; fetch to one that tells them apart")};
}

Status Store::Impl::check_space(const Bitfield& present) const {
  const Layout layout = manifest->layout();
  std::uint64_t missing = 0;
  for (ChunkIndex i = present.next_clear(0); i < present.size(); i = present.next_clear(i + 1))
    missing += layout.length_of(i);
  struct statvfs space {};
  if (fstatvfs(folder.get(), &space) != 0) return {};  // then the writes will tell
  const std::uint64_t free = std::uint64_t{space.f_bavail} * space.f_frsize;
  if (missing <= free) return {};
  return Error{ErrorCode::kDiskFull,
               absl::StrCat("no room for ", target.string(), ": ", format_bytes(missing),
                            " are missing and ", format_bytes(free),
                            " are free; free some space and run the same command again")};
}

Status Store::Impl::find_resumed() {
  const ChunkIndex count = manifest->layout().chunk_count();
  P2P_ASSIGN(const Bitfield present, files->chunks_with_data());
  P2P_TRY(check_space(present));
  Bitfield trusted(count);
  if (auto bytes = read_small_file(folder.get(), kJournal, kMaxChunks / 8 + 1024, partial))
    if (auto journal = decode_journal(*bytes, content, count)) trusted = std::move(*journal);
  // What is not in the journal may still have been written before a crash: it is hashed.
  Bitfield unsure(count);
  resumed = Bitfield(count);
  for (ChunkIndex i = present.next_set(0); i < count; i = present.next_set(i + 1))
    trusted.test(i) ? resumed.set(i) : unsure.set(i);
  // A journalled chunk without data could be one of zeros that the file system stores as a hole.
  for (ChunkIndex i = trusted.next_set(0); i < count; i = trusted.next_set(i + 1))
    if (!present.test(i)) unsure.set(i);
  P2P_ASSIGN(const Bitfield good, check_chunks(*manifest, *files, unsure, options.resume_job));
  for (ChunkIndex i = good.next_set(0); i < count; i = good.next_set(i + 1)) resumed.set(i);
  return {};
}

Status Store::Impl::sync_data() const {
  if (is_folder()) {
    // One call for the file system, however many thousand files have been written.
    if (syncfs(folder.get()) != 0) return system_error("sync", partial, errno);
    return {};
  }
  auto data = open_beneath(folder.get(), kData, O_RDONLY, 0, partial);
  if (!data) return {};  // nothing has been written yet
  if (fdatasync(data->get()) != 0) return system_error("sync", data_path(), errno);
  return {};
}

Status Store::Impl::finish_entry(int root, const Entry& entry) {
  const fs::path shown = data_path();
  switch (entry.kind) {
    case Entry::Kind::kEmptyFolder:
      return make_folders_beneath(root, entry.path, true, shown);
    case Entry::Kind::kSymlink: {
      P2P_TRY(make_folders_beneath(root, entry.path, false, shown));
      const std::size_t slash = entry.path.rfind('/');
      const std::string name =
          slash == std::string::npos ? entry.path : entry.path.substr(slash + 1);
      Fd folder_fd(dup(root));
      if (slash != std::string::npos) {
        P2P_ASSIGN(folder_fd, open_beneath(root, entry.path.substr(0, slash),
                                           O_RDONLY | O_DIRECTORY, 0, shown));
      }
      // One that a crashed commit made may be there; anything else is not ours to have.
      P2P_TRY(remove_tree_at(folder_fd.get(), name, shown));
      if (symlinkat(entry.target.c_str(), folder_fd.get(), name.c_str()) != 0)
        return system_error("make the link", shown / entry.path, errno);
      return {};
    }
    case Entry::Kind::kFile:
    case Entry::Kind::kExecutable: {
      // Files with content have been made by their writes; the mode is set for all.
      if (entry.size_bytes == 0) P2P_TRY(make_folders_beneath(root, entry.path, false, shown));
      P2P_ASSIGN(const Fd file, open_beneath(root, entry.path, O_RDWR | O_CREAT, 0666, shown));
      struct stat status {};
      if (fstat(file.get(), &status) != 0)
        return system_error("look at", shown / entry.path, errno);
      // Longer than it should be where an older partial file was: cut.
      if (static_cast<std::uint64_t>(status.st_size) != entry.size_bytes &&
          ftruncate(file.get(), static_cast<off_t>(entry.size_bytes)) != 0)
        return system_error("cut", shown / entry.path, errno);
      // Who may read it may run it, as chmod +x does.
      const mode_t mode = status.st_mode & 0666;
      const mode_t wanted =
          entry.kind == Entry::Kind::kExecutable ? mode | (mode & 0444) >> 2 : mode;
      if ((status.st_mode & 07777) != wanted && fchmod(file.get(), wanted) != 0)
        return system_error("set the mode of", shown / entry.path, errno);
      return {};
    }
  }
  return {};
}

Status Store::Impl::finish_entries() {
  if (!is_folder()) {
    Entry single = manifest->entries.front();
    single.path = kData;
    P2P_TRY(finish_entry(folder.get(), single));
    return sync_data();
  }
  if (mkdirat(folder.get(), kData, 0777) != 0 && errno != EEXIST)
    return system_error("make", data_path(), errno);
  P2P_ASSIGN(const Fd root, open_beneath(folder.get(), kData, O_RDONLY | O_DIRECTORY, 0, partial));
  // Links last: nothing is ever written where one could redirect it.
  for (const bool links : {false, true})
    for (const Entry& entry : manifest->entries)
      if ((entry.kind == Entry::Kind::kSymlink) == links) P2P_TRY(finish_entry(root.get(), entry));
  return sync_data();
}

Status Store::Impl::move_into_place() {
  P2P_TRY(check_target(parent.get(), target_name, target, options.overwrite));
  int moved = rename_with(folder.get(), kData, parent.get(), target_name.c_str(), RENAME_NOREPLACE);
  if (moved != 0 && errno == EEXIST && options.overwrite)
    moved = rename_with(folder.get(), kData, parent.get(), target_name.c_str(), RENAME_EXCHANGE);
  if (moved != 0 && (errno == EINVAL || errno == ENOSYS)) {
    // A file system without these flags: the check just made must do.
    if (options.overwrite) P2P_TRY(remove_tree_at(parent.get(), target_name, target.parent_path()));
    moved = renameat(folder.get(), kData, parent.get(), target_name.c_str());
  }
  if (moved != 0)
    return errno == EEXIST
               ? taken(target, " has appeared meanwhile; name another with -o, or give --overwrite")
               : system_error("put into place", target, errno);
  return sync_fd(parent.get(), target.parent_path());
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(std::shared_ptr<const Manifest> manifest,
                                           const ContentId& content, const fs::path& target,
                                           const StoreOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->manifest = manifest;
  impl->content = content;
  impl->options = options;
  impl->target = target;
  const fs::path absolute = fs::absolute(target).lexically_normal();
  impl->target_name = absolute.filename();
  if (impl->target_name.empty() || impl->target_name == "." || impl->target_name == "..")
    return Error{ErrorCode::kUsage,
                 absl::StrCat("'", target.string(), "' is no name for a file or folder")};
  impl->partial_name = partial_name(impl->target_name);
  impl->partial = target.parent_path() / impl->partial_name;
  impl->parent = Fd(::open(absolute.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!impl->parent) return system_error("open the folder", absolute.parent_path(), errno);
  P2P_TRY(check_target(impl->parent.get(), impl->target_name, target, options.overwrite));
  P2P_TRY(impl->open_partial());
  P2P_TRY(impl->take_over());
  P2P_TRY(impl->check_names());
  if (impl->is_folder() && mkdirat(impl->folder.get(), kData, 0777) != 0 && errno != EEXIST)
    return system_error("make", impl->data_path(), errno);
  P2P_ASSIGN(impl->files,
             FileSet::open(manifest, absolute.parent_path() / impl->partial_name / kData,
                           FileSet::Mode::kWrite));
  P2P_TRY(impl->find_resumed());
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

const Bitfield& Store::resumed() const { return impl_->resumed; }
const fs::path& Store::target() const { return impl_->target; }

Status Store::write_chunk(ChunkIndex chunk, ByteView verified_bytes) {
  std::shared_lock lock(impl_->files_mutex);
  // A duplicate that comes in after the end: the same bytes are in place already.
  if (impl_->committed) return {};
  return impl_->files->write(chunk, verified_bytes);
}

Status Store::read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const {
  std::shared_lock lock(impl_->files_mutex);
  return impl_->files->read(chunk, offset, out);
}

Status Store::checkpoint(const Bitfield& verified) {
  P2P_TRY(impl_->sync_data());
  return replace_small_file(impl_->folder.get(), kJournal, encode_journal(impl_->content, verified),
                            impl_->partial);
}

Status Store::commit() {
  P2P_TRY(impl_->finish_entries());
  {
    // Descriptors that are open stay good; new ones are opened at the target from now on.
    std::unique_lock lock(impl_->files_mutex);
    P2P_TRY(impl_->move_into_place());
    impl_->committed = true;
    const fs::path placed = fs::absolute(impl_->target).lexically_normal();
    P2P_ASSIGN(impl_->files, FileSet::open(impl_->manifest, placed, FileSet::Mode::kRead));
  }
  // With --overwrite the exchange has put the old target here.
  return remove_tree_at(impl_->parent.get(), impl_->partial_name, impl_->target.parent_path());
}

}  // namespace p2p
