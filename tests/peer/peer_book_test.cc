#include "peer/peer_book.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/peer/places.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

struct Keeper {
  explicit Keeper(PeerBookConfig config = {}, std::uint64_t seed = 1)
      : book(with_self(config), Random(seed), now) {}
  static PeerBookConfig with_self(PeerBookConfig config) {
    config.self = peer_id(1000);
    return config;
  }

  void drain() {
    while (auto action = book.poll_action()) {
      if (const auto* dial = std::get_if<Dial>(&*action)) {
        dials.push_back(dial->endpoint);
      } else if (const auto* close = std::get_if<Close>(&*action)) {
        closes.push_back(*close);
      } else {
        peers.push_back(std::get<SendPeers>(*action));
      }
    }
  }
  void candidates(const std::vector<Endpoint>& endpoints, bool lasting = false) {
    book.on_candidates(endpoints, lasting, now);
    drain();
  }
  // They dialled us, and listen at place(number).
  bool comes(ConnectionId connection, std::uint32_t number, bool listens = true,
             const std::string& zone = "") {
    const bool stays =
        book.on_joined(connection, peer_id(number), {},
                       listens ? std::optional(place(number)) : std::nullopt, zone, now);
    drain();
    return stays;
  }
  // Our dial went through.
  bool answers(ConnectionId connection, const Endpoint& endpoint, std::uint32_t number,
               const std::string& zone = "") {
    const bool stays = book.on_joined(connection, peer_id(number), endpoint, endpoint, zone, now);
    drain();
    return stays;
  }
  void fails(const Endpoint& endpoint, bool for_good = false) {
    book.on_dial_failed(endpoint, for_good, now);
    drain();
  }
  void goes(ConnectionId connection) {
    book.on_disconnected(connection, now);
    drain();
  }
  void feels(Hunger hunger) {
    book.set_hunger(hunger, now);
    drain();
  }
  void wait(Duration duration) {
    const Time end = now + duration;
    while (book.next_timeout() <= end) {
      now = std::max(now, book.next_timeout());
      book.on_timeout(now);
      drain();
    }
    now = end;
  }

  Time now{};
  PeerBook book;
  std::vector<Endpoint> dials;
  std::vector<Close> closes;
  std::vector<SendPeers> peers;
};

}  // namespace

TEST_CASE("it dials up to the degree, and no more at once than it may") {
  Keeper keeper({.degree = 10, .max_dialing = 4});
  keeper.candidates(places(1, 30));
  CHECK(keeper.dials.size() == 4);
  CHECK(keeper.book.dialing() == 4);
  for (std::uint32_t i = 0; keeper.dials.size() > i; ++i)
    REQUIRE(keeper.answers(i + 1, keeper.dials[i], i + 1));
  CHECK(keeper.book.neighbours() == 10);
  CHECK(keeper.dials.size() == 10);
  CHECK(keeper.book.dialing() == 0);
  CHECK(keeper.book.wanted() == 0);
}

TEST_CASE("which candidates are dialled is a lot, the same for the same seed") {
  const auto first_dials = [](std::uint64_t seed) {
    Keeper keeper({}, seed);
    keeper.candidates(places(1, 100));
    return keeper.dials;
  };
  CHECK(first_dials(1) == first_dials(1));
  CHECK(first_dials(1) != first_dials(2));
}

TEST_CASE("undialable candidates are skipped and none is taken twice") {
  Keeper keeper;
  keeper.candidates({*Endpoint::parse("1.2.3.4:0"), *Endpoint::parse("0.0.0.0:80"),
                     *Endpoint::parse("224.0.0.1:80"), *Endpoint::parse("255.255.255.255:80")});
  CHECK_FALSE(keeper.book.has_candidates());
  keeper.candidates({place(1), place(1)});
  keeper.candidates({place(1)});
  CHECK(keeper.dials.size() == 1);
}

TEST_CASE("a failed dial is made again after 1 s, 2 s, 4 s ... with jitter, up to a minute") {
  Keeper keeper;
  keeper.candidates({place(1)}, true);
  Duration longest{};
  for (unsigned failures = 0; failures < 12; ++failures) {
    REQUIRE(keeper.dials.size() == failures + 1);
    const Time failed = keeper.now;
    keeper.fails(place(1));
    const Duration pause = keeper.book.next_timeout() - failed;
    const Duration full = std::min<Duration>(kFirstRedial * (1u << failures), kLastRedial);
    CHECK(pause >= full / 2);
    CHECK(pause <= full);
    longest = std::max(longest, pause);
    keeper.wait(pause - milliseconds(1));
    CHECK(keeper.dials.size() == failures + 1);
    keeper.wait(milliseconds(1));
  }
  CHECK(longest > seconds(30));
}

