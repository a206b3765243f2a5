#include "content/store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/units.h"
#include "content/file_set.h"
#include "content/hash_chunks.h"
#include "content/journal.h"
#include "content/partial_folder.h"
#include "content/store_impl.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

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

Error appeared(const fs::path& target) {
  return taken(target, " has appeared meanwhile; name another with -o, or give --overwrite");
}

// A file system may keep chunks of zeros as holes, where no data is to be seen.
Bitfield zero_chunks(const Manifest& manifest) {
  const Layout layout = manifest.layout();
  Bitfield zeros(layout.chunk_count());
  if (layout.chunk_count() == 0) return zeros;
  const Bytes bytes(layout.length_of(0));
  const ChunkIndex last = layout.chunk_count() - 1;
  const Digest whole = chunk_digest(bytes);
  const Digest end = chunk_digest(ByteView(bytes).first(layout.length_of(last)));
  for (ChunkIndex i = 0; i <= last; ++i)
    if (manifest.chunk_hashes[i] == (i == last ? end : whole)) zeros.set(i);
  return zeros;
}

// Who may read it may run it, as chmod +x does.
mode_t finished_mode(const Entry& entry, mode_t found) {
  const mode_t mode = found & 0666;
  return entry.kind == Entry::Kind::kExecutable ? mode | (mode & 0444) >> 2 : mode;
}

int rename_with(int from, const char* old_name, int to, const char* new_name, unsigned flags) {
  return static_cast<int>(syscall(SYS_renameat2, from, old_name, to, new_name, flags));
}

}  // namespace

// Everything of open() that may leave a partial folder behind.
Status Store::Impl::prepare() {
  // Again: the one who held the lock before us may just have put it there.
  P2P_TRY(check_target(parent.get(), target_name, target, options.overwrite));
  P2P_TRY(partial.claim(content));
  P2P_TRY(check_names());
  P2P_ASSIGN(const bool found, open_data());
  resumed = Bitfield(manifest->layout().chunk_count());
  return found ? find_resumed() : check_space(resumed);
}

Status Store::Impl::check_names() const {
  const auto [first, second] = first_colliding_paths(*manifest);
  if (first.empty() && second.empty()) return {};
  const auto& test = options.tells_names_apart;
  P2P_ASSIGN(const bool apart,
             test ? Result<bool>(test(partial.path())) : partial.tells_names_apart());
  if (apart) return {};
  return Error{ErrorCode::kMalformed,
               absl::StrCat("the file system of ", target.string(), " cannot hold both '", first,
                            "' and '", second, "'; fetch to one that tells them apart")};
}

// Opens what there is of the data, and tells whether there is any.
Result<bool> Store::Impl::open_data() {
  const int folder = partial.fd().get();
  Fd root;
  bool found;
  if (is_folder()) {
    found = mkdirat(folder, PartialFolder::kData, 0777) != 0;
    if (found && errno != EEXIST) return system_error("make", partial.data_path(), errno);
    P2P_ASSIGN(data, open_beneath(folder, PartialFolder::kData, O_RDONLY | O_DIRECTORY, 0,
                                  partial.path()));
    P2P_ASSIGN(root, duplicate(data, partial.data_path()));
  } else {
    const Opened file = try_open_beneath(folder, PartialFolder::kData, O_RDONLY, 0);
    found = file.error_number != ENOENT;
    if (found && !file.fd) return open_error(partial.data_path(), file.error_number);
    P2P_ASSIGN(root, duplicate(partial.fd(), partial.path()));
  }
  files = FileSet::open_at(manifest, std::move(root), PartialFolder::kData, partial.data_path(),
                           FileSet::Mode::kWrite);
  return found;
}

Status Store::Impl::check_space(const Bitfield& present) const {
  if (!options.checks_space) return {};
  const Layout layout = manifest->layout();
  const std::uint64_t missing = layout.total_bytes - bytes_of_chunks(layout, present);
  struct statvfs space {};
  // Where the file system does not say, the writes will tell.
  if (fstatvfs(partial.fd().get(), &space) != 0 || space.f_blocks == 0) return {};
  const std::uint64_t free = std::uint64_t{space.f_bavail} * space.f_frsize;
  if (missing <= free) return {};
  return Error{ErrorCode::kDiskFull,
               absl::StrCat("no room for ", target.string(), ": ", format_bytes(missing),
                            " are missing and ", format_bytes(free),
                            " are free; free some space and run the same command again")};
}

Status Store::Impl::find_resumed() {
  const ChunkIndex count = manifest->layout().chunk_count();
  P2P_ASSIGN(const FileSet::OnDisk found, files->look_at_disk());
  P2P_TRY(check_space(found.any));
  Bitfield trusted(count);
  if (auto journal = decode_journal(partial.read_journal(), content, count))
    trusted = std::move(*journal);
  // What is not in the journal may still have been written before a crash: it is hashed. What is
  // not all there need not be, whatever the journal says: somebody has cut it off since.
  const Bitfield zeros = zero_chunks(*manifest);
  Bitfield unsure(count);
  for (ChunkIndex i = found.whole.next_set(0); i < count; i = found.whole.next_set(i + 1)) {
    if (trusted.test(i) && found.any.test(i))
      resumed.set(i);
    else if (trusted.test(i) || found.any.test(i) || zeros.test(i))
      unsure.set(i);
  }
  P2P_ASSIGN(const Bitfield good,
             check_readable_chunks(*manifest, *files, unsure, options.resume_job));
  for (ChunkIndex i = good.next_set(0); i < count; i = good.next_set(i + 1)) resumed.set(i);
  return {};
}

