// Owners that share what they know through a store.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/tracker/support.h"
#include "tracker/owner.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

OwnerConfig sharing() {
  OwnerConfig config;
  config.share = true;
  return config;
}

StoredPeer stored(std::uint64_t number, bool complete = false) {
  return {peer_id(number), {host(static_cast<std::uint32_t>(number)), 4000}, complete, ""};
}

struct Fixture {
  explicit Fixture(OwnerConfig config = sharing()) : owner(std::move(config), Random(1), kStart) {}

  void connect(ConnectionId id) {
    owner.on_connected(id, peer_id(id), host(static_cast<std::uint32_t>(id)), now);
  }
  void announce(ConnectionId id, Event event = Event::kStarted, std::string zone = {}) {
    Announce message = announce_of(kSwarm, event, 4000, 50);
    message.zone = std::move(zone);
    owner.on_message(id, message, now);
  }
  void join(ConnectionId id) {
    connect(id);
    announce(id);
  }
  // The store knows nothing yet of the swarm, which is followed from now on.
  void join_first(ConnectionId id) {
    join(id);
    owner.on_store_loaded(kSwarm, now);
    drain(owner);
  }
  void hear(const StoredPeer& peer, Duration life = 60s) {
    owner.on_stored_peer(kSwarm, peer, now + life, now);
  }
  template <typename Action>
  std::vector<Action> only() {
    std::vector<Action> found;
    for (auto& action : drain(owner))
      if (auto* wanted = std::get_if<Action>(&action)) found.push_back(std::move(*wanted));
    return found;
  }
  std::vector<Handout> handouts_to(ConnectionId id) {
    std::vector<Handout> found;
    for (auto& sent : only<SendMessage>())
      if (sent.connection == id) found.push_back(std::get<Handout>(sent.message));
    return found;
  }
  std::size_t size() const { return owner.table().swarm_size(kSwarm); }
  void advance(Duration by) {
    now += by;
    owner.on_timeout(now);
  }

  Owner owner;
  Time now = kStart;
};

// Announces so many swarms on connection 1, and leaves each at once.
void come_and_go(Fixture& f, std::uint64_t swarms) {
  for (std::uint64_t number = 1; number <= swarms; ++number) {
    f.owner.on_message(1, announce_of(swarm_id(number), Event::kStarted, 4000, 9), f.now);
    f.owner.on_message(1, announce_of(swarm_id(number), Event::kStopped, 4000, 9), f.now);
  }
}

}  // namespace

TEST_CASE("an owner that does not share says nothing to a store and takes nothing from one") {
  Fixture f{OwnerConfig{}};
  f.join(1);
  f.hear(stored(9));
  f.owner.on_stored_removal(kSwarm, peer_id(1), f.now);
  f.owner.on_disconnected(1, f.now);
  for (const auto& action : drain(f.owner)) CHECK(std::holds_alternative<SendMessage>(action));
  CHECK(f.size() == 1);
}

TEST_CASE("the first announce of a swarm has it followed, the next ones do not again") {
  Fixture f;
  f.join(1);
  f.join(2);
  f.announce(1, Event::kNone);
  CHECK(f.only<StoreFollow>().size() == 1);
}

TEST_CASE("what is announced is written, with its expiry") {
  Fixture f;
  f.connect(1);
  f.announce(1, Event::kCompleted, "rack-1");
  const auto puts = f.only<StorePut>();
  REQUIRE(puts.size() == 1);
  CHECK(puts[0].swarm == kSwarm);
  CHECK(puts[0].peer == StoredPeer{peer_id(1), {host(1), 4000}, true, "rack-1"});
  CHECK(puts[0].expires == f.owner.table().find(kSwarm, peer_id(1))->expires);
}

