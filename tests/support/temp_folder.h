// A folder of a test's own, gone at its end. In memory where there is room: tests sync a lot.
#pragma once

#include <sys/statvfs.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace p2p::test {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (base() / "p2p-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  static std::filesystem::path base() {
    constexpr const char* kMemory = "/dev/shm";
    constexpr std::uint64_t kWantedBytes = 1 << 30;
    struct statvfs space {};
    const bool roomy = statvfs(kMemory, &space) == 0 &&
                       std::uint64_t{space.f_bavail} * space.f_frsize >= kWantedBytes;
    if (roomy && access(kMemory, W_OK | X_OK) == 0) return kMemory;
    return std::filesystem::temp_directory_path();
  }

  std::filesystem::path path_;
};

}  // namespace p2p::test
