// Loop: a libuv loop of one thread, with what the shells need of it: the time, posted tasks,
// timers, jobs for the thread pool, signals and names.
#pragma once

#include <uv.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/endpoint.h"
#include "base/result.h"
#include "base/time.h"
#include "net/name_lookups.h"

namespace p2p::net {

// The text of a libuv error number, as a person reads it.
std::string uv_text(int status);

class Loop {
 public:
  Loop();
  // All handles made on the loop must be closed or closing; the destructor runs their close
  // callbacks.
  ~Loop();
  Loop(const Loop&) = delete;

  // Runs until stop(). On the thread that owns the loop.
  void run();
  void stop();

  // Runs the task on the loop's thread, in the order of posting, never within this call.
  // Thread-safe; from the loop's own thread it takes no system call.
  void post(std::function<void()> task);

  // The machine's steady clock. Thread-safe.
  static Time now();

  // Runs `job` on libuv's thread pool, then `done` on the loop.
  void work(std::function<void()> job, std::function<void()> done);

  // Resolves a name; an address is answered without asking anybody. `done` runs on the loop, with
  // every address found, or why there is none; never, when the loop is gone before.
  void resolve(const HostPort& target, std::function<void(Result<std::vector<Endpoint>>)> done);

  // Calls `handler` on the loop for SIGINT and SIGTERM from now on.
  void on_termination(std::function<void(int signal)> handler);
  // The same for any signal, which a daemon may give a meaning.
  void on_signal(int number, std::function<void(int signal)> handler);

  uv_loop_t* raw() { return &loop_; }

 private:
  void wake();
  void run_posted();

  uv_loop_t loop_;
  uv_async_t wake_;
  // Run what was posted on the loop's own thread: before it waits, and after.
  uv_prepare_t before_wait_;
  uv_check_t after_wait_;
  std::atomic<std::thread::id> runs_on_{};  // none while it does not run
  struct Signal {
    uv_signal_t handle;
    std::function<void(int)> handler;
  };
  std::vector<std::unique_ptr<Signal>> signals_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  std::optional<NameLookups> lookups_;         // until the destructor begins
};

// One deadline at a time. Must be destroyed on the loop's thread, before the loop.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> on_due);
  ~Timer();
  Timer(const Timer&) = delete;

  // Replaces the deadline. kNever disarms; a time in the past fires as soon as possible.
  void arm(Time deadline);

 private:
  struct State;
  State* state_;  // freed by its close callback
};

}  // namespace p2p::net
