#include "net/disk_thread.h"

#include <catch2/catch.hpp>
#include <future>

using p2p::net::DiskThread;

TEST_CASE("jobs of a disk thread run one after another, in order, on another thread") {
  DiskThread thread;
  std::vector<int> order;
  std::promise<std::thread::id> last;
  for (int i = 0; i < 100; ++i) thread.post([&order, i] { order.push_back(i); });
  thread.post([&] { last.set_value(std::this_thread::get_id()); });
  CHECK(last.get_future().get() != std::this_thread::get_id());
  CHECK(order.size() == 100);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("the end of a disk thread waits for the job that runs") {
  std::promise<void> began, go_on;
  bool done = false;
  std::thread releaser;
  {
    DiskThread thread;
    thread.post([&] {
      began.set_value();
      go_on.get_future().wait();
      done = true;
    });
    thread.post([] {});  // dropped, unless the first ends before the thread is told to
    began.get_future().wait();
    releaser = std::thread([&] { go_on.set_value(); });
  }
  releaser.join();
  CHECK(done);
}

TEST_CASE("a disk thread that was never used has no thread") { DiskThread thread; }