TEST_CASE("a peer that stops is removed from the store, one that goes is written with its grace") {
  Fixture f;
  f.join(1);
  f.join(2);
  drain(f.owner);
  f.announce(1, Event::kStopped);
  const auto removals = f.only<StoreRemove>();
  REQUIRE(removals.size() == 1);
  CHECK(removals[0].peer == peer_id(1));
  f.owner.on_disconnected(2, f.now);
  const auto puts = f.only<StorePut>();
  REQUIRE(puts.size() == 1);
  CHECK(puts[0].expires == f.now + kDisconnectGrace);
}

TEST_CASE("what is refused is not written") {
  OwnerConfig config = sharing();
  config.limits.entries = 1;
  Fixture f(config);
  f.join_first(1);
  f.join(2);
  CHECK(f.only<StorePut>().empty());
}

TEST_CASE("peers from the store are handed out and counted") {
  Fixture f;
  f.join_first(1);
  f.hear(stored(7));
  f.hear(stored(8, true));
  StoredPeer listens_nowhere = stored(9);
  listens_nowhere.endpoint.port = 0;
  f.hear(listens_nowhere);
  drain(f.owner);
  f.announce(1, Event::kNone);
  const auto answers = f.handouts_to(1);
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].peers.size() == 2);
  CHECK(f.size() == 4);
}

TEST_CASE("an announce is answered at once, and the store's part is pushed when it has come") {
  Fixture f;
  f.join(1);
  auto answers = f.handouts_to(1);
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].peers.empty());
  for (std::uint64_t number = 10; number < 20; ++number) f.hear(stored(number));
  CHECK(drain(f.owner).empty());  // not one by one
  f.owner.on_store_loaded(kSwarm, f.now);
  answers = f.handouts_to(1);
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].interval == Duration::zero());
  CHECK(answers[0].peers.size() == 10);
  f.owner.on_store_loaded(kSwarm, f.now);  // as after each reconnect
  CHECK(drain(f.owner).empty());
}

TEST_CASE(
    "the store's part is pushed to no more than was wanted, by zone, and not to who is gone") {
  Fixture f;
  for (const ConnectionId id : {1, 2, 3, 4}) f.connect(id);
  f.owner.on_message(1, announce_of(kSwarm, Event::kStarted, 4000, 3), f.now);
  f.announce(2, Event::kStarted, "rack-1");
  f.announce(3);
  f.announce(4, Event::kCompleted);
  for (std::uint64_t number = 10; number < 20; ++number) {
    StoredPeer peer = stored(number);
    peer.zone = number < 15 ? "rack-1" : "rack-2";
    f.hear(peer);
  }
  f.owner.on_disconnected(3, f.now);
  drain(f.owner);
  f.owner.on_store_loaded(kSwarm, f.now);
  std::map<ConnectionId, std::vector<PeerRecord>> pushed;
  for (const auto& sent : f.only<SendMessage>())
    pushed[sent.connection] = std::get<Handout>(sent.message).peers;
  CHECK(pushed.size() == 2);
  CHECK(pushed[1].size() == 3);
  const auto far = std::count_if(pushed[2].begin(), pushed[2].end(),
                                 [](const PeerRecord& peer) { return peer.far; });
  CHECK(pushed[2].size() - static_cast<std::size_t>(far) == 5);
}

TEST_CASE("no more than so many wait for the store") {
  Fixture f;
  for (ConnectionId id = 1; id <= kMaxWaitingForStore + 10; ++id) f.join(id);
  drain(f.owner);
  f.owner.on_store_loaded(kSwarm, f.now);
  CHECK(f.only<SendMessage>().size() == kMaxWaitingForStore);
}

TEST_CASE("a newcomer elsewhere is news here, a refresh of it is not") {
  Fixture f;
  f.join_first(1);
  f.hear(stored(7));
  const auto news = f.handouts_to(1);
  REQUIRE(news.size() == 1);
  CHECK(news[0].peers == std::vector<PeerRecord>{{{host(7), 4000}, false}});
  f.hear(stored(7, true));
  CHECK(drain(f.owner).empty());
  CHECK(f.owner.table().complete_count(kSwarm) == 1);
}

