#include "net/file_watch.h"

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <utility>

namespace p2p::net {
namespace {

// What differs once a file has changed. All zero: there is none, or none that we may see.
using Stamp = std::array<std::uint64_t, 7>;

Stamp stamp_of(const std::filesystem::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {};
  const auto number = [](auto value) { return static_cast<std::uint64_t>(value); };
  return {number(status.st_dev),          number(status.st_ino),
          number(status.st_size),         number(status.st_mtim.tv_sec),
          number(status.st_mtim.tv_nsec), number(status.st_ctim.tv_sec),
          number(status.st_ctim.tv_nsec)};
}

}  // namespace

struct FileWatch::State {
  std::filesystem::path path;
  Stamp seen;
  Stamp found{};  // by the look under way
  bool gone = false;
};

FileWatch::FileWatch(Loop& loop, std::filesystem::path path, std::function<void()> on_change,
                     Duration period)
    : loop_(loop),
      period_(period),
      on_change_(std::move(on_change)),
      state_(std::make_shared<State>()),
      timer_(loop, [this] { look(); }) {
  state_->path = std::move(path);
  state_->seen = stamp_of(state_->path);
  timer_.arm(Loop::now() + period_);
}

FileWatch::~FileWatch() { state_->gone = true; }

// On the thread pool: a file system that hangs must not hang the loop.
void FileWatch::look() {
  loop_.work([state = state_] { state->found = stamp_of(state->path); },
             [this, state = state_] {
               if (state->gone) return;
               timer_.arm(Loop::now() + period_);
               if (std::exchange(state->seen, state->found) == state->found) return;
               const std::function<void()> on_change = on_change_;  // may destroy the watch
               on_change();
             });
}

}  // namespace p2p::net
