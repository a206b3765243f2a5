// Swarms with their peer books: who is connected to whom follows from what they lack.
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <utility>

#include "peer/peer_book.h"
#include "tests/peer/harness.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::milliseconds;
using std::chrono::minutes;

namespace {

constexpr Duration kStep = milliseconds(20);

// A World where each peer's neighbours are its PeerBook's.
class BookedWorld {
 public:
  using PeerNumber = World::PeerNumber;

  BookedWorld(WorldOptions options, PeerBookConfig config)
      : world(std::move(options)), config_(config) {}

  PeerNumber add(Bitfield have) {
    const PeerNumber number = world.add_peer(have, {}, {});
    PeerBookConfig config = config_;
    config.self = id_of(number);
    books.push_back(std::make_unique<PeerBook>(config, Random(number + 1), world.now()));
    if (have.all()) books[number]->set_complete(world.now());
    return number;
  }
  // `who` is told of `whom`.
  void tell(PeerNumber who, PeerNumber whom, bool lasting) {
    books[who]->on_candidates({place_of(whom)}, lasting, world.now());
  }
  // The dials that the books want now.
  void dial() {
    for (PeerNumber who = 0; who < books.size(); ++who)
      while (const auto action = books[who]->poll_action())
        if (const auto* dial = std::get_if<Dial>(&*action)) join(who, dial->endpoint);
  }
  // Lets time pass; `searches`: the books are told who is hungry.
  bool run_to_completion(Duration limit, bool searches) {
    const Time end = world.now() + limit;
    while (world.now() < end) {
      if (world.run_to_completion(kStep)) return true;
      for (PeerNumber who = 0; who < books.size(); ++who) {
        if (world.swarm(who).complete()) books[who]->set_complete(world.now());
        if (searches) books[who]->set_hunger(world.swarm(who).hunger(), world.now());
        if (books[who]->next_timeout() <= world.now()) books[who]->on_timeout(world.now());
      }
      leave();
      dial();
    }
    return false;
  }

  World world;
  std::vector<std::unique_ptr<PeerBook>> books;

 private:
  static PeerId id_of(PeerNumber number) {
    PeerId id;
    put_u64(id.bytes.data(), number);
    return id;
  }
  static Endpoint place_of(PeerNumber number) {
    return *Endpoint::parse("10.0.0." + std::to_string(number + 1) + ":7000");
  }
  void join(PeerNumber who, const Endpoint& endpoint) {
    PeerNumber whom = 0;
    while (place_of(whom) != endpoint) ++whom;
    const ConnectionId connection = ++connections_;
    if (!books[whom]->on_joined(connection, id_of(who), {}, place_of(who), "", world.now()))
      return books[who]->on_dial_failed(endpoint, false, world.now());
    if (!books[who]->on_joined(connection, id_of(whom), endpoint, endpoint, "", world.now()))
      return books[whom]->on_disconnected(connection, world.now());
    world.connect(who, whom);
    joined_[connection] = {who, whom};
  }
  // The books hear of connections that the swarms have ended.
  void leave() {
    std::erase_if(joined_, [&](const auto& one) {
      const auto& [who, whom] = one.second;
      if (world.connected(who, whom)) return false;
      books[who]->on_disconnected(one.first, world.now());
      books[whom]->on_disconnected(one.first, world.now());
      return true;
    });
  }

  PeerBookConfig config_;
  ConnectionId connections_ = 0;
  std::map<ConnectionId, std::pair<PeerNumber, PeerNumber>> joined_;
};

// Two groups of peers that know each other, each peer with as many neighbours as it needs; all lack
// chunk 0, which only the seeder has. They have heard of it, and have no need of one more.
bool two_islands_complete(bool searches, bool lasting) {
  constexpr ChunkIndex kChunks = 20;
  constexpr std::size_t kGroup = 5;
  WorldOptions options;
  options.layout = {kChunks * 256 * 1024, 256 * 1024};
  BookedWorld islands(options, {.degree = kGroup - 1, .max_neighbours = 8});
  Bitfield most(kChunks, true);
  most.reset(0);
  for (std::size_t i = 0; i < 2 * kGroup; ++i) islands.add(most);
  for (std::size_t group : {0, 1})
    for (std::size_t a = 0; a < kGroup; ++a)
      for (std::size_t b = 0; b < a; ++b)
        islands.tell(group * kGroup + a, group * kGroup + b, false);
  islands.dial();
  for (std::size_t i = 0; i < 2 * kGroup; ++i)
    REQUIRE(islands.books[i]->neighbours() == kGroup - 1);
  const auto seeder = islands.add(Bitfield(kChunks, true));
  for (std::size_t i = 0; i < 2 * kGroup; ++i) islands.tell(i, seeder, lasting);
  islands.dial();
  REQUIRE(islands.books[seeder]->neighbours() == 0);
  return islands.run_to_completion(minutes(2), searches);
}

}  // namespace

TEST_CASE("islands that all lack a chunk find who has it, though they have neighbours enough") {
  CHECK(two_islands_complete(true, true));
  CHECK(two_islands_complete(true, false));
}

TEST_CASE("islands that do not search stay islands") {
  CHECK_FALSE(two_islands_complete(false, true));
}
