#include "net/loop.h"

#include <catch2/catch.hpp>
#include <thread>

using namespace p2p;
using net::Loop;
using net::Timer;

TEST_CASE("tasks run in the order of posting, from any thread") {
  Loop loop;
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop.post([&, i] { seen.push_back(i); });
    loop.post([&] { loop.stop(); });
  });
  loop.run();
  other.join();
  REQUIRE(seen.size() == 100);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
}

TEST_CASE("a timer fires once, not before its deadline, and a new deadline replaces the old") {
  Loop loop;
  int fired = 0;
  const Time start = Loop::now();
  Timer timer(loop, [&] {
    ++fired;
    loop.stop();
  });
  timer.arm(start + std::chrono::hours(1));
  timer.arm(start + std::chrono::milliseconds(20));
  loop.run();
  CHECK(fired == 1);
  CHECK(Loop::now() - start >= std::chrono::milliseconds(20));
}

TEST_CASE("a job runs elsewhere and ends on the loop") {
  Loop loop;
  std::thread::id job_thread, done_thread;
  loop.work([&] { job_thread = std::this_thread::get_id(); },
            [&] {
              done_thread = std::this_thread::get_id();
              loop.stop();
            });
  loop.run();
  CHECK(job_thread != std::this_thread::get_id());
  CHECK(done_thread == std::this_thread::get_id());
}

TEST_CASE("addresses resolve to themselves, and a name that does not exist is an error") {
  Loop loop;
  Result<std::vector<Endpoint>> address = Error{};
  Result<std::vector<Endpoint>> nonsense = std::vector<Endpoint>{};
  loop.resolve({"::1", 5}, [&](auto found) {
    address = std::move(found);
    loop.resolve({"no-such-host.invalid", 5}, [&](auto missing) {
      nonsense = std::move(missing);
      loop.stop();
    });
  });
  loop.run();
  CHECK(address->front() == *Endpoint::parse("[::1]:5"));
  CHECK_FALSE(nonsense.has_value());
}