TEST_CASE("an endpoint of the link is never forgotten, another after some failures") {
  for (bool lasting : {true, false}) {
    Keeper keeper;
    keeper.candidates({place(1)}, lasting);
    for (unsigned i = 0; i < kMaxFailures; ++i) {
      keeper.fails(place(1));
      keeper.wait(kLastRedial);
    }
    CHECK(keeper.book.dialing() == (lasting ? 1 : 0));
    CHECK(keeper.dials.size() == kMaxFailures + (lasting ? 1 : 0));
  }
}

TEST_CASE("who refuses our secret is not dialled again") {
  Keeper keeper;
  keeper.candidates({place(1)}, true);
  keeper.fails(place(1), true);
  keeper.candidates({place(1)}, false);
  keeper.wait(std::chrono::minutes(10));
  CHECK(keeper.dials.size() == 1);
  CHECK_FALSE(keeper.book.has_candidates());
}

TEST_CASE("a connection to ourselves is closed and its endpoint left alone") {
  Keeper keeper;
  keeper.candidates({place(1)});
  CHECK_FALSE(keeper.answers(1, place(1), 1000));
  REQUIRE(keeper.closes.size() == 1);
  CHECK(keeper.closes[0].bye.reason == ByeReason::kSelf);
  keeper.wait(std::chrono::minutes(10));
  CHECK(keeper.dials.size() == 1);
}

TEST_CASE("of two connections between two peers, the one that the smaller id dialled stays") {
  // We are 1000. The smaller 5 dialled one, we the other: 5's stays, whichever came first.
  {
    Keeper keeper;
    keeper.candidates({place(5)});
    CHECK(keeper.comes(1, 5));
    CHECK_FALSE(keeper.answers(2, place(5), 5));
    CHECK(keeper.closes.at(0).connection == 2);
    CHECK(keeper.closes.at(0).bye.reason == ByeReason::kDuplicate);
  }
  {
    Keeper keeper;
    keeper.candidates({place(5)});
    CHECK(keeper.answers(2, place(5), 5));
    CHECK(keeper.comes(1, 5));
    CHECK(keeper.closes.at(0).connection == 2);
    CHECK(keeper.book.neighbours() == 1);
  }
  // 2000 is greater: ours stays.
  {
    Keeper keeper;
    keeper.candidates({place(2000)});
    CHECK(keeper.comes(1, 2000));
    CHECK(keeper.answers(2, place(2000), 2000));
    CHECK(keeper.closes.at(0).connection == 1);
  }
}

TEST_CASE("a peer that starts anew takes the place of its settled connection") {
  Keeper keeper;
  CHECK(keeper.comes(1, 5));
  CHECK_FALSE(keeper.comes(2, 5));
  keeper.wait(kSettled);
  CHECK(keeper.comes(3, 5));
  CHECK(keeper.closes.back().connection == 1);
  CHECK(keeper.book.neighbours() == 1);
}

TEST_CASE("who is banned is neither admitted nor dialled") {
  Keeper keeper;
  keeper.candidates({place(5)}, true);
  CHECK(keeper.answers(1, place(5), 5));
  keeper.book.ban(peer_id(5));
  CHECK(keeper.book.is_banned(peer_id(5)));
  keeper.goes(1);
  CHECK_FALSE(keeper.comes(2, 5));
  CHECK(keeper.closes.back().bye.reason == ByeReason::kBanned);
  keeper.wait(std::chrono::minutes(10));
  CHECK(keeper.dials.size() == 1);
  CHECK_FALSE(keeper.book.has_candidates());
}

TEST_CASE("the oldest bans are forgotten when there are too many") {
  Keeper keeper;
  for (std::uint32_t i = 0; i <= kMaxBanned; ++i) keeper.book.ban(peer_id(i));
  CHECK_FALSE(keeper.book.is_banned(peer_id(0)));
  CHECK(keeper.book.is_banned(peer_id(1)));
  CHECK(keeper.book.is_banned(peer_id(kMaxBanned)));
}

