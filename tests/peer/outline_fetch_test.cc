// Where an outline and its details are got from, and what is done without one.
#include "peer/outline_fetch.h"

#include <catch2/catch.hpp>

using namespace p2p;
using namespace p2p::peer;
using std::chrono::seconds;

namespace {

constexpr std::uint64_t kTotal = 30'000 * 4096ull;

// Groups of one length, each of one segment.
Outline outline_of(std::size_t groups) {
  return Outline(std::vector<Segment>(groups, Segment{4096, 5}));
}

Bytes detail_of(std::uint32_t groups) {
  Bytes bytes(groups * kSegmentRecordBytes);
  for (std::uint32_t i = 0; i < groups; ++i) put_u16(bytes.data() + i * kSegmentRecordBytes, 4096);
  return bytes;
}

struct Fetch {
  Time now{};
  OutlineFetch core{kTotal, outline_time(kTotal), now};
  Bytes encoded = encode_outline(outline_of(30'000));
  std::vector<OutlineAction> actions;

  void drain() {
    while (auto action = core.poll_action()) actions.push_back(std::move(*action));
  }
  template <typename T>
  std::vector<std::pair<ConnectionId, T>> asked() {
    drain();
    std::vector<std::pair<ConnectionId, T>> found;
    for (const OutlineAction& action : actions)
      if (const auto* sent = std::get_if<SendMessage>(&action))
        if (const auto* one = std::get_if<T>(&sent->message))
          found.emplace_back(sent->connection, *one);
    return found;
  }
  template <typename T>
  std::vector<const T*> all() {
    drain();
    std::vector<const T*> found;
    for (const OutlineAction& action : actions)
      if (const auto* one = std::get_if<T>(&action)) found.push_back(one);
    return found;
  }
  void give(ConnectionId from) {
    for (std::uint32_t at = 0; at < encoded.size();) {
      const auto size = std::min<std::size_t>(kMaxOutlinePartBytes, encoded.size() - at);
      const auto begin = encoded.begin() + at;
      core.on_part(from,
                   {static_cast<std::uint32_t>(encoded.size()), at,
                    Bytes(begin, begin + static_cast<std::ptrdiff_t>(size))},
                   now);
      at += static_cast<std::uint32_t>(size);
    }
  }
  void wait(Duration time) {
    const Time end = now + time;
    while (core.next_timeout() <= end) {
      now = std::max(now, core.next_timeout());
      core.on_timeout(now);
    }
    now = end;
  }
};

}  // namespace

TEST_CASE("an outline comes in parts, from one neighbour") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.core.on_connected(2, fetch.now);
  fetch.give(1);
  CHECK(fetch.asked<OutlineRequest>().size() == 2);
  REQUIRE(fetch.all<OutlineDone>().size() == 1);
  CHECK(fetch.all<OutlineDone>()[0]->outline->groups.size() == 30'000);
}

TEST_CASE("who has no outline is passed over; where nobody has one it is done without") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.core.on_part(1, {}, fetch.now);
  fetch.core.on_connected(2, fetch.now);
  REQUIRE(fetch.asked<OutlineRequest>().size() == 2);
  fetch.core.on_part(2, {}, fetch.now);
  fetch.wait(kOutlineRetry);
  CHECK(fetch.asked<OutlineRequest>().size() == 3);
  for (int i = 0; i < 20; ++i) {
    fetch.core.on_part(1, {}, fetch.now);
    fetch.core.on_part(2, {}, fetch.now);
    fetch.wait(kOutlineRetry / 2);
  }
  REQUIRE(fetch.all<OutlineDone>().size() == 1);
  CHECK_FALSE(fetch.all<OutlineDone>()[0]->outline);
  CHECK(fetch.core.next_timeout() == kNever);
}

TEST_CASE("nobody there, or somebody who never answers: it is done without in time") {
  Fetch fetch;
  if (GENERATE(true, false)) fetch.core.on_connected(1, fetch.now);
  fetch.wait(kOutlinePartTimeout + seconds(1) + kOutlinePatience);
  REQUIRE(fetch.all<OutlineDone>().size() == 1);
  CHECK_FALSE(fetch.all<OutlineDone>()[0]->outline);
}

TEST_CASE("a neighbour has longer for its first answer the larger the content is") {
  constexpr std::uint64_t kLarge = 400'000'000'000;
  OutlineFetch core(kLarge, outline_time(kLarge), Time{});
  core.on_connected(1, Time{});
  CHECK(core.next_timeout() == Time{} + kOutlinePartTimeout + seconds(2000));
}

TEST_CASE("an outline that does not fit, or not the content, disconnects; the next is asked") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.core.on_connected(2, fetch.now);
  SECTION("out of order") { fetch.core.on_part(1, {100, 50, Bytes(50)}, fetch.now); }
  SECTION("too short") { fetch.core.on_part(1, {100, 0, Bytes(50)}, fetch.now); }
  SECTION("empty") { fetch.core.on_part(1, {100, 0, {}}, fetch.now); }
  SECTION("of another content") {
    const Bytes other = encode_outline(outline_of(3));
    fetch.core.on_part(1, {static_cast<std::uint32_t>(other.size()), 0, other}, fetch.now);
  }
  REQUIRE(fetch.all<Disconnect>().size() == 1);
  CHECK_FALSE(fetch.all<Disconnect>()[0]->ban);
  fetch.give(2);
  CHECK(fetch.all<OutlineDone>().size() == 1);
}

