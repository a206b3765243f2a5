// What a connection may send and receive when, in virtual time.
#include <catch2/catch.hpp>
#include <vector>

#include "net/bandwidth.h"

using namespace p2p;
using namespace p2p::net;
using namespace std::chrono_literals;

namespace {

constexpr Time kStart = Time{} + 1h;
constexpr Duration kStep = 100us;

// Connections that share a bucket and always have something to send, and what each has sent.
struct Senders {
  SharedBucket process;
  std::vector<Throttle> throttles;
  std::vector<std::uint64_t> sent;

  Senders(std::size_t count, std::uint64_t process_rate, std::uint64_t own_rate = 0)
      : throttles(count), sent(count) {
    process.set_rate(process_rate, kStart);
    for (Throttle& throttle : throttles) throttle.set(process, process_rate, own_rate, kStart);
  }
  // As many frames as may go now.
  void send(std::size_t i, std::size_t bytes, Time now) {
    while (throttles[i].pay(bytes, now)) {
      throttles[i].spend(bytes, now);
      sent[i] += bytes;
    }
  }
  std::uint64_t all() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t each : sent) sum += each;
    return sum;
  }
};

double share(std::uint64_t bytes, double rate, Duration time) {
  return static_cast<double>(bytes) / (rate * to_seconds(time));
}

}  // namespace