TEST_CASE("at the cap a newcomer takes the place of a settled neighbour") {
  Keeper keeper({.degree = 2, .max_neighbours = 5});
  for (std::uint32_t i = 1; i <= 5; ++i) CHECK(keeper.comes(i, i));
  // Nobody has settled yet: it is turned away, with the names of others.
  CHECK_FALSE(keeper.comes(6, 6));
  REQUIRE(keeper.closes.size() == 1);
  CHECK(keeper.closes[0].bye.reason == ByeReason::kFull);
  CHECK(keeper.closes[0].known.size() == 5);
  keeper.wait(kSettled);
  CHECK(keeper.comes(7, 7));
  REQUIRE(keeper.closes.size() == 2);
  const ConnectionId evicted = keeper.closes[1].connection;
  CHECK(evicted <= 5);
  CHECK(keeper.closes[1].bye.reason == ByeReason::kFull);
  CHECK(keeper.book.neighbours() == 5);
  // The one that went is no newcomer for a while; then it is again.
  CHECK_FALSE(keeper.comes(8, static_cast<std::uint32_t>(evicted)));
  keeper.wait(kEvictedFor);
  CHECK(keeper.comes(9, static_cast<std::uint32_t>(evicted)));
}

TEST_CASE("a newcomer takes nobody's place who is in the middle of a chunk") {
  Keeper keeper({.degree = 2, .max_neighbours = 5});
  std::set<ConnectionId> busy{1, 2, 4, 5};
  keeper.book.set_busy_test([&](ConnectionId connection) { return busy.contains(connection); });
  for (std::uint32_t i = 1; i <= 5; ++i) CHECK(keeper.comes(i, i));
  keeper.wait(kSettled);
  CHECK(keeper.comes(6, 6));
  CHECK(keeper.closes.back().connection == 3);
  keeper.wait(kSettled);
  busy.insert(6);
  CHECK_FALSE(keeper.comes(7, 7));
  CHECK(keeper.book.neighbours() == 5);
}

TEST_CASE("those who came and keep busy do not make newcomers drive out whom we dialled") {
  Keeper keeper({.degree = 4, .max_neighbours = 5});
  keeper.book.set_busy_test([](ConnectionId connection) { return connection == 5; });
  keeper.candidates(places(1, 4));
  for (std::uint32_t i = 1; i <= 4; ++i) CHECK(keeper.answers(i, place(i), i));
  CHECK(keeper.comes(5, 5));
  keeper.wait(kSettled);
  CHECK_FALSE(keeper.comes(6, 6));
  CHECK(keeper.closes.back().connection == 6);
}

TEST_CASE("newcomers do not drive out those whom we dialled") {
  Keeper keeper({.degree = 4, .max_neighbours = 4});
  keeper.candidates(places(1, 2));
  CHECK(keeper.answers(1, place(1), 1));
  CHECK(keeper.answers(2, place(2), 2));
  CHECK(keeper.comes(3, 3));
  CHECK(keeper.comes(4, 4));
  for (std::uint32_t round = 0; round < 20; ++round) {
    keeper.wait(kSettled);
    CHECK(keeper.comes(10 + round, 10 + round));
    CHECK(keeper.closes.back().connection > 2);
  }
}

TEST_CASE("a complete peer dials nobody and wants nobody, and still admits") {
  Keeper keeper;
  keeper.book.set_complete(keeper.now);
  keeper.candidates(places(1, 5));
  CHECK(keeper.dials.empty());
  CHECK(keeper.book.wanted() == 0);
  CHECK(keeper.comes(1, 1));
}

TEST_CASE("what is wanted is what the candidates at hand do not make up") {
  Keeper keeper({.degree = 10, .max_dialing = 2});
  CHECK(keeper.book.wanted() == 10);
  keeper.candidates(places(1, 4));
  CHECK(keeper.book.wanted() == 6);
  keeper.answers(1, keeper.dials[0], 1);
  CHECK(keeper.book.wanted() == 6);
  keeper.candidates(places(50, 20));
  CHECK(keeper.book.wanted() == 0);
}

TEST_CASE("a hungry peer dials beyond the degree, one at a time, up to its most neighbours") {
  for (Hunger hunger : {Hunger::kHungry, Hunger::kStarved}) {
    Keeper keeper({.degree = 2, .max_neighbours = 5});
    keeper.candidates(places(1, 30));
    for (std::uint32_t i = 0; i < 2; ++i) keeper.answers(i + 1, keeper.dials[i], i + 1);
    keeper.wait(seconds(5));
    REQUIRE(keeper.dials.size() == 2);
    keeper.feels(hunger);
    for (std::uint32_t more = 1; more <= 3; ++more) {
      keeper.wait(kSearchInterval - milliseconds(1));
      CHECK(keeper.dials.size() == 1 + more);
      keeper.wait(milliseconds(1));
      REQUIRE(keeper.dials.size() == 2 + more);
      keeper.answers(2 + more, keeper.dials.back(), 100 + more);
    }
    CHECK(keeper.book.neighbours() == 5);
    CHECK(keeper.closes.empty());
    if (hunger == Hunger::kStarved) continue;
    keeper.wait(seconds(5));
    CHECK(keeper.dials.size() == 5);
  }
}

