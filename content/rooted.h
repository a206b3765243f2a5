// Rooted file access: every open is beneath a folder's descriptor and follows no symlink, whoever
// plants one, at any moment. Errors name the path and what to do.
#pragma once

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
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// An Error for errno, "cannot WHAT PATH: REASON", kDiskFull where there is no space.
Error system_error(const std::string& what, const std::filesystem::path& path, int error_number);

// Opens `path`, a relative path of plain components, beneath the folder. Only regular files (or,
// with O_DIRECTORY, folders) are opened; a FIFO or device is refused without hanging. `shown` is
// the folder's name in errors.
Result<Fd> open_beneath(int folder, const std::string& path, int flags, mode_t mode,
                        const std::filesystem::path& shown);

// Makes the folders that lead to `path` and are missing; with `itself` also path.
Status make_folders_beneath(int folder, const std::string& path, bool itself,
                            const std::filesystem::path& shown);

// Removes the entry and all below it; symlinks are removed, never followed. Nothing there is fine.
Status remove_tree_at(int folder, const std::string& name, const std::filesystem::path& shown);

// Writes or reads all of it.
Status write_all(int fd, const void* data, std::size_t bytes, off_t offset,
                 const std::filesystem::path& shown);
Status read_all(int fd, void* data, std::size_t bytes, off_t offset,
                const std::filesystem::path& shown);

Status sync_fd(int fd, const std::filesystem::path& shown);

}  // namespace p2p