Status Store::Impl::sync_data() const {
  if (is_folder()) {
    // One call for the file system, however many thousand files have been written.
    if (syncfs(partial.fd().get()) != 0) return system_error("sync", partial.path(), errno);
    return {};
  }
  const Opened file = try_open_beneath(partial.fd().get(), PartialFolder::kData, O_RDONLY, 0);
  if (file.error_number == ENOENT) return {};  // nothing has been written yet
  if (!file.fd) return open_error(partial.data_path(), file.error_number);
  return sync_fd(file.fd.get(), partial.data_path());
}

// Most files have been made by their writes as they are to be, and need not be opened again.
Status Store::Impl::finish_file(int root, Looker& looker, const Entry& entry) const {
  struct stat status {};
  const bool finished = looker.look(entry.path, status) == 0 && S_ISREG(status.st_mode) &&
                        status.st_nlink == 1 &&
                        static_cast<std::uint64_t>(status.st_size) == entry.size_bytes &&
                        (status.st_mode & 07777) == finished_mode(entry, status.st_mode);
  return finished ? Status() : mend_file(root, entry);
}

Status Store::Impl::mend_file(int root, const Entry& entry) const {
  const fs::path shown = is_folder() ? partial.data_path() / entry.path : partial.data_path();
  // Files with content have been made by their writes; the others are made now.
  if (entry.size_bytes == 0 && is_folder())
    P2P_TRY(make_folders_beneath(root, entry.path, false, partial.data_path()));
  const int create = entry.size_bytes == 0 ? O_CREAT : 0;
  const Opened file = try_open_beneath(root, entry.path, O_RDWR | create, 0666);
  const auto bytes = static_cast<std::uint64_t>(file.status.st_size);
  if (file.error_number == ENOENT || (file.fd && bytes < entry.size_bytes))
    return Error{ErrorCode::kCorrupt,
                 absl::StrCat("somebody removed or cut ", shown.string(),
                              " while it was fetched; run the same command again")};
  if (!file.fd) return open_error(shown, file.error_number);
  if (bytes > entry.size_bytes &&
      ftruncate(file.fd.get(), static_cast<off_t>(entry.size_bytes)) != 0)
    return system_error("cut", shown, errno);
  const mode_t wanted = finished_mode(entry, file.status.st_mode);
  if ((file.status.st_mode & 07777) != wanted && fchmod(file.fd.get(), wanted) != 0)
    return system_error("set the mode of", shown, errno);
  return {};
}

Status Store::Impl::finish_link(int root, const Entry& entry) const {
  const fs::path shown = partial.data_path();
  P2P_TRY(make_folders_beneath(root, entry.path, false, shown));
  const std::size_t slash = entry.path.rfind('/');
  const std::string name = slash == std::string::npos ? entry.path : entry.path.substr(slash + 1);
  Fd above;
  if (slash != std::string::npos) {
    P2P_ASSIGN(above,
               open_beneath(root, entry.path.substr(0, slash), O_RDONLY | O_DIRECTORY, 0, shown));
  }
  const int folder = above ? above.get() : root;
  // One that a crashed commit made may be there; anything else is not ours to have.
  P2P_TRY(remove_tree_at(folder, name, (shown / entry.path).parent_path()));
  if (symlinkat(entry.target.c_str(), folder, name.c_str()) != 0)
    return system_error("make the link", shown / entry.path, errno);
  return {};
}

Status Store::Impl::finish_entries() {
  if (!is_folder()) {
    Entry single = manifest->entries.front();
    single.path = PartialFolder::kData;
    if (!linked) P2P_TRY(mend_file(partial.fd().get(), single));
    return sync_data();
  }
  const int root = data.get();
  Looker looker(root);
  for (const Entry& entry : manifest->entries) {
    if (entry.is_file() && !linked) P2P_TRY(finish_file(root, looker, entry));
    if (entry.kind == Entry::Kind::kEmptyFolder)
      P2P_TRY(make_folders_beneath(root, entry.path, true, partial.data_path()));
  }
  // Links last: nothing is ever written where one could redirect it.
  for (const Entry& entry : manifest->entries)
    if (entry.kind == Entry::Kind::kSymlink) P2P_TRY(finish_link(root, entry));
  return sync_data();
}

