#include "tools/p2p/stream_fetch.h"

#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "content/rooted.h"
#include "tools/p2p/exit_code.h"

namespace p2p::cli {
namespace {

// A folder for the user alone, which goes with all that is in it.
class PassingFolder {
 public:
  static Result<std::unique_ptr<PassingFolder>> make() {
    const char* parent = std::getenv("TMPDIR");
    std::string name = absl::StrCat(parent && *parent ? parent : "/var/tmp", "/p2p-fetch-XXXXXX");
    if (!mkdtemp(name.data())) return system_error("make a folder like", name, errno);
    return std::make_unique<PassingFolder>(name);
  }
  explicit PassingFolder(std::filesystem::path path) : path_(std::move(path)) {}
  ~PassingFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Writes chunks to stdout in their order, on a thread of its own: whoever reads may be slow.
class Writer {
 public:
  // Both are called on that thread: `at` with the chunk that is waited for, `done` at the end.
  Writer(std::function<void(ChunkIndex)> at, std::function<void(Status)> done)
      : at_(std::move(at)), done_(std::move(done)) {}
  ~Writer() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
  }

  void open(std::shared_ptr<const Store> store, const Layout& layout, Bitfield have) {
    store_ = std::move(store);
    layout_ = layout;
    have_ = std::move(have);
    thread_ = std::thread([this] { run(); });
  }
  void add(ChunkIndex chunk) {
    const std::lock_guard lock(mutex_);
    have_.set(chunk);
    changed_.notify_one();
  }

 private:
  void run() { done_(write_all_chunks()); }

  Status write_all_chunks() {
    Bytes chunk_bytes;
    for (ChunkIndex chunk = 0; chunk < layout_.chunk_count(); ++chunk) {
      if (!wait_for(chunk)) return {};  // it ended otherwise
      chunk_bytes.resize(layout_.length_of(chunk));
      P2P_TRY(store_->read(chunk, 0, chunk_bytes));
      P2P_TRY(write_out(chunk_bytes));
    }
    return {};
  }

  bool wait_for(ChunkIndex chunk) {
    std::unique_lock lock(mutex_);
    if (!have_.test(chunk)) at_(chunk);
    changed_.wait(lock, [&] { return have_.test(chunk) || ended_; });
    return have_.test(chunk);
  }

  static Status write_out(ByteView bytes) {
    for (std::size_t written = 0; written < bytes.size();) {
      const ssize_t count = ::write(STDOUT_FILENO, bytes.data() + written, bytes.size() - written);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0)
        return Error{ErrorCode::kIo,
                     absl::StrCat("cannot write to stdout: ", std::strerror(errno))};
      written += static_cast<std::size_t>(count);
    }
    return {};
  }

  std::function<void(ChunkIndex)> at_;
  std::function<void(Status)> done_;
  std::shared_ptr<const Store> store_;
  Layout layout_{};
  std::mutex mutex_;
  std::condition_variable changed_;
  Bitfield have_;  // guarded by mutex_, as the next
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace

Status fetch_to_stdout(net::FetchConfig config, net::FetchHandlers handlers) {
  P2P_ASSIGN(auto folder, PassingFolder::make());
  config.output = folder->path() / "content";
  // Peers are served for as long as whoever reads takes.
  config.linger = std::chrono::hours(24 * 365);
  net::Loop loop;
  net::Fetch* running = nullptr;  // while its loop runs
  bool interrupted = false;
  Writer writer([&](ChunkIndex chunk) { loop.post([&, chunk] { running->read_from(chunk); }); },
                [&](Status outcome) { loop.post([&, outcome] { running->finish(outcome); }); });
  Layout layout;
  handlers.on_manifest = [&](const std::shared_ptr<const Manifest>& manifest) {
    layout = manifest->layout();
    if (manifest->root == Manifest::Root::kFolder)
      running->finish(
          Error{ErrorCode::kUsage, absl::StrCat(manifest->name,
                                                " is a folder, which has no one stream of "
                                                "bytes: fetch it to a path")});
  };
  handlers.on_open = [&](const std::shared_ptr<const Store>& store, const Bitfield& have) {
    writer.open(store, layout, have);
  };
  handlers.on_chunk = [&](ChunkIndex chunk) { writer.add(chunk); };
  net::Fetch fetch(loop, std::move(config), std::move(handlers));
  running = &fetch;
  loop.on_termination([&](int) {
    if (std::exchange(interrupted, true)) std::_Exit(kInterrupted);
    fetch.finish(Error{ErrorCode::kInterrupted, "interrupted"});
  });
  const Status outcome = fetch.run();
  if (!interrupted) return outcome;
  // The writer may hang at who does not read; it is not waited for.
  folder.reset();
  std::fprintf(stderr, "p2p: interrupted\n");
  std::_Exit(kInterrupted);
}

}  // namespace p2p::cli
