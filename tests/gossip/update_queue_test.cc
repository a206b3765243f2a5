// The news that are still told: least told first, each often enough and no more.
#include "gossip/update_queue.h"

#include <catch2/catch.hpp>
#include <map>

#include "tests/gossip/support.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;

namespace {

constexpr std::size_t kPlenty = 100'000;  // of bytes

News of(std::uint8_t fill, Incarnation incarnation = 0,
        MemberStatus status = MemberStatus::kAlive) {
  return {claim_of(id_of(fill), kEpoch, incarnation), status, 0};
}

std::vector<std::uint8_t> fills(const std::vector<News>& news) {
  std::vector<std::uint8_t> list;
  for (const News& item : news) list.push_back(item.id().bytes[0]);
  return list;
}

using Fills = std::vector<std::uint8_t>;

}  // namespace

TEST_CASE("news is told five times for each digit of the number of members") {
  REQUIRE(UpdateQueue::limit(0) == kRetransmit);
  REQUIRE(UpdateQueue::limit(1) == kRetransmit);
  REQUIRE(UpdateQueue::limit(9) == kRetransmit);
  REQUIRE(UpdateQueue::limit(10) == 2 * kRetransmit);
  REQUIRE(UpdateQueue::limit(99) == 2 * kRetransmit);
  REQUIRE(UpdateQueue::limit(100) == 3 * kRetransmit);
  REQUIRE(UpdateQueue::limit(15'000) == 5 * kRetransmit);
  for (const std::size_t members : {std::size_t{5}, std::size_t{50}, std::size_t{5000}}) {
    UpdateQueue queue;
    queue.add(of(1));
    std::uint32_t times = 0;
    while (!queue.take(kPlenty, 1, members).empty()) ++times;
    REQUIRE(times == UpdateQueue::limit(members));
    REQUIRE(queue.empty());
  }
}

TEST_CASE("one take counts as often as was told") {
  UpdateQueue queue;
  queue.add(of(1));
  REQUIRE(queue.take(kPlenty, 4, 5).size() == 1);
  REQUIRE(queue.take(kPlenty, 4, 5).size() == 1);  // 8 of 5: enough
  REQUIRE(queue.empty());
  REQUIRE(queue.take(kPlenty, 4, 5).empty());
}

TEST_CASE("what was told least comes first") {
  UpdateQueue queue;
  queue.add(of(1));
  queue.add(of(2));
  const std::size_t one = encoded_bytes(of(1));
  REQUIRE(fills(queue.take(one, 1, 1000)) == Fills{1});
  REQUIRE(fills(queue.take(one, 1, 1000)) == Fills{2});
  queue.add(of(3));
  REQUIRE(queue.has_fresh());
  REQUIRE(fills(queue.take(2 * one, 2, 1000)) == Fills{3, 1});
  REQUIRE_FALSE(queue.has_fresh());
  REQUIRE(fills(queue.take(kPlenty, 1, 1000)) == Fills{2, 3, 1});
}

TEST_CASE("hearing the very news counts as telling it; other news of the member does not") {
  UpdateQueue queue;
  queue.add(of(1, 3, MemberStatus::kSuspect));
  for (std::uint32_t i = 0; i < UpdateQueue::limit(5) - 1; ++i)
    queue.heard(of(1, 3, MemberStatus::kSuspect));
  for (int i = 0; i < 10; ++i) {
    queue.heard(of(1, 3, MemberStatus::kAlive));
    queue.heard(of(1, 2, MemberStatus::kSuspect));
    queue.heard(of(1, 4, MemberStatus::kSuspect));
    queue.heard(of(2, 3, MemberStatus::kSuspect));
  }
  REQUIRE_FALSE(queue.has_fresh());
  REQUIRE(queue.take(kPlenty, 1, 5).size() == 1);
  REQUIRE(queue.empty());
}

TEST_CASE("what was heard often enough is not told at all") {
  UpdateQueue queue;
  queue.add(of(1));
  queue.add(of(2));
  for (std::uint32_t i = 0; i < UpdateQueue::limit(5); ++i) queue.heard(of(1));
  REQUIRE(fills(queue.take(kPlenty, 1, 5)) == Fills{2});
  REQUIRE(queue.size() == 1);
}

TEST_CASE("newer news takes the place of older, and begins from nothing") {
  UpdateQueue queue;
  queue.add(of(1, 0));
  queue.take(kPlenty, 3, 5);
  queue.add(of(1, 1));
  REQUIRE(queue.size() == 1);
  REQUIRE(queue.has_fresh());
  const auto taken = queue.take(kPlenty, 1, 5);
  REQUIRE(taken.size() == 1);
  REQUIRE(taken[0].claim->incarnation == 1);
  for (std::uint32_t i = 1; i < UpdateQueue::limit(5); ++i)
    REQUIRE(queue.take(kPlenty, 1, 5).size() == 1);
  REQUIRE(queue.empty());
}

TEST_CASE("no more is taken than fits the bytes and the packet") {
  Random random(kSeed);
  UpdateQueue queue;
  for (int i = 0; i < 100; ++i) queue.add(random_news(random));
  REQUIRE(queue.take(kPlenty, 1, 1000).size() == kMaxNewsInPacket);
  for (std::size_t bytes = 0; bytes < 1300; bytes += 50) {
    std::size_t sum = 0;
    for (const News& news : queue.take(bytes, 1, 1000)) sum += encoded_bytes(news);
    REQUIRE(sum <= bytes);
    REQUIRE((sum > 0 || bytes < 100));
  }
  REQUIRE(queue.take(0, 1, 1000).empty());
}

TEST_CASE("everything is told as often as it should be, in bounded packets") {
  Random random(kSeed);
  UpdateQueue queue;
  std::map<PeerId, std::uint32_t> told;
  for (int i = 0; i < 200; ++i) {
    const News news = random_news(random);
    told[news.id()] = 0;
    queue.add(news);
  }
  for (int i = 0; !queue.empty(); ++i) {
    REQUIRE(i < 1000);
    for (const News& news : queue.take(kMaxPacketBytes - 5, 1, 50)) ++told.at(news.id());
  }
  for (const auto& [id, times] : told) REQUIRE(times == UpdateQueue::limit(50));
}

TEST_CASE("beyond kMaxUpdates the oldest of the most told is dropped") {
  Random random(kSeed);
  UpdateQueue queue;
  // These two were told, the rest never.
  queue.add(of(1));
  queue.add(of(2));
  queue.take(kPlenty, 1, 1000);
  for (std::size_t i = 2; i < kMaxUpdates; ++i) queue.add(random_news(random));
  REQUIRE(queue.size() == kMaxUpdates);
  queue.add(random_news(random));
  REQUIRE(queue.size() == kMaxUpdates);
  std::map<PeerId, int> left;
  while (!queue.empty())
    for (const News& news : queue.take(kPlenty, 100, 10)) ++left[news.id()];
  REQUIRE(left.size() == kMaxUpdates);
  REQUIRE_FALSE(left.contains(id_of(1)));
  REQUIRE(left.contains(id_of(2)));
}