TEST_CASE("peers from the store expire, and are not believed to live for ever") {
  Fixture f;
  f.join_first(1);
  f.hear(stored(7), 20s);
  f.hear(stored(8), 10 * kMaxStoredLife);
  f.hear(stored(9), -1s);
  CHECK(f.size() == 3);
  f.advance(20s);
  CHECK_FALSE(f.owner.table().find(kSwarm, peer_id(7)));
  CHECK(f.owner.table().find(kSwarm, peer_id(8))->expires == kStart + kMaxStoredLife);
}

TEST_CASE("a removal elsewhere removes here") {
  Fixture f;
  f.join_first(1);
  f.hear(stored(7));
  f.owner.on_stored_removal(kSwarm, peer_id(7), f.now);
  f.owner.on_stored_removal(kSwarm, peer_id(8), f.now);
  CHECK(f.size() == 1);
  CHECK(f.only<StorePut>().empty());
}

TEST_CASE("who is connected here is not changed by the store, and written again where it lost it") {
  Fixture f;
  f.join_first(1);
  const auto before = f.owner.table().find(kSwarm, peer_id(1));
  StoredPeer elsewhere = stored(1, true);
  elsewhere.endpoint.port = 9;
  f.hear(elsewhere);
  CHECK(drain(f.owner).empty());
  f.hear(elsewhere, kDisconnectGrace);
  CHECK(f.only<StorePut>().size() == 1);
  f.owner.on_stored_removal(kSwarm, peer_id(1), f.now);
  const auto puts = f.only<StorePut>();
  REQUIRE(puts.size() == 1);
  CHECK(puts[0].peer == stored(1));
  CHECK(f.owner.table().find(kSwarm, peer_id(1))->expires == before->expires);
}

TEST_CASE("a peer in its grace here that announces elsewhere lives on") {
  Fixture f;
  f.join_first(1);
  f.join(2);
  f.owner.on_disconnected(2, f.now);
  f.hear(stored(2), 60s);
  f.advance(kDisconnectGrace);
  CHECK(f.owner.table().find(kSwarm, peer_id(2)));
}

TEST_CASE("a peer from the store that announces here belongs to its connection") {
  Fixture f;
  f.join_first(1);
  f.hear(stored(7));
  f.join(7);
  CHECK(f.owner.table().find(kSwarm, peer_id(7))->connection == 7);
  CHECK(f.size() == 2);
}

TEST_CASE("peers from the store keep within the table's limits") {
  OwnerConfig config = sharing();
  config.limits.entries_per_address = 2;
  Fixture f(config);
  f.join_first(1);
  for (std::uint64_t number = 10; number < 20; ++number) {
    StoredPeer peer = stored(number);
    peer.endpoint.address = host(5);
    f.hear(peer);
  }
  CHECK(f.size() == 3);
}

TEST_CASE("no more swarms are followed than the table holds") {
  OwnerConfig config = sharing();
  config.limits.swarms = 3;
  Fixture f(config);
  f.connect(1);
  come_and_go(f, 5);
  std::size_t follows = 0, puts = 0;
  for (const auto& action : drain(f.owner)) {
    follows += std::holds_alternative<StoreFollow>(action);
    puts += std::holds_alternative<StorePut>(action);
  }
  CHECK(follows == 3);
  CHECK(puts == 3);
}

TEST_CASE("a lookup is answered from what is known here, and makes no swarm a shared one") {
  Fixture f;
  f.connect(1);
  f.owner.on_message(1, Lookup{kSwarm, 50}, f.now);
  const auto actions = drain(f.owner);
  REQUIRE(actions.size() == 1);
  CHECK(std::get<Handout>(std::get<SendMessage>(actions[0]).message).peers.empty());
  f.hear(stored(7));
  CHECK(f.size() == 0);
}

