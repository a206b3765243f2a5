#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "content/store_impl.h"

namespace p2p {
namespace {

// Between two looks at whether it is to go on.
constexpr std::size_t kCopiedBytes = 8 * 1024 * 1024;

// The file system has no such thing, or not between these two places or for this user; another way
// may do.
bool is_unsupported(int error_number) {
  switch (error_number) {
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY:
    case EINVAL:
    case EXDEV:
    case EPERM:
    case EACCES:
    case EMLINK:
      return true;
    default:
      return false;
  }
}

}  // namespace

class Store::Impl::Copier {
 public:
  Copier(Impl& impl, const fs::path& source, CopyMode mode,
         const std::function<bool(std::uint64_t)>& progress)
      : impl_(impl), source_(source), wanted_(mode), mode_(mode), progress_(progress) {
    if (mode_ == CopyMode::kAuto) mode_ = CopyMode::kClone;
  }

  Result<CopyMode> run() {
    P2P_TRY(make_root());
    for (const Entry& entry : impl_.manifest->entries) {
      if (!entry.is_file()) continue;
      P2P_TRY(copy(entry));
      done_ += entry.size_bytes;
      if (!progress_(done_)) return interrupted();
    }
    impl_.linked = mode_ == CopyMode::kLink;
    return mode_;
  }

 private:
  static Error interrupted() { return {ErrorCode::kInterrupted, "interrupted"}; }

  // An empty place for the data; where it comes from.
  Status make_root() {
    const int partial = impl_.partial.fd().get();
    P2P_TRY(remove_tree_at(partial, PartialFolder::kData, impl_.partial.path()));
    const fs::path folder = impl_.is_folder() ? source_ : source_.parent_path();
    from_ = Fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!from_) return system_error("open the folder", folder, errno);
    if (!impl_.is_folder()) return {};
    if (mkdirat(partial, PartialFolder::kData, 0777) != 0)
      return system_error("make", impl_.partial.data_path(), errno);
    P2P_ASSIGN(impl_.data, open_beneath(partial, PartialFolder::kData, O_RDONLY | O_DIRECTORY, 0,
                                        impl_.partial.path()));
    P2P_ASSIGN(Fd root, duplicate(impl_.data, impl_.partial.data_path()));
    impl_.files = FileSet::open_at(impl_.manifest, std::move(root), PartialFolder::kData,
                                   impl_.partial.data_path(), FileSet::Mode::kWrite);
    return {};
  }

  Status copy(const Entry& entry) {
    const bool folder = impl_.is_folder();
    const std::string name = folder ? entry.path : source_.filename().string();
    const std::string target = folder ? entry.path : PartialFolder::kData;
    const int root = folder ? impl_.data.get() : impl_.partial.fd().get();
    const fs::path shown = folder ? impl_.partial.data_path() : impl_.partial.path();
    P2P_ASSIGN(const Fd file, open_beneath(from_.get(), name, O_RDONLY, 0, source_));
    if (folder) P2P_TRY(make_folders_beneath(root, entry.path, false, shown));
    for (;;) {
      const int failure = mode_ == CopyMode::kLink ? link(file, root, target, shown)
                                                   : fill(file, root, target, entry);
      if (failure == 0) return {};
      if (failure == kStopped) return interrupted();
      if (!is_unsupported(failure) || mode_ == CopyMode::kCopy)
        return system_error("copy to", shown / target, failure);
      if (wanted_ != CopyMode::kAuto)
        return Error{
            ErrorCode::kUsage,
            absl::StrCat(wanted_ == CopyMode::kLink ? "cannot hard-link " : "cannot clone ",
                         source_.string(), " to ", impl_.target.string(),
                         ": it needs one file system that can, and the right to")};
      mode_ = mode_ == CopyMode::kClone ? CopyMode::kLink : CopyMode::kCopy;
    }
  }

  // 0, an error number, or kStopped.
  static constexpr int kStopped = -2;

  int link(const Fd& file, int root, const std::string& target, const fs::path& shown) const {
    const std::size_t slash = target.rfind('/');
    Fd above;
    if (slash != std::string::npos) {
      auto opened = open_beneath(root, target.substr(0, slash), O_RDONLY | O_DIRECTORY, 0, shown);
      if (!opened) return EIO;
      above = *std::move(opened);
    }
    const std::string opened = absl::StrCat("/proc/self/fd/", file.get());
    const std::string name = slash == std::string::npos ? target : target.substr(slash + 1);
    return linkat(AT_FDCWD, opened.c_str(), above ? above.get() : root, name.c_str(),
                  AT_SYMLINK_FOLLOW) == 0
               ? 0
               : errno;
  }

  int fill(const Fd& file, int root, const std::string& target, const Entry& entry) const {
    const Opened made = try_open_beneath(root, target, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (!made.fd) return made.error_number;
    if (mode_ == CopyMode::kCopy) return copy_bytes(file.get(), made.fd.get(), entry.size_bytes);
    if (ioctl(made.fd.get(), FICLONE, file.get()) == 0) return 0;
    const int failure = errno;
    // The next way makes it anew.
    [[maybe_unused]] const Status removed = remove_tree_at(root, target, impl_.partial.path());
    return failure;
  }

  int copy_bytes(int from, int to, std::uint64_t size) const {
    for (std::uint64_t copied = 0; copied < size;) {
      const ssize_t count = copy_file_range(
          from, nullptr, to, nullptr, std::min<std::uint64_t>(size - copied, kCopiedBytes), 0);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && is_unsupported(errno)) return copy_by_hand(from, to, copied, size);
      if (count < 0) return errno;
      if (count == 0) return EIO;  // it is shorter than it was
      copied += static_cast<std::uint64_t>(count);
      if (!progress_(done_ + copied)) return kStopped;
    }
    return 0;
  }

  int copy_by_hand(int from, int to, std::uint64_t copied, std::uint64_t size) const {
    Bytes block(std::min<std::uint64_t>(size, kCopiedBytes));
    while (copied < size) {
      const std::size_t count = std::min<std::uint64_t>(size - copied, block.size());
      if (const int failure = try_read_all(from, block.data(), count, static_cast<off_t>(copied)))
        return failure == kTooShort ? EIO : failure;
      if (const int failure = try_write_all(to, block.data(), count, static_cast<off_t>(copied)))
        return failure;
      copied += count;
      if (!progress_(done_ + copied)) return kStopped;
    }
    return 0;
  }

  Impl& impl_;
  const fs::path source_;
  const CopyMode wanted_;
  CopyMode mode_;
  const std::function<bool(std::uint64_t)>& progress_;
  Fd from_;
  std::uint64_t done_ = 0;
};

Result<CopyMode> Store::copy_from(const fs::path& source, CopyMode mode,
                                  const std::function<bool(std::uint64_t)>& progress) {
  return Impl::Copier(*impl_, source, mode, progress).run();
}

}  // namespace p2p