Status Store::Impl::move_into_place() {
  P2P_TRY(check_target(parent.get(), target_name, target, options.overwrite));
  const int from = partial.fd().get();
  const char* name = target_name.c_str();
  if (rename_with(from, PartialFolder::kData, parent.get(), name, RENAME_NOREPLACE) == 0) return {};
  if (errno == EEXIST) {
    if (!options.overwrite) return appeared(target);
    P2P_TRY(partial.note_replacing());
    if (rename_with(from, PartialFolder::kData, parent.get(), name, RENAME_EXCHANGE) == 0)
      return {};
  }
  // A file system without these flags.
  if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) return move_by_steps();
  return system_error("put into place", target, errno);
}

// As near to the renames above as can be had.
Status Store::Impl::move_by_steps() {
  const int from = partial.fd().get();
  const char* name = target_name.c_str();
  struct stat status {};
  const bool there = fstatat(parent.get(), name, &status, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && !is_folder()) {
    // A link replaces nothing, whoever comes between. Not all file systems have it.
    if (linkat(from, PartialFolder::kData, parent.get(), name, 0) == 0)
      return remove_tree_at(from, PartialFolder::kData, partial.path());
    if (errno == EEXIST) return appeared(target);
  }
  // A file takes a file's place in one step; else the old one goes aside first.
  const bool aside = there && (is_folder() || S_ISDIR(status.st_mode));
  if (aside) {
    P2P_TRY(remove_tree_at(from, PartialFolder::kOld, partial.path()));
    if (renameat(parent.get(), name, from, PartialFolder::kOld) != 0)
      return system_error("replace", target, errno);
  }
  if (renameat(from, PartialFolder::kData, parent.get(), name) == 0) return {};
  const int why = errno;
  if (aside && renameat(from, PartialFolder::kOld, parent.get(), name) != 0)
    return Error{ErrorCode::kIo,
                 absl::StrCat("cannot put ", target.string(), " into place; what was there is now ",
                              (partial.path() / PartialFolder::kOld).string())};
  if (why == EEXIST || why == ENOTEMPTY || why == ENOTDIR || why == EISDIR) return appeared(target);
  return system_error("put into place", target, why);
}

// Moves the data, and the reads with it.
Status Store::Impl::place() {
  // All that can fail comes before the move. Descriptors of a folder stay good over it.
  P2P_ASSIGN(auto stamps, files->take_stamps());
  P2P_ASSIGN(Fd root, duplicate(is_folder() ? data : parent, target));
  auto at_target =
      FileSet::open_at(manifest, std::move(root), target_name, target, FileSet::Mode::kRead);
  at_target->expect_stamps(std::move(stamps));
  const std::unique_lock lock(files_mutex);
  P2P_TRY(move_into_place());
  files = std::move(at_target);
  placed = true;
  return {};
}

Status Store::check_place(const fs::path& target, bool overwrite) {
  return check_target(AT_FDCWD, target.string(), target, overwrite);
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(std::shared_ptr<const Manifest> manifest,
                                           const ContentId& content, const fs::path& target,
                                           const StoreOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->manifest = std::move(manifest);
  impl->content = content;
  impl->options = options;
  impl->target = target;
  impl->target_name = target.filename().string();
  if (impl->target_name.empty() || impl->target_name == "." || impl->target_name == "..")
    return Error{ErrorCode::kUsage,
                 absl::StrCat("'", target.string(), "' is no name for a file or folder")};
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  impl->parent = Fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!impl->parent) return system_error("open the folder", parent, errno);
  P2P_TRY(check_target(impl->parent.get(), impl->target_name, target, options.overwrite));
  P2P_ASSIGN(impl->partial, PartialFolder::open(impl->parent, impl->target_name, target));
  if (Status ready = impl->prepare(); !ready) {
    // Nothing is left of a fetch that never began; what went wrong is said already.
    if (impl->partial.is_new()) [[maybe_unused]]
      const Status removed = impl->partial.remove();
    return std::move(ready).error();
  }
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

const Bitfield& Store::resumed() const { return impl_->resumed; }
const fs::path& Store::target() const { return impl_->target; }

Status Store::write_chunk(ChunkIndex chunk, ByteView verified_bytes) {
  const std::shared_lock lock(impl_->files_mutex);
  // A duplicate that comes in after the end: the same bytes are in place already.
  if (impl_->placed) return {};
  return impl_->files->write(chunk, verified_bytes);
}

Status Store::read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const {
  const std::shared_lock lock(impl_->files_mutex);
  return impl_->files->read(chunk, offset, out);
}

Status Store::checkpoint(const Bitfield& verified) {
  P2P_CHECK(verified.size() == impl_->manifest->layout().chunk_count());
  P2P_TRY(impl_->sync_data());
  return impl_->partial.write_journal(encode_journal(impl_->content, verified));
}

Status Store::commit() {
  if (!impl_->placed) {
    P2P_TRY(impl_->finish_entries());
    P2P_TRY(impl_->place());
  }
  P2P_TRY(sync_fd(impl_->parent.get(), impl_->target.parent_path()));
  // With --overwrite the old target is in there.
  if (Status removed = impl_->partial.remove(); !removed)
    return Error{removed.error().code,
                 absl::StrCat(impl_->target.string(), " is complete and in place, but ",
                              removed.error().message)};
  return {};
}

}  // namespace p2p