TEST_CASE("details are asked for in runs, a few at a time, and told as they come") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.give(1);
  const auto outline = std::make_shared<const Outline>(outline_of(30'000));
  std::vector<std::uint32_t> groups;
  for (std::uint32_t i = 100; i < 100 + 6 * kMaxGroupsInDetail; ++i) groups.push_back(i);
  groups.push_back(5000);
  fetch.core.want_details(outline, groups, fetch.now);
  CHECK(fetch.asked<DetailRequest>().size() == kDetailWindow);
  for (std::size_t i = 0; i < 7; ++i) {
    REQUIRE(fetch.asked<DetailRequest>().size() > i);
    const DetailRequest next = fetch.asked<DetailRequest>()[i].second;
    fetch.core.on_detail(1, {next.first, next.count, detail_of(next.count)}, fetch.now);
  }
  CHECK(fetch.all<DetailDone>().size() == 7);
  CHECK(fetch.all<DetailsDone>().size() == 1);
  CHECK(fetch.core.next_timeout() == kNever);
}

TEST_CASE("who has no details is passed over, who lies is let go, and the rest is done without") {
  Fetch fetch;
  for (ConnectionId id : {1, 2, 3}) fetch.core.on_connected(id, fetch.now);
  fetch.give(1);
  fetch.core.want_details(std::make_shared<const Outline>(outline_of(30'000)), {7}, fetch.now);
  fetch.core.on_detail(1, {7, 1, {}}, fetch.now);
  fetch.core.on_detail(2, {7, 1, Bytes(kSegmentRecordBytes)}, fetch.now);
  CHECK(fetch.all<Disconnect>().size() == 1);
  fetch.core.on_disconnected(3, fetch.now);
  CHECK(fetch.all<DetailsDone>().empty());
  fetch.core.on_disconnected(1, fetch.now);
  fetch.wait(kOutlinePatience);
  CHECK(fetch.all<DetailsDone>().size() == 1);
  CHECK(fetch.all<DetailDone>().empty());
}

TEST_CASE("where all groups were found no detail is asked for") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.give(1);
  fetch.core.want_details(std::make_shared<const Outline>(outline_of(30'000)), {}, fetch.now);
  CHECK(fetch.asked<DetailRequest>().empty());
  CHECK(fetch.all<DetailsDone>().size() == 1);
}

TEST_CASE("the time for an outline and its details is a minute, and longer for a larger content") {
  CHECK(outline_time(0) == kOutlineTime);
  CHECK(outline_time(100'000'000'000) == kOutlineTime + seconds(500));
}

TEST_CASE("silent neighbours, however many or often they come, hold nobody longer than the limit") {
  Fetch fetch;
  const Time end = fetch.now + outline_time(kTotal);
  const bool reconnects = GENERATE(true, false);
  for (ConnectionId id = 1; id <= 20; ++id) fetch.core.on_connected(id, fetch.now);
  for (ConnectionId id = 100; fetch.now < end; ++id) {
    CHECK(fetch.all<OutlineDone>().empty());
    fetch.wait(std::min<Duration>(seconds(20), end - fetch.now));
    if (reconnects) fetch.core.on_connected(id, fetch.now);
  }
  REQUIRE(fetch.all<OutlineDone>().size() == 1);
  CHECK_FALSE(fetch.all<OutlineDone>()[0]->outline);
  CHECK(fetch.core.next_timeout() == kNever);
}

TEST_CASE("an outline that drips in is done without when its time is over") {
  Fetch fetch;
  fetch.core = OutlineFetch(kTotal, seconds(10), fetch.now);
  fetch.core.on_connected(1, fetch.now);
  fetch.wait(seconds(9));
  const auto total = static_cast<std::uint32_t>(fetch.encoded.size());
  const auto end = fetch.encoded.begin() + kMaxOutlinePartBytes;
  fetch.core.on_part(1, {total, 0, Bytes(fetch.encoded.begin(), end)}, fetch.now);
  CHECK(fetch.all<OutlineDone>().empty());
  fetch.wait(seconds(1));
  REQUIRE(fetch.all<OutlineDone>().size() == 1);
  CHECK_FALSE(fetch.all<OutlineDone>()[0]->outline);
}

TEST_CASE(
    "details that have not come when the time is over are done without, those that have count") {
  Fetch fetch;
  fetch.core = OutlineFetch(kTotal, seconds(50), fetch.now);
  fetch.core.on_connected(1, fetch.now);
  fetch.give(1);
  fetch.core.want_details(std::make_shared<const Outline>(outline_of(30'000)), {7, 9}, fetch.now);
  fetch.wait(seconds(25));
  fetch.core.on_detail(1, {7, 1, detail_of(1)}, fetch.now);
  fetch.wait(seconds(24));
  CHECK(fetch.all<DetailsDone>().empty());
  fetch.wait(seconds(1));
  CHECK(fetch.all<DetailDone>().size() == 1);
  CHECK(fetch.all<DetailsDone>().size() == 1);
  CHECK(fetch.core.next_timeout() == kNever);
}

TEST_CASE("details that are wanted when the time is over already are asked of nobody") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.give(1);
  fetch.wait(outline_time(kTotal));
  fetch.core.want_details(std::make_shared<const Outline>(outline_of(30'000)), {7}, fetch.now);
  CHECK(fetch.asked<DetailRequest>().empty());
  CHECK(fetch.all<DetailsDone>().size() == 1);
}

TEST_CASE("a first part that comes late is taken where the next has given none") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  const bool next = GENERATE(true, false);
  if (next) fetch.core.on_connected(2, fetch.now);
  fetch.wait(kOutlinePartTimeout + seconds(2));
  fetch.give(1);
  REQUIRE(fetch.all<OutlineDone>().size() == 1);
  CHECK(fetch.all<OutlineDone>()[0]->outline);
  CHECK(fetch.all<Disconnect>().empty());
  CHECK(fetch.asked<OutlineRequest>().back() ==
        std::pair<ConnectionId, OutlineRequest>{1, {kMaxOutlinePartBytes}});
}

TEST_CASE(
    "a first part that comes late does not stop who has begun, and its sender is asked next") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.core.on_connected(2, fetch.now);
  fetch.wait(kOutlinePartTimeout + seconds(2));
  const auto total = static_cast<std::uint32_t>(fetch.encoded.size());
  const OutlinePart first{
      total, 0, Bytes(fetch.encoded.begin(), fetch.encoded.begin() + kMaxOutlinePartBytes)};
  fetch.core.on_part(2, first, fetch.now);
  fetch.core.on_part(1, first, fetch.now);
  REQUIRE(fetch.asked<OutlineRequest>().back().first == 2);
  fetch.core.on_disconnected(2, fetch.now);
  fetch.wait(kOutlineRetry);
  REQUIRE(fetch.asked<OutlineRequest>().back().first == 1);
  fetch.give(1);
  CHECK(fetch.all<OutlineDone>().size() == 1);
  CHECK(fetch.all<Disconnect>().empty());
}

TEST_CASE("who was never asked for an outline is not listened to") {
  Fetch fetch;
  fetch.core.on_connected(1, fetch.now);
  fetch.core.on_connected(2, fetch.now);
  fetch.give(2);
  CHECK(fetch.all<OutlineDone>().empty());
}