TEST_CASE("a swarm that nobody announces is not followed for ever") {
  Fixture f;
  f.join_first(1);
  const auto others_until = [&](Duration age) {  // others tell of theirs all the time
    for (; f.now < kStart + age; f.advance(kMaxStoredLife / 4)) f.hear(stored(7), kMaxStoredLife);
  };
  others_until(kFollowFor / 2);
  f.join(2);  // the first was closed, for it kept silent
  const Time last = f.now;
  drain(f.owner);
  others_until(kFollowFor);
  CHECK(f.only<StoreUnfollow>().empty());
  CHECK(f.owner.next_timeout() <= f.now + kFollowCheck);
  others_until(last - kStart + kFollowFor + kFollowCheck);
  CHECK(f.only<StoreUnfollow>().size() == 1);
  const std::size_t size = f.size();
  f.hear(stored(8));
  CHECK(f.size() == size);
  f.join(3);
  CHECK(f.only<StoreFollow>().size() == 1);
}

TEST_CASE("a swarm of which nobody is left is not followed for long") {
  Fixture f;
  f.join_first(1);
  SECTION("by a goodbye") {
    f.announce(1, Event::kStopped);
    f.advance(kFollowCheck);
  }
  SECTION("by the end of a connection") {
    f.owner.on_disconnected(1, f.now);
    f.advance(kDisconnectGrace + kFollowCheck);
  }
  CHECK(f.only<StoreUnfollow>().size() == 1);
  f.connect(2);
  f.announce(2);
  CHECK(f.only<StoreFollow>().size() == 1);
}

TEST_CASE("one address that founds and leaves swarms does not end the sharing of others") {
  OwnerConfig config = sharing();
  config.limits.swarms_per_address = 10;
  config.limits.swarms = 15;
  Fixture f(config);
  f.connect(1);
  come_and_go(f, 20);
  std::size_t follows = 0, told = 0;
  for (const auto& action : drain(f.owner)) {
    follows += std::holds_alternative<StoreFollow>(action);
    told += std::holds_alternative<StoreFull>(action);
  }
  CHECK(follows == 10);
  CHECK(told == 1);
  f.connect(2);
  f.owner.on_message(2, announce_of(swarm_id(50), Event::kStarted, 4000, 9), f.now);
  CHECK(f.only<StoreFollow>().size() == 1);
  f.advance(kFollowCheck);
  drain(f.owner);
  f.owner.on_message(1, announce_of(swarm_id(51), Event::kStarted, 4000, 9), f.now);
  CHECK(f.only<StoreFollow>().size() == 1);
}

TEST_CASE("that no more can be shared is told, and again after a while") {
  OwnerConfig config = sharing();
  config.limits.swarms = 1;
  Fixture f(config);
  f.join(1);
  const auto told_for = [&](std::uint64_t number) {
    f.owner.on_message(1, announce_of(swarm_id(1), Event::kStopped, 4000, 9), f.now);
    f.owner.on_message(1, announce_of(swarm_id(number), Event::kStarted, 4000, 9), f.now);
    f.owner.on_message(1, announce_of(swarm_id(number), Event::kStopped, 4000, 9), f.now);
    f.announce(1);
    return f.only<StoreFull>().size();
  };
  CHECK(told_for(2) == 1);
  CHECK(told_for(3) == 0);
  f.now += kUnsharedToldEvery - 1s;
  f.announce(1, Event::kNone);
  CHECK(told_for(4) == 0);
  f.now += 1s;
  f.announce(1, Event::kNone);
  CHECK(told_for(5) == 1);
}