TEST_CASE("a starved peer at its most neighbours lets one go for each that it dials") {
  Keeper keeper({.degree = 2, .max_neighbours = 5});
  for (std::uint32_t i = 1; i <= 5; ++i) keeper.comes(i, i, false);
  keeper.candidates(places(100, 30));
  keeper.feels(Hunger::kStarved);
  std::set<ConnectionId> gone;
  for (std::uint32_t round = 1; round <= 4; ++round) {
    keeper.wait(kSearchInterval);
    REQUIRE(keeper.dials.size() == round);
    REQUIRE(keeper.closes.size() == round);
    CHECK(keeper.closes.back().bye.reason == ByeReason::kFull);
    CHECK(gone.insert(keeper.closes.back().connection).second);
    CHECK(keeper.book.neighbours() + keeper.book.dialing() == 5);
    CHECK(keeper.answers(100 + round, keeper.dials.back(), 100 + round));
  }
  keeper.feels(Hunger::kFed);
  keeper.wait(seconds(5));
  CHECK(keeper.dials.size() == 4);
  CHECK(keeper.closes.size() == 4);
}

TEST_CASE("a search tries those that the link names before all others") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    Keeper keeper({.degree = 1, .max_neighbours = 20}, seed);
    keeper.comes(1, 1, false);
    keeper.candidates(places(10, 50));
    keeper.candidates({place(100)}, true);
    keeper.feels(Hunger::kHungry);
    keeper.wait(kSearchInterval);
    CHECK(keeper.dials == std::vector<Endpoint>{place(100)});
  }
}

TEST_CASE("the search of a hungry peer is as slow when its dials fail, and ends with the need") {
  Keeper keeper({.degree = 1, .max_neighbours = 20});
  keeper.candidates(places(1, 100));
  keeper.answers(1, keeper.dials[0], 1);
  keeper.feels(Hunger::kHungry);
  const Time end = keeper.now + 10 * kSearchInterval;
  std::size_t failed = 1;
  while (keeper.now < end) {
    keeper.wait(milliseconds(10));
    while (failed < keeper.dials.size()) keeper.fails(keeper.dials[failed++]);
  }
  CHECK(keeper.dials.size() >= 9);
  CHECK(keeper.dials.size() <= 11);
  keeper.feels(Hunger::kFed);
  const std::size_t dials = keeper.dials.size();
  keeper.wait(seconds(30));
  CHECK(keeper.dials.size() == dials);
  // Again and again hungry for a moment: no faster for it.
  for (int i = 0; i < 100; ++i) {
    keeper.feels(Hunger::kHungry);
    keeper.wait(milliseconds(10));
    keeper.feels(Hunger::kFed);
  }
  CHECK(keeper.dials.size() <= dials + 5);
}

TEST_CASE("a complete peer dials nobody, starved or not") {
  Keeper keeper({.degree = 1, .max_neighbours = 20});
  keeper.candidates(places(1, 10));
  keeper.answers(1, keeper.dials[0], 1);
  keeper.feels(Hunger::kStarved);
  keeper.book.set_complete(keeper.now);
  keeper.wait(seconds(10));
  CHECK(keeper.dials.size() == 1);
}

TEST_CASE("a starved peer dials what its link names again soon, however often that failed") {
  Keeper keeper;
  keeper.candidates({place(1)}, true);
  for (unsigned i = 0; i < 10; ++i) {
    keeper.fails(place(1));
    keeper.wait(kLastRedial);
  }
  keeper.fails(place(1));
  keeper.wait(seconds(10));  // it would be half a minute at least
  std::size_t dials = keeper.dials.size();
  keeper.feels(Hunger::kStarved);
  for (int i = 0; i < 3; ++i) {
    keeper.wait(kFirstRedial);
    CHECK(keeper.dials.size() == ++dials);
    keeper.fails(place(1));
  }
  keeper.feels(Hunger::kFed);
  keeper.wait(kFirstRedial);
  keeper.fails(place(1));
  dials = keeper.dials.size();
  keeper.wait(seconds(10));
  CHECK(keeper.dials.size() == dials);
}

