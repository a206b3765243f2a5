// FileWatch: notices that a file was changed, replaced, made or removed. By looking at it now and
// then: that also sees a file that was renamed over, behind a symlink that was turned, on any file
// system, and costs a stat a second.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>

#include "base/time.h"
#include "net/loop.h"

namespace p2p::net {

inline constexpr Duration kFileWatchPeriod = std::chrono::seconds(1);

// Must be destroyed on the loop's thread, before the loop. May be destroyed in its callback.
class FileWatch {
 public:
  // Calls on_change, on the loop, within about a period of each change after the constructor's
  // return; several changes may give one call. So: make the watch, then read the file. A file that
  // is written in place may be seen half-written, and once more when it is whole; whoever replaces
  // it by rename spares its readers that.
  FileWatch(Loop& loop, std::filesystem::path path, std::function<void()> on_change,
            Duration period = kFileWatchPeriod);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  struct State;
  void look();

  Loop& loop_;
  const Duration period_;
  std::function<void()> on_change_;
  std::shared_ptr<State> state_;  // shared with the look that is under way
  Timer timer_;
};

}  // namespace p2p::net
