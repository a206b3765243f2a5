#include "content/hash_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "content/private_file.h"
#include "content/rooted.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

struct Kept {
  fs::path path;
  std::uint64_t bytes;
  fs::file_time_type used;
};

std::vector<Kept> all_in(const fs::path& folder) {
  std::vector<Kept> all;
  std::error_code failure;
  for (fs::directory_iterator at(folder, failure), end; !failure && at != end;
       at.increment(failure)) {
    // One that goes meanwhile needs no room.
    std::error_code gone;
    if (!fs::is_regular_file(at->symlink_status(gone))) continue;
    const std::uint64_t bytes = at->file_size(gone);
    const fs::file_time_type used = gone ? fs::file_time_type() : at->last_write_time(gone);
    if (!gone) all.push_back({at->path(), bytes, used});
  }
  return all;
}

}  // namespace

HashCache::HashCache(fs::path folder, HashCacheLimits limits)
    : folder_(std::move(folder)), limits_(limits) {}

Result<Digest> HashCache::key_of(const fs::path& path, std::uint32_t chunk_bytes) {
  std::error_code failure;
  const fs::path real = fs::canonical(path, failure);
  if (failure) return system_error("find", path, failure.value());
  return chunk_digest(bytes_of(absl::StrCat(chunk_bytes, " ", real.string())));
}

fs::path HashCache::file_of(const Digest& key) const { return folder_ / (key.hex() + ".hashes"); }

std::optional<HashRecord> HashCache::load(const Digest& key) const {
  const fs::path path = file_of(key);
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!file || fstat(file.get(), &status) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
      static_cast<std::uint64_t>(status.st_size) > limits_.bytes)
    return std::nullopt;
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  if (!read_all(file.get(), bytes.data(), bytes.size(), 0, path)) return std::nullopt;
  auto record = decode_hash_record(bytes, key);
  if (!record) return std::nullopt;
  return *std::move(record);
}

Status HashCache::save(const Digest& key, const HashRecord& record) const {
  const Bytes bytes = encode_hash_record(record, key);
  if (bytes.size() > limits_.bytes) return {};
  P2P_TRY(make_folder(folder_, 0700));
  const fs::path path = file_of(key);
  // Two processes have two temporary files, and the later rename stays.
  const fs::path temporary = absl::StrCat(path.string(), ".", getpid(), ".new");
  const auto write = [&]() -> Status {
    const Fd file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return system_error("write", temporary, errno);
    // Not synced: the checksum tells what a crash has left.
    P2P_TRY(write_all(file.get(), bytes.data(), bytes.size(), 0, temporary));
    if (rename(temporary.c_str(), path.c_str()) != 0) return system_error("write", path, errno);
    return {};
  };
  Status written = write();
  if (!written) unlink(temporary.c_str());
  make_room();
  return written;
}

void HashCache::touch(const Digest& key) const {
  utimensat(AT_FDCWD, file_of(key).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

// What crashed writers left counts as well, and goes the same way.
void HashCache::make_room() const {
  std::vector<Kept> all = all_in(folder_);
  std::sort(all.begin(), all.end(), [](const Kept& a, const Kept& b) { return a.used > b.used; });
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    bytes += all[i].bytes;
    if (i >= limits_.records || bytes > limits_.bytes) unlink(all[i].path.c_str());
  }
}

}  // namespace p2p
