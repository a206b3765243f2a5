// What a peer book makes of zones: few far neighbours, and no others told of.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "peer/peer_book.h"
#include "tests/peer/places.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::seconds;

namespace {

// Near peers have numbers below 500, far ones from 500 on.
constexpr std::uint32_t kFar = 500;
std::string zone_of(std::uint32_t number) { return number < kFar ? "here" : "there"; }
std::uint32_t number_of(const Endpoint& endpoint) {
  return get_u32(endpoint.address.wire_bytes().data()) - 0x0a000000;
}

struct Keeper {
  explicit Keeper(PeerBookConfig config = {.degree = 10, .max_neighbours = 20},
                  std::string zone = "here") {
    config.self = peer_id(1'000'000);
    config.zone = std::move(zone);
    book.emplace(config, Random(1), now);
  }
  // Every dial goes through.
  void drain() {
    while (auto action = book->poll_action()) {
      if (const auto* dial = std::get_if<Dial>(&*action)) {
        const std::uint32_t number = number_of(dial->endpoint);
        dials.push_back(number);
        book->on_joined(number, peer_id(number), dial->endpoint, dial->endpoint, zone_of(number),
                        now);
      } else if (const auto* close = std::get_if<Close>(&*action)) {
        closes.push_back(*close);
      } else {
        told[std::get<SendPeers>(*action).connection] = std::get<SendPeers>(*action).endpoints;
      }
    }
  }
  void near(std::uint32_t first, std::uint32_t count) {
    book->on_candidates(places(first, count), false, now);
    drain();
  }
  void far(std::uint32_t first, std::uint32_t count) {
    book->on_far_candidates(places(first, count), now);
    drain();
  }
  bool comes(std::uint32_t number, const std::string& zone) {
    const bool stays = book->on_joined(number, peer_id(number), {}, place(number), zone, now);
    drain();
    return stays;
  }
  std::size_t dialled_far() const {
    return static_cast<std::size_t>(std::count_if(
        dials.begin(), dials.end(), [](std::uint32_t number) { return number >= kFar; }));
  }

  Time now{};
  std::optional<PeerBook> book;
  std::vector<std::uint32_t> dials;
  std::vector<Close> closes;
  std::map<ConnectionId, std::vector<Endpoint>> told;
};

}  // namespace

TEST_CASE("who names a zone is told of neighbours of that zone, who names none of all") {
  Keeper keeper;
  keeper.comes(1, "here");
  keeper.comes(2, "there");
  keeper.comes(3, "");
  keeper.told.clear();
  keeper.comes(4, "here");
  keeper.comes(5, "there");
  keeper.comes(6, "");
  CHECK(keeper.told[4] == std::vector<Endpoint>{place(1)});
  CHECK(keeper.told[5] == std::vector<Endpoint>{place(2)});
  CHECK(keeper.told[6] == places(1, 5));
}

TEST_CASE("far ones are dialled beside the near ones, up to a degree of their own") {
  Keeper keeper;
  keeper.near(1, 20);
  CHECK(keeper.dials.size() == 10);
  keeper.far(kFar, 20);
  CHECK(keeper.dials.size() == 13);
  CHECK(keeper.dialled_far() == 3);
  CHECK(keeper.book->wanted() == 0);
  // One of them goes: another takes its place.
  keeper.book->on_disconnected(keeper.dials.back(), keeper.now);
  keeper.drain();
  CHECK(keeper.dialled_far() == 4);
}

TEST_CASE("far ones do not count where near ones are wanted") {
  Keeper keeper;
  keeper.far(kFar, 3);
  CHECK(keeper.dialled_far() == 3);
  CHECK(keeper.book->wanted() == 10);
  keeper.near(1, 20);
  CHECK(keeper.dials.size() == 13);
}

TEST_CASE("where there are no near ones, far ones are dialled up to the whole degree") {
  Keeper keeper;
  keeper.near(1, 2);
  keeper.far(kFar, 20);
  CHECK(keeper.dials.size() == 10);
  CHECK(keeper.dialled_far() == 8);
}

TEST_CASE("at the cap a near neighbour makes place for a far one, and far ones stay") {
  Keeper keeper({.degree = 4, .max_neighbours = 6});
  for (std::uint32_t number = 1; number <= 6; ++number) keeper.comes(number, "here");
  keeper.far(kFar, 10);
  CHECK(keeper.dialled_far() == 3);
  CHECK(keeper.book->neighbours() == 6);
  REQUIRE(keeper.closes.size() == 3);
  for (const Close& close : keeper.closes) CHECK(close.connection < kFar);
}

TEST_CASE("a far place that the link names is dialled as all who have the link do") {
  Keeper keeper({.degree = 2});
  keeper.book->on_candidates({place(kFar)}, true, keeper.now);
  keeper.book->on_far_candidates({place(kFar)}, keeper.now);
  keeper.drain();
  CHECK(keeper.dials == std::vector<std::uint32_t>{kFar});
}

TEST_CASE("without a zone of one's own nobody is far") {
  Keeper keeper({.degree = 10, .max_neighbours = 20}, "");
  keeper.far(kFar, 20);
  CHECK(keeper.dials.size() == 10);
  CHECK(keeper.book->wanted() == 0);
}

TEST_CASE("a dial to a far one that fails is made up for, also when it comes to us meanwhile") {
  Keeper keeper;
  keeper.near(1, 10);
  keeper.book->on_far_candidates({place(kFar)}, keeper.now);
  REQUIRE(keeper.book->dialing() == 1);
  keeper.book->poll_action();
  keeper.comes(kFar, "there");
  keeper.book->on_dial_failed(place(kFar), false, keeper.now);
  keeper.drain();
  CHECK(keeper.book->dialing() == 0);
  keeper.far(kFar + 1, 10);
  CHECK(keeper.book->neighbours() == 13);
}