TEST_CASE("ten connections at 50 KB/s get on together, each with a tenth, in small slices") {
  Senders senders(10, 50'000);
  const std::size_t slice = senders.throttles[0].slice();
  CHECK(slice == Throttle::kLeastSlice);
  for (Time now = kStart; now < kStart + 10s; now += kStep) {
    // Who is looked at first changes nothing.
    for (std::size_t i = senders.sent.size(); i-- > 0;) senders.send(i, slice, now);
    if (now == kStart + 1s)
      for (const std::uint64_t each : senders.sent) CHECK(each >= 3 * slice);
  }
  for (const std::uint64_t each : senders.sent)
    CHECK(share(each, 5'000, 10s) == Approx(1).margin(0.05));
  CHECK(share(senders.all(), 50'000, 10s) == Approx(1).margin(0.02));
}

TEST_CASE("a slice lasts for milliseconds, and holds the largest frame at a high rate") {
  SharedBucket process;
  Throttle throttle;
  throttle.set(process, 1'000'000, 0, kStart);
  CHECK(throttle.slice() == 8000);
  throttle.set(process, 1'000'000, 500'000, kStart);
  CHECK(throttle.slice() == 4000);
  throttle.set(process, 0, 500'000, kStart);
  CHECK(throttle.slice() == 4000);
  throttle.set(process, 10'000'000'000, 0, kStart);
  CHECK(throttle.slice() == Throttle::kMostSlice);
  CHECK(Throttle::kMostSlice > kMaxDataPayloadBytes);
}

TEST_CASE("without limits there is nothing to ask") {
  SharedBucket process;
  Throttle throttle;
  CHECK_FALSE(throttle.limits());
  throttle.set(process, 1'000'000, 0, kStart);
  CHECK(throttle.limits());
  throttle.set(process, 0, 0, kStart);
  CHECK_FALSE(throttle.limits());
}

TEST_CASE("the lower of the two limits holds: each connection its own, all of them the process's") {
  Senders three(3, 1'000'000, 100'000), thirty(30, 1'000'000, 100'000);
  for (Time now = kStart; now < kStart + 5s; now += kStep) {
    for (std::size_t i = 0; i < 3; ++i) three.send(i, 800, now);
    for (std::size_t i = 0; i < 30; ++i) thirty.send(i, 800, now);
  }
  for (const std::uint64_t each : three.sent)
    CHECK(share(each, 100'000, 5s) == Approx(1).margin(0.02));
  for (const std::uint64_t each : thirty.sent)
    CHECK(share(each, 1'000'000.0 / 30, 5s) == Approx(1).margin(0.05));
  CHECK(share(thirty.all(), 1'000'000, 5s) == Approx(1).margin(0.02));
}

TEST_CASE("what is larger than a slice is paid for slice by slice, while others get on") {
  Senders senders(2, 1'000'000);
  for (Time now = kStart; now < kStart + 2s; now += kStep) {
    senders.send(0, 500'000, now);
    senders.send(1, 8'000, now);
    if (now == kStart + 500ms) CHECK(senders.sent[0] == 0);
  }
  CHECK(senders.sent[0] == 1'000'000);
  CHECK(share(senders.sent[1], 1'000'000, 1s) == Approx(1).margin(0.03));
}

TEST_CASE("who sends in small frames has as much as who sends in large ones") {
  Senders senders(2, 1'000'000);
  for (Time now = kStart; now < kStart + 5s; now += kStep) {
    senders.send(0, 1'000, now);
    senders.send(1, 8'000, now);
  }
  for (const std::uint64_t each : senders.sent)
    CHECK(share(each, 500'000, 5s) == Approx(1).margin(0.02));
}

TEST_CASE("messages wait for nothing, and are taken from what payload may have") {
  Senders senders(1, 100'000);
  std::uint64_t messages = 0;
  for (Time now = kStart; now < kStart + 5s; now += kStep) {
    senders.send(0, 1024, now);
    if ((now - kStart) % 10ms == 0ms) {
      senders.throttles[0].spend(300, now);
      messages += 300;
    }
  }
  CHECK(messages == 150'000);
  CHECK(share(senders.all() + messages, 100'000, 5s) == Approx(1).margin(0.02));
}

TEST_CASE("what a connection has paid for and leaves behind, others can send") {
  Senders senders(1, 100'000);
  for (int i = 0; i < 1000; ++i) {
    Throttle gone;
    gone.set(senders.process, 100'000, 0, kStart);
    CHECK_FALSE(gone.pay(100'000, kStart));
    gone.leave(kStart);
  }
  for (Time now = kStart; now < kStart + 2s; now += kStep) senders.send(0, 1024, now);
  CHECK(share(senders.all(), 100'000, 2s) == Approx(1).margin(0.03));
}

TEST_CASE("receivers that share a bucket are held up in turn, none more than another") {
  SharedBucket process;
  process.set_rate(50'000, kStart);
  std::vector<Throttle> throttles(10);
  std::vector<std::uint64_t> received(10);
  for (Throttle& throttle : throttles) throttle.set(process, 50'000, 0, kStart);
  for (Time now = kStart; now < kStart + 20s; now += kStep)
    for (std::size_t i = 10; i-- > 0;)
      while (throttles[i].due() <= now) {
        received[i] += throttles[i].slice();
        if (!throttles[i].receive(throttles[i].slice(), now)) break;
      }
  std::uint64_t all = 0;
  for (const std::uint64_t each : received) {
    CHECK(share(each, 5'000, 20s) == Approx(1).margin(0.05));
    all += each;
  }
  CHECK(share(all, 50'000, 20s) == Approx(1).margin(0.02));
}

TEST_CASE("who reads little at a time has as much as who reads a slice at once") {
  SharedBucket process;
  process.set_rate(1'000'000, kStart);
  std::vector<Throttle> throttles(2);
  for (Throttle& throttle : throttles) throttle.set(process, 1'000'000, 0, kStart);
  std::vector<std::uint64_t> received(2);
  const std::vector<std::size_t> reads = {1'000, throttles[1].slice()};
  for (Time now = kStart; now < kStart + 5s; now += kStep)
    for (std::size_t i = 0; i < 2; ++i)
      while (throttles[i].due() <= now) {
        received[i] += reads[i];
        if (!throttles[i].receive(reads[i], now)) break;
      }
  for (const std::uint64_t each : received)
    CHECK(share(each, 500'000, 5s) == Approx(1).margin(0.02));
}

TEST_CASE("what a connection has received before it leaves is counted, however little") {
  SharedBucket process;
  process.set_rate(1'000'000, kStart);
  for (int i = 0; i < 1000; ++i) {
    Throttle gone;
    gone.set(process, 1'000'000, 0, kStart);
    CHECK(gone.receive(1'000, kStart));
    gone.leave(kStart);
  }
  CHECK(process.take(0, kStart) == kStart + 1s);
}
