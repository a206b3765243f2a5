// DiskThread: a thread for what may wait for a disk. A lane has one for reading and one for
// writing, so that neither a slow disk nor one that hangs holds up its connections.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace p2p::net {

class DiskThread {
 public:
  DiskThread() = default;
  DiskThread(const DiskThread&) = delete;
  // Waits for the job that is running; those that have not begun are dropped.
  ~DiskThread();

  // Jobs run one after another, in this order. The thread starts with the first. The caller bounds
  // how many there are.
  void post(std::function<void()> job);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace p2p::net
