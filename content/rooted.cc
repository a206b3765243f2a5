#include "content/rooted.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

// A folder deeper than this is moved up before it is removed: a tree may be deeper than descriptors
// are many.
constexpr unsigned kMaxHeldFolders = 32;

// One step down, never through a symlink, which is ELOOP.
Fd enter(int folder, const std::string& name) {
  Fd entered(openat(folder, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (entered || errno != ENOTDIR) return entered;
  // The kernel says the same of a symlink and of a file.
  struct stat status {};
  const bool link =
      fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
  errno = link ? ELOOP : ENOTDIR;
  return {};
}

// The walk for kernels without openat2: one component at a time, none of them a symlink.
int open_by_components(int folder, const std::string& path, int flags, mode_t mode) {
  Fd at;
  std::size_t start = 0;
  for (;;) {
    const std::size_t slash = path.find('/', start);
    const std::string component = path.substr(start, slash - start);
    const int from = at ? at.get() : folder;
    if (component.empty() || component == "." || component == "..") {
      errno = EXDEV;
      return -1;
    }
    if (slash == std::string::npos) {
      const int fd = openat(from, component.c_str(), flags | O_NOFOLLOW, mode);
      // With O_DIRECTORY the kernel calls a symlink no folder.
      if (fd < 0 && errno == ENOTDIR) enter(from, component);
      return fd;
    }
    Fd next = enter(from, component);
    if (!next) return -1;
    at = std::move(next);
    start = slash + 1;
  }
}

int open_resolved(int folder, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags);
  how.mode = (flags & O_CREAT) ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  // EAGAIN: a rename happened somewhere meanwhile and the kernel could not be sure.
  for (int attempt = 0; attempt < 64; ++attempt) {
    const long fd = syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno != EAGAIN && errno != EINTR) break;
  }
  switch (errno) {
    case EAGAIN:
    case ENOSYS:        // an old kernel
    case EPERM:         // a sandbox that does not know the call
    case ENAMETOOLONG:  // the walk takes paths that are too long for one call
      return open_by_components(folder, path, flags, mode);
    default:
      return -1;
  }
}

const char* advice(int error_number) {
  switch (error_number) {
    case ELOOP:
      return " (a symlink stands where a file or folder should be; it is not followed)";
    case EMFILE:
    case ENFILE:
      return " (raise the limit of open files: ulimit -n)";
    case EROFS:
      return " (choose a place that can be written)";
    case EFBIG:
      return " (choose a place whose file system takes files this large)";
    case ENOSPC:
    case EDQUOT:
      return "; free some space and run the same command again: what was fetched is kept";
    default:
      return "";
  }
}

using Listing = std::unique_ptr<DIR, int (*)(DIR*)>;

// Removes what is in trees: folders are emptied from below, each with its descriptor held.
struct Remover {
  int top;                  // the folder that folders too deep are moved to
  std::uint64_t moved = 0;  // into names of their own

  Status empty(Fd folder, unsigned depth, const fs::path& shown);
  Status remove(int folder, const std::string& name, unsigned depth, const fs::path& shown);
  Status move_up(int folder, const std::string& name, const fs::path& shown);
};

Status Remover::move_up(int folder, const std::string& name, const fs::path& shown) {
  for (;;) {
    const std::string unused = absl::StrCat(".removing-", moved++);
    if (renameat(folder, name.c_str(), top, unused.c_str()) == 0) return {};
    if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
      return system_error("remove", shown / name, errno);
  }
}

// Removes what is no folder, and opens a folder; no descriptor: it is gone.
Result<Fd> unlink_or_open(int folder, const std::string& name, const fs::path& shown) {
  if (unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) return Fd();
  const int why = errno;
  if (why != EISDIR && why != EPERM) return system_error("remove", shown / name, why);
  Fd tree(openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!tree)  // EPERM and no folder: a file that may not be removed
    return system_error("remove", shown / name, errno == ENOTDIR || errno == ELOOP ? why : errno);
  struct stat status {};
  // What is to go may have been write-protected by its maker. Where this fails the removals tell.
  if (fstat(tree.get(), &status) == 0 && (status.st_mode & S_IRWXU) != S_IRWXU &&
      fchmod(tree.get(), (status.st_mode & 07777) | S_IRWXU) != 0)
    errno = 0;
  return tree;
}