TEST_CASE("who has gone does not wait for the store") {
  Fixture f;
  // Each would be one of kMaxWaitingForStore.
  for (ConnectionId id = 1; id <= kMaxWaitingForStore; ++id) {
    f.join(id);
    if (id % 2 == 0)
      f.owner.on_disconnected(id, f.now);
    else
      f.announce(id, Event::kStopped);
  }
  f.join(10'000);
  f.hear(stored(20'000));
  drain(f.owner);
  f.owner.on_store_loaded(kSwarm, f.now);
  CHECK(f.handouts_to(10'000).size() == 1);
}

TEST_CASE("who is connected here and gone elsewhere is written again, whatever the other's clock") {
  for (const Duration ahead : {-20s, -1s, 0s, 1s}) {
    Fixture f;
    f.join_first(1);
    f.hear(stored(1), kDisconnectGrace + ahead);
    CHECK(f.only<StorePut>().size() == 1);
  }
}

TEST_CASE("two owners that both have a peer do not write it again and again") {
  Fixture f;
  f.join_first(1);
  const Duration life = f.owner.table().find(kSwarm, peer_id(1))->expires - f.now;
  f.hear(stored(1), life / 2);
  f.hear(stored(1), 20 * life);
  CHECK(f.only<StorePut>().empty());
}

TEST_CASE("newcomers among what is read again are not news one by one") {
  Fixture f;
  f.join_first(1);
  for (std::uint64_t number = 100; number < 200; ++number)
    f.owner.on_stored_peer(kSwarm, stored(number), f.now + 60s, f.now, Heard::kInReading);
  CHECK(drain(f.owner).empty());
  CHECK(f.size() == 101);
}

TEST_CASE("loopback addresses are shared among the owners of one host only") {
  for (const bool one_host : {false, true}) {
    OwnerConfig config = sharing();
    config.share_loopback = one_host;
    Fixture f(config);
    f.owner.on_connected(1, peer_id(1), address("127.0.0.1"), f.now);
    f.announce(1);
    CHECK(f.only<StorePut>().size() == (one_host ? 1u : 0u));
    StoredPeer beside = stored(7);
    beside.endpoint.address = address("127.0.0.1");
    f.hear(beside);
    CHECK(f.size() == (one_host ? 2u : 1u));
    CHECK(f.owner.own_entries(kSwarm, 0, 10)->size() == (one_host ? 1u : 0u));
  }
}

TEST_CASE("what was announced here can be read to be written anew, what came from the store not") {
  Fixture f;
  f.join_first(1);
  for (ConnectionId id = 2; id <= 20; ++id) f.join(id);
  for (std::uint64_t number = 30; number < 50; ++number) f.hear(stored(number, number % 2 == 0));
  std::set<PeerId> own;
  std::size_t pages = 0;
  while (const auto page = f.owner.own_entries(kSwarm, pages * 7, 7)) {
    ++pages;
    for (const StorePut& put : *page) CHECK(own.insert(put.peer.peer).second);
  }
  CHECK(pages == 6);  // 40 entries
  CHECK(own.size() == 20);
  CHECK(own.contains(peer_id(20)));
  CHECK_FALSE(f.owner.own_entries(swarm_id(2), 0, 7));
}

// Two owners, and a store that is nothing but the messages between them.
TEST_CASE("a peer that leaves one owner for another is known to both in the end") {
  Fixture a, b;
  a.join_first(1);
  b.join_first(2);
  std::size_t messages = 0;
  const auto exchange = [&] {
    for (bool more = true; more;) {
      more = false;
      for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
        for (const auto& action : drain(from->owner)) {
          if (const auto* put = std::get_if<StorePut>(&action))
            to->owner.on_stored_peer(put->swarm, put->peer, put->expires, to->now), more = true;
          if (const auto* removal = std::get_if<StoreRemove>(&action))
            to->owner.on_stored_removal(removal->swarm, removal->peer, to->now), more = true;
        }
        REQUIRE(++messages < 100);  // they come to an end
      }
    }
  };
  a.join(7);
  b.join(7);
  exchange();
  a.announce(7, Event::kStopped);
  exchange();
  CHECK(a.owner.table().find(kSwarm, peer_id(7))->connection == kFromStore);
  CHECK(b.owner.table().find(kSwarm, peer_id(7))->connection == 7);
  b.owner.on_disconnected(7, b.now);
  exchange();
  CHECK(a.owner.table().find(kSwarm, peer_id(7))->expires == a.now + kDisconnectGrace);
}
