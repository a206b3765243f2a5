// Rooted file access: every open is beneath a folder's descriptor and follows no symlink, whoever
// plants one, at any moment. Errors name the path and what to do.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <utility>

#include "base/result.h"

namespace p2p {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  // The caller closes it.
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// An Error for errno, "cannot WHAT PATH: REASON", kDiskFull where there is no space.
Error system_error(const std::string& what, const std::filesystem::path& path, int error_number);

// A second descriptor for the same folder.
Result<Fd> duplicate(const Fd& fd, const std::filesystem::path& shown);

// What came of an open; errors as numbers, for callers that must tell them apart.
struct Opened {
  Fd fd;
  int error_number = 0;
  struct stat status {};
};

// Opens `path`, a relative path of plain components, beneath the folder. Only regular files (or,
// with O_DIRECTORY, folders) are opened; a FIFO or device is refused without hanging, as ENXIO.
// For writing, a file with a second name (a hard link) is refused as EMLINK: what the other name
// stands for is not known.
Opened try_open_beneath(int folder, const std::string& path, int flags, mode_t mode);

// Looks at files beneath a folder, with no symlink followed. In sorted order it is quickest: the
// folder that held the last file stays open.
class Looker {
 public:
  explicit Looker(int folder) : root_(folder) {}
  // As lstat does: 0, or an error number.
  int look(const std::string& path, struct stat& status);

 private:
  int root_;
  std::string parent_path_;
  Fd parent_;
};

// No such file, or something else in its place: a folder, a symlink (there or on the way), a FIFO.
bool is_missing_or_other(int error_number);

// The same with its error in words. `shown` is the folder's name in errors.
Result<Fd> open_beneath(int folder, const std::string& path, int flags, mode_t mode,
                        const std::filesystem::path& shown);
Error open_error(const std::filesystem::path& path, int error_number);

// Makes the folders that lead to `path` and are missing; with `itself` also path.
Status make_folders_beneath(int folder, const std::string& path, bool itself,
                            const std::filesystem::path& shown);

// Removes the entry and all below it, however deep; symlinks are removed, never followed. Nothing
// there is fine.
Status remove_tree_at(int folder, const std::string& name, const std::filesystem::path& shown);
// The same for all that is in a folder, but not the folder.
Status empty_folder(const Fd& folder, const std::filesystem::path& shown);

// Writes or reads all of it: 0, or an error number; reading past the end is kTooShort.
inline constexpr int kTooShort = -1;
int try_write_all(int fd, const void* data, std::size_t bytes, off_t offset);
int try_read_all(int fd, void* data, std::size_t bytes, off_t offset);
// The same with errors in words.
Status write_all(int fd, const void* data, std::size_t bytes, off_t offset,
                 const std::filesystem::path& shown);
Status read_all(int fd, void* data, std::size_t bytes, off_t offset,
                const std::filesystem::path& shown);

Error read_error(int error_number, const std::filesystem::path& shown);

Status sync_fd(int fd, const std::filesystem::path& shown);

}  // namespace p2p