Status remove_folder(int folder, const std::string& name, const fs::path& shown) {
  if (unlinkat(folder, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return system_error("remove", shown / name, errno);
  return {};
}

Status Remover::remove(int folder, const std::string& name, unsigned depth, const fs::path& shown) {
  P2P_ASSIGN(Fd tree, unlink_or_open(folder, name, shown));
  if (!tree) return {};
  if (depth == kMaxHeldFolders) return move_up(folder, name, shown);
  P2P_TRY(empty(std::move(tree), depth, shown / name));
  return remove_folder(folder, name, shown);
}

Status Remover::empty(Fd folder, unsigned depth, const fs::path& shown) {
  const int fd = folder.get();
  const Listing listing(fdopendir(fd), closedir);
  if (!listing) return system_error("remove", shown, errno);
  folder.release();
  // Until a whole pass finds nothing: others have been moved here, and not every file system lists
  // well what changes meanwhile.
  for (bool found = true; found;) {
    found = false;
    rewinddir(listing.get());
    while (const dirent* entry = readdir(listing.get())) {
      const std::string child = entry->d_name;
      if (child == "." || child == "..") continue;
      found = true;
      P2P_TRY(remove(fd, child, depth + 1, shown));
    }
  }
  return {};
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Error system_error(const std::string& what, const fs::path& path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT;
  return Error{full ? ErrorCode::kDiskFull : ErrorCode::kIo,
               absl::StrCat("cannot ", what, " ", path.string(), ": ", std::strerror(error_number),
                            advice(error_number))};
}

Result<Fd> duplicate(const Fd& fd, const fs::path& shown) {
  Fd copy(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return system_error("open", shown, errno);
  return copy;
}

Opened try_open_beneath(int folder, const std::string& path, int flags, mode_t mode) {
  Opened opened;
  // O_NONBLOCK: opening a FIFO must not wait for its other end. It means nothing for regular files.
  opened.fd = Fd(open_resolved(folder, path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode));
  if (!opened.fd || fstat(opened.fd.get(), &opened.status) != 0) {
    opened.error_number = errno;
  } else if (const mode_t found = opened.status.st_mode;
             (flags & O_DIRECTORY) ? !S_ISDIR(found) : !S_ISREG(found)) {
    opened.error_number = S_ISDIR(found) ? EISDIR : ENXIO;
  } else if ((flags & O_ACCMODE) != O_RDONLY && opened.status.st_nlink > 1) {
    opened.error_number = EMLINK;
  }
  if (opened.error_number != 0) opened.fd = Fd();
  return opened;
}

int Looker::look(const std::string& path, struct stat& status) {
  const std::size_t slash = path.rfind('/');
  const char* name = path.c_str() + (slash == std::string::npos ? 0 : slash + 1);
  int folder = root_;
  if (slash != std::string::npos) {
    const std::string_view parent = std::string_view(path).substr(0, slash);
    if (!parent_ || parent_path_ != parent) {
      parent_path_ = parent;
      parent_ =
          Fd(open_resolved(root_, parent_path_, O_PATH | O_DIRECTORY | O_CLOEXEC, /*mode=*/0));
      if (!parent_) return errno;
    }
    folder = parent_.get();
  }
  return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
}

bool is_missing_or_other(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR || error_number == EISDIR ||
         error_number == ELOOP || error_number == ENXIO;
}

Error open_error(const fs::path& path, int error_number) {
  const char* problem = nullptr;
  if (error_number == ENXIO) problem = " is a FIFO, socket or device, and is left alone";
  if (error_number == EISDIR) problem = " is a folder where a file should be";
  if (error_number == EMLINK)
    problem = " is a file with a second name elsewhere (a hard link), and is not written to";
  if (problem) return Error{ErrorCode::kIo, path.string() + problem};
  return system_error("open", path, error_number);
}

Result<Fd> open_beneath(int folder, const std::string& path, int flags, mode_t mode,
                        const fs::path& shown) {
  Opened opened = try_open_beneath(folder, path, flags, mode);
  if (!opened.fd) return open_error(shown / path, opened.error_number);
  return std::move(opened.fd);
}

Status make_folders_beneath(int folder, const std::string& path, bool itself,
                            const fs::path& shown) {
  Fd at;
  for (std::size_t start = 0;;) {
    const std::size_t slash = path.find('/', start);
    if (slash == std::string::npos && !itself) return {};
    const std::string component = path.substr(start, slash - start);
    const int from = at ? at.get() : folder;
    if (mkdirat(from, component.c_str(), 0777) != 0 && errno != EEXIST)
      return system_error("make the folder", shown / path.substr(0, slash), errno);
    // Also the last: what was there may be no folder.
    Fd next = enter(from, component);
    if (!next) return system_error("enter the folder", shown / path.substr(0, slash), errno);
    if (slash == std::string::npos) return {};
    at = std::move(next);
    start = slash + 1;
  }
}

Status remove_tree_at(int folder, const std::string& name, const fs::path& shown) {
  P2P_ASSIGN(const Fd tree, unlink_or_open(folder, name, shown));
  if (!tree) return {};
  P2P_TRY(empty_folder(tree, shown / name));
  return remove_folder(folder, name, shown);
}

Status empty_folder(const Fd& folder, const fs::path& shown) {
  P2P_ASSIGN(Fd copy, duplicate(folder, shown));
  Remover remover{folder.get()};
  return remover.empty(std::move(copy), 0, shown);
}

int try_write_all(int fd, const void* data, std::size_t bytes, off_t offset) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = pwrite(fd, from, bytes, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written == 0 ? ENOSPC : errno;
    from += written;
    offset += written;
    bytes -= static_cast<std::size_t>(written);
  }
  return 0;
}

int try_read_all(int fd, void* data, std::size_t bytes, off_t offset) {
  char* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = pread(fd, to, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return kTooShort;
    to += got;
    offset += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return 0;
}

Status write_all(int fd, const void* data, std::size_t bytes, off_t offset, const fs::path& shown) {
  if (const int failure = try_write_all(fd, data, bytes, offset); failure != 0)
    return system_error("write", shown, failure);
  return {};
}

Status read_all(int fd, void* data, std::size_t bytes, off_t offset, const fs::path& shown) {
  if (const int failure = try_read_all(fd, data, bytes, offset); failure != 0)
    return read_error(failure, shown);
  return {};
}

Error read_error(int error_number, const fs::path& shown) {
  if (error_number != kTooShort) return system_error("read", shown, error_number);
  return Error{ErrorCode::kCorrupt, absl::StrCat(shown.string(), " is shorter than it should be")};
}

Status sync_fd(int fd, const fs::path& shown) {
  if (fsync(fd) != 0) return system_error("sync", shown, errno);
  return {};
}

}  // namespace p2p
