#include "content/rooted.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"

namespace p2p {
namespace {

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
    if (slash == std::string::npos)
      return openat(from, component.c_str(), flags | O_NOFOLLOW, mode);
    at = Fd(openat(from, component.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!at) return -1;
    start = slash + 1;
  }
}

int open_resolved(int folder, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  for (;;) {
    const long fd = syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    // EAGAIN: a rename happened somewhere meanwhile and the kernel could not be sure.
    if (errno == EAGAIN || errno == EINTR) continue;
    if (errno == ENOSYS || errno == EPERM) return open_by_components(folder, path, flags, mode);
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
    case EACCES:
      return " (choose a place that can be written)";
    case ENOSPC:
    case EDQUOT:
      return "; free some space and run the same command again: what was fetched is kept";
    default:
      return "";
  }
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Error system_error(const std::string& what, const std::filesystem::path& path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT;
  return Error{full ? ErrorCode::kDiskFull : ErrorCode::kIo,
               absl::StrCat("cannot ", what, " ", path.string(), ": ", std::strerror(error_number),
                            advice(error_number))};
}

Result<Fd> open_beneath(int folder, const std::string& path, int flags, mode_t mode,
                        const std::filesystem::path& shown) {
  // O_NONBLOCK: opening a FIFO must not wait for its other end. It means nothing for regular files.
  Fd fd(open_resolved(folder, path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode));
  if (!fd) return system_error("open", shown / path, errno);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return system_error("look at", shown / path, errno);
  const bool wanted = (flags & O_DIRECTORY) ? S_ISDIR(status.st_mode) : S_ISREG(status.st_mode);
  if (!wanted)
    return Error{ErrorCode::kIo,
                 absl::StrCat((shown / path).string(), " is no regular file and is left alone")};
  return fd;
}

Status make_folders_beneath(int folder, const std::string& path, bool itself,
                            const std::filesystem::path& shown) {
  Fd at;
  for (std::size_t start = 0;;) {
    const std::size_t slash = path.find('/', start);
    if (slash == std::string::npos && !itself) return {};
    const std::string component = path.substr(start, slash - start);
    const int from = at ? at.get() : folder;
    if (mkdirat(from, component.c_str(), 0777) != 0 && errno != EEXIST)
      return system_error("make the folder", shown / path.substr(0, slash), errno);
    if (slash == std::string::npos) return {};
    Fd next(openat(from, component.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next)
      return system_error("enter the folder", shown / path.substr(0, slash),
                          errno == ENOTDIR ? ELOOP : errno);
    at = std::move(next);
    start = slash + 1;
  }
}

Status remove_tree_at(int folder, const std::string& name, const std::filesystem::path& shown) {
  if (unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return system_error("remove", shown / name, errno);
  const int fd = openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return system_error("remove", shown / name, errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(fdopendir(fd), closedir);
  if (!listing) return system_error("remove", shown / name, errno);
  while (const dirent* entry = readdir(listing.get())) {
    const std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    P2P_TRY(remove_tree_at(fd, child, shown / name));
  }
  if (unlinkat(folder, name.c_str(), AT_REMOVEDIR) != 0)
    return system_error("remove", shown / name, errno);
  return {};
}

Status write_all(int fd, const void* data, std::size_t bytes, off_t offset,
                 const std::filesystem::path& shown) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = pwrite(fd, from, bytes, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return system_error("write", shown, written == 0 ? ENOSPC : errno);
    from += written;
    offset += written;
    bytes -= static_cast<std::size_t>(written);
  }
  return {};
}

Status read_all(int fd, void* data, std::size_t bytes, off_t offset,
                const std::filesystem::path& shown) {
  char* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = pread(fd, to, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read", shown, errno);
    if (got == 0)
      return Error{ErrorCode::kCorrupt,
                   absl::StrCat(shown.string(), " is shorter than it should be")};
    to += got;
    offset += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return {};
}

Status sync_fd(int fd, const std::filesystem::path& shown) {
  if (fsync(fd) != 0) return system_error("sync", shown, errno);
  return {};
}

}  // namespace p2p
