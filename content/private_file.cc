#include "content/private_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace p2p {
namespace {

// `replaced` hands its group and its permissions on where it is not null: a service may read the
// file by them.
Status fill(int file, const std::filesystem::path& path, const std::string& text,
            const struct stat* replaced) {
  if (replaced && (fchown(file, static_cast<uid_t>(-1), replaced->st_gid) != 0 ||
                   fchmod(file, replaced->st_mode & 0777) != 0))
    return system_error("give its group and its permissions to", path, errno);
  if (write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fsync(file) != 0)
    return system_error("write", path, errno);
  return {};
}

}  // namespace

Status write_private_file(const std::filesystem::path& path, const std::string& text,
                          Replace replace) {
  const std::filesystem::path temporary = path.string() + absl::StrCat(".", getpid(), ".new");
  const int file =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return system_error("write", temporary, errno);
  struct stat old {};
  const bool keeps = replace == Replace::kKeepingPermissions && stat(path.c_str(), &old) == 0;
  const Status filled = fill(file, temporary, text, keeps ? &old : nullptr);
  close(file);
  if (!filled) {
    unlink(temporary.c_str());
    return filled;
  }
  // link() refuses to replace what is there; rename() does not ask.
  const int placed = replace == Replace::kNo ? link(temporary.c_str(), path.c_str())
                                             : rename(temporary.c_str(), path.c_str());
  const int failure = errno;
  if (replace == Replace::kNo || placed != 0) unlink(temporary.c_str());
  if (placed == 0) return {};
  if (failure == EEXIST)
    return Error{ErrorCode::kExists, absl::StrCat(path.string(), " is there already")};
  return system_error("write", path, failure);
}

Result<std::string> read_whole_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  std::error_code failure;
  const std::uint64_t size = std::filesystem::file_size(path, failure);
  if (failure) return system_error("read", path, failure.value());
  if (size > max_bytes)
    return Error{ErrorCode::kMalformed, path.string() + " is larger than it can be"};
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file) return system_error("read", path, errno);
  return text;
}

Status make_folder(const std::filesystem::path& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return system_error("make the folder", path, errno);
  return {};
}

Result<Fd> lock_file(const std::filesystem::path& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return system_error("open", path, errno);
  if (flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno == EWOULDBLOCK)
    return Error{ErrorCode::kExists, path.string() + " is locked by another process"};
  return system_error("lock", path, errno);
}

}  // namespace p2p
