// Names that take long to look up, and what does not wait for them.
#include "net/name_lookups.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>
#include <vector>

#include "net/loop.h"

using namespace p2p;
using namespace p2p::net;

namespace {

using Found = Result<std::vector<Endpoint>>;

// A resolver that answers when it is told to.
struct Resolver {
  std::promise<void> promise;
  std::shared_future<void> may_answer = promise.get_future().share();
  // More than this object: threads may ask it for longer than a test takes.
  std::shared_ptr<std::atomic<int>> asked = std::make_shared<std::atomic<int>>(0);

  NameLookups::Ask ask() const {
    return [may_answer = may_answer, asked = asked](const HostPort& target) -> Found {
      ++*asked;
      may_answer.wait();
      return std::vector<Endpoint>{{*IpAddress::parse("192.0.2.1"), target.port}};
    };
  }
};

}  // namespace

TEST_CASE("no more than kMaxNameLookups names are looked up at one time, and all are answered") {
  Loop loop;
  Resolver resolver;
  NameLookups lookups([&](std::function<void()> task) { loop.post(std::move(task)); },
                      resolver.ask());
  const std::size_t names = 3 * kMaxNameLookups;
  std::vector<bool> answered(names);
  std::size_t answers = 0;
  for (std::size_t i = 0; i < names; ++i)
    lookups.start({"host", static_cast<std::uint16_t>(i)}, [&, i](const Found& found) {
      REQUIRE(found.has_value());
      REQUIRE(found->at(0).port == i);
      answered[i] = true;
      if (++answers == names) loop.stop();
    });
  while (*resolver.asked < static_cast<int>(kMaxNameLookups)) std::this_thread::yield();
  // None of those that wait has a thread.
  REQUIRE(*resolver.asked == static_cast<int>(kMaxNameLookups));
  resolver.promise.set_value();
  loop.run();
  REQUIRE(answered == std::vector<bool>(names, true));
}

TEST_CASE("who goes does not wait for a resolver that hangs, and hears nothing of it later") {
  Resolver resolver;
  bool heard = false;
  std::promise<void> dropped;
  {
    Loop loop;
    // Tells when the last thread is done with it.
    const std::shared_ptr<void> last(nullptr, [&](void*) { dropped.set_value(); });
    NameLookups lookups(
        [&loop](std::function<void()> task) { loop.post(std::move(task)); },
        [ask = resolver.ask(), last](const HostPort& target) { return ask(target); });
    lookups.start({"host", 1}, [&](const Found&) { heard = true; });
    while (*resolver.asked == 0) std::this_thread::yield();
  }
  resolver.promise.set_value();
  dropped.get_future().wait();
  REQUIRE_FALSE(heard);
}