TEST_CASE("a hungry peer wants more peers, whomever it knows, until it is fed or complete") {
  Keeper keeper({.degree = 3});
  for (std::uint32_t i = 1; i <= 3; ++i) keeper.comes(i, i, false);
  CHECK(keeper.book.wanted() == 0);
  for (Hunger hunger : {Hunger::kHungry, Hunger::kStarved}) {
    keeper.feels(hunger);
    CHECK(keeper.book.wanted() == 3);
  }
  keeper.candidates(places(10, 5));
  CHECK(keeper.book.wanted() == 3);  // these may be of its own group
  keeper.feels(Hunger::kFed);
  CHECK(keeper.book.wanted() == 0);
  keeper.feels(Hunger::kHungry);
  keeper.book.set_complete(keeper.now);
  CHECK(keeper.book.wanted() == 0);
}

TEST_CASE("a lost neighbour is dialled again, a flapping one ever later") {
  Keeper keeper;
  keeper.candidates({place(1)}, true);
  keeper.answers(1, place(1), 1);
  keeper.wait(kSettled);
  keeper.goes(1);
  keeper.wait(kFirstRedial);
  CHECK(keeper.dials.size() == 2);
  for (ConnectionId connection = 2; connection < 8; ++connection) {
    REQUIRE(keeper.answers(connection, place(1), 1));
    keeper.goes(connection);
    keeper.wait(kLastRedial);
  }
  REQUIRE(keeper.answers(8, place(1), 1));
  keeper.goes(8);
  const std::size_t dials = keeper.dials.size();
  keeper.wait(seconds(20));
  CHECK(keeper.dials.size() == dials);
}

TEST_CASE("neighbours are told of each other at once and every so often") {
  Keeper keeper;
  CHECK(keeper.comes(1, 1));
  CHECK(keeper.peers.empty());
  CHECK(keeper.comes(2, 2, false));
  REQUIRE(keeper.peers.size() == 1);
  CHECK(keeper.peers[0].connection == 2);
  CHECK(keeper.peers[0].endpoints == std::vector<Endpoint>{place(1)});
  // 2 does not listen, so that there is nobody to tell 1 of.
  keeper.wait(kPeersInterval + seconds(1));
  CHECK(keeper.peers.size() == 2);
  CHECK(keeper.comes(3, 3));
  CHECK(keeper.peers.size() == 3);
  keeper.wait(kPeersInterval);
  std::set<ConnectionId> told;
  for (std::size_t i = 3; i < keeper.peers.size(); ++i) told.insert(keeper.peers[i].connection);
  CHECK(told == std::set<ConnectionId>{1, 2, 3});
}

TEST_CASE("loopback endpoints are told to neighbours on loopback only") {
  Keeper keeper;
  const Endpoint here = *Endpoint::parse("127.0.0.1:7000");
  const Endpoint here_too = *Endpoint::parse("127.0.0.1:7001");
  keeper.book.on_joined(1, peer_id(1), {}, here, "", keeper.now);
  keeper.comes(2, 2);
  CHECK(keeper.peers.empty());
  keeper.book.on_joined(3, peer_id(3), {}, here_too, "", keeper.now);
  keeper.drain();
  REQUIRE(keeper.peers.size() == 1);
  CHECK(keeper.peers[0].endpoints == std::vector<Endpoint>{here, place(2)});
}

TEST_CASE("no message names more peers than it may") {
  Keeper keeper({.max_neighbours = 200});
  for (std::uint32_t i = 1; i <= 100; ++i) keeper.comes(i, i);
  for (const SendPeers& peers : keeper.peers) {
    CHECK(peers.endpoints.size() <= kMaxPeersInMessage);
    CHECK(std::find(peers.endpoints.begin(), peers.endpoints.end(),
                    place(static_cast<std::uint32_t>(peers.connection))) == peers.endpoints.end());
  }
}

TEST_CASE("over the cap failures make room for new candidates, untried ones do not") {
  Keeper keeper({.degree = 2, .max_dialing = 2, .max_candidates = 10});
  keeper.candidates(places(1, 10));
  keeper.candidates({place(100)});
  keeper.fails(keeper.dials[0]);
  keeper.fails(keeper.dials[1]);
  keeper.candidates({place(200)});
  // The new one comes before those that have failed.
  for (std::size_t i = 2; i < keeper.dials.size() && i < 40; ++i) keeper.fails(keeper.dials[i]);
  const auto& dials = keeper.dials;
  CHECK(std::find(dials.begin(), dials.end(), place(100)) == dials.end());
  CHECK(std::find(dials.begin(), dials.end(), place(200)) != dials.end());
}

TEST_CASE("ends of connections that are not known are harmless") {
  Keeper keeper;
  keeper.goes(99);
  keeper.fails(place(1));
  keeper.book.on_timeout(keeper.now + std::chrono::hours(1));
  keeper.drain();
  CHECK(keeper.dials.empty());
  CHECK(keeper.closes.empty());
}
