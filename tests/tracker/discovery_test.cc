// Announcers against an owner on one virtual clock: connections break, the owner restarts, and
// everybody must know everybody again. All messages go through their encoding.
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <set>

#include "tests/tracker/support.h"
#include "tracker/announcer.h"
#include "tracker/owner.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

class World {
 public:
  World(std::size_t peers, std::uint64_t seed) : random_(seed) {
    start_owner();
    for (std::uint32_t i = 0; i < peers; ++i) {
      AnnouncerConfig config;
      config.swarm = kSwarm;
      config.owners = {0};
      config.listen_port = 4000;
      const Random random = random_.fork("peer " + std::to_string(i));
      peers_.push_back(Peer{std::make_unique<Announcer>(config, random, now_), {}, {}, false});
      peers_.back().announcer->set_wanted(8, now_);
    }
    settle();
  }

  void start_owner() {
    const Random random = random_.fork("owner " + std::to_string(restarts_++));
    owner_ = std::make_unique<Owner>(OwnerConfig{}, random, now_);
  }
  void stop_owner() {
    owner_.reset();
    for (std::uint32_t i = 0; i < peers_.size(); ++i) drop(i);
    settle();
  }
  // The connection breaks and both ends learn of it.
  void drop(std::uint32_t peer) {
    const auto connection = std::exchange(peers_[peer].connection, std::nullopt);
    if (!connection) return;
    peer_of_.erase(*connection);
    if (owner_) owner_->on_disconnected(*connection, now_);
    peers_[peer].announcer->on_owner_disconnected(0, now_);
    settle();
  }
  // The connection breaks and only the peer learns of it: the owner's end stays half open.
  void drop_unseen(std::uint32_t peer) {
    const auto connection = std::exchange(peers_[peer].connection, std::nullopt);
    if (!connection) return;
    peer_of_.erase(*connection);
    peers_[peer].announcer->on_owner_disconnected(0, now_);
    settle();
  }
  void finish(std::uint32_t peer) {
    peers_[peer].announcer->set_progress(1000, true, now_);
    settle();
  }
  void stop(std::uint32_t peer) {
    peers_[peer].stopped = true;
    peers_[peer].announcer->stop(now_);
    settle();
  }
  void run(Duration duration) {
    const Time end = now_ + duration;
    for (;;) {
      Time next = owner_ ? owner_->next_timeout() : kNever;
      for (const Peer& peer : peers_) next = std::min(next, peer.announcer->next_timeout());
      if (next > end) break;
      now_ = std::max(now_, next);
      if (owner_) owner_->on_timeout(now_);
      for (Peer& peer : peers_) peer.announcer->on_timeout(now_);
      settle();
    }
    now_ = end;
  }
  void jump(Duration duration) { now_ += duration; }

  const PeerTable& table() const { return owner_->table(); }
  std::size_t size() const { return table().swarm_size(kSwarm); }
  std::size_t known_to(std::uint32_t peer) const { return peers_[peer].found.size(); }
  std::size_t announces() const { return announces_; }
  Random& random() { return random_; }
  const Bytes& trace() const { return trace_; }

 private:
  struct Peer {
    std::unique_ptr<Announcer> announcer;
    std::optional<ConnectionId> connection;
    std::set<Endpoint> found;
    bool stopped = false;
  };

  // Carries out all actions, and those that follow from them.
  void settle() {
    for (bool acted = true; acted;) {
      acted = false;
      for (std::uint32_t i = 0; i < peers_.size(); ++i) {
        while (auto action = peers_[i].announcer->poll_action()) {
          acted = true;
          std::visit([&](const auto& what) { act(i, what); }, *action);
        }
      }
      while (owner_) {
        auto action = owner_->poll_action();
        if (!action) break;
        acted = true;
        if (const auto* close = std::get_if<CloseConnection>(&*action))
          end(close->connection);
        else
          deliver(std::get<SendMessage>(*action));
      }
    }
  }
  void act(std::uint32_t peer, const ConnectOwner&) {
    if (!owner_) return peers_[peer].announcer->on_owner_disconnected(0, now_);
    const ConnectionId connection = next_connection_++;
    peers_[peer].connection = connection;
    peer_of_[connection] = peer;
    owner_->on_connected(connection, peer_id(peer), host(peer), now_);
    peers_[peer].announcer->on_owner_connected(0, now_);
  }
  void act(std::uint32_t, const ReportTo&) { FAIL("nobody looks"); }
  void act(std::uint32_t, const LeaveOwner&) { FAIL("there is no other owner"); }
  void act(std::uint32_t peer, const DisconnectOwner&) {
    const auto connection = std::exchange(peers_[peer].connection, std::nullopt);
    if (connection && owner_) owner_->on_disconnected(*connection, now_);
  }
  void act(std::uint32_t peer, const SendToOwner& send) {
    ++announces_;
    if (owner_ && peers_[peer].connection)
      owner_->on_message(*peers_[peer].connection, passed(send.message), now_);
  }
  void act(std::uint32_t peer, const FoundPeers& found) {
    for (const PeerRecord& record : found.peers) peers_[peer].found.insert(record.endpoint);
  }
  // Owners here have no reason to close a connection, but where the peer stopped or is gone.
  void end(ConnectionId connection) {
    const auto peer = peer_of_.find(connection);
    if (peer == peer_of_.end()) return;
    CHECK(peers_[peer->second].stopped);
    peers_[peer->second].connection.reset();
    peer_of_.erase(peer);
  }
  void deliver(const SendMessage& send) {
    const auto peer = peer_of_.find(send.connection);
    if (peer != peer_of_.end())
      peers_[peer->second].announcer->on_message(0, passed(send.message), now_);
  }
  Message passed(const Message& message) {
    const Bytes bytes = encode(message);
    trace_.insert(trace_.end(), bytes.begin(), bytes.end());
    return decode(bytes).value();
  }

  Random random_;
  Time now_ = kStart;
  std::unique_ptr<Owner> owner_;
  std::vector<Peer> peers_;
  std::map<ConnectionId, std::uint32_t> peer_of_;
  ConnectionId next_connection_ = 1;
  std::size_t announces_ = 0;
  int restarts_ = 0;
  Bytes trace_;
};

}  // namespace

TEST_CASE("peers that announce find each other") {
  World world(40, 1);
  world.run(60s);
  CHECK(world.size() == 40);
  for (std::uint32_t peer = 0; peer < 40; ++peer) CHECK(world.known_to(peer) >= 8);
}

TEST_CASE("the first two peers find each other at once, by news") {
  World world(2, 1);
  CHECK(world.known_to(0) == 1);
  CHECK(world.known_to(1) == 1);
}

TEST_CASE("after a restart of the owner the table is full again within the longest wait") {
  for (const Duration away : {0s, 3s, 60s, 600s}) {
    World world(200, 9);
    world.run(100s);
    world.finish(7);
    REQUIRE(world.size() == 200);
    world.stop_owner();
    world.run(away);
    world.start_owner();
    CHECK(world.size() == 0);
    world.run(kLastRetry);
    CHECK(world.size() == 200);
    CHECK(world.table().complete_count(kSwarm) == 1);
    world.run(300s);
    CHECK(world.size() == 200);
  }
}

TEST_CASE("connections that keep breaking do not lose anybody for long") {
  const std::uint64_t seed = 31;
  CAPTURE(seed);
  World world(60, seed);
  for (int i = 0; i < 600; ++i) {
    const auto peer = static_cast<std::uint32_t>(world.random().below(60));
    if (world.random().chance(0.5))
      world.drop(peer);
    else
      world.drop_unseen(peer);
    world.run(Duration(world.random().below(2'000'000'000)));
    REQUIRE(world.size() == 60);  // every retry ends within the grace
  }
  world.run(1h);
  CHECK(world.size() == 60);
}

TEST_CASE("peers that stop are gone at once, peers that vanish within their entry's life") {
  World world(30, 2);
  world.run(50s);
  for (std::uint32_t peer = 0; peer < 10; ++peer) world.stop(peer);
  CHECK(world.size() == 20);
  world.run(1h);
  CHECK(world.size() == 20);
}

TEST_CASE("when everybody's clock jumps an hour, everybody is back at once") {
  World world(50, 3);
  world.run(100s);
  world.jump(1h);
  world.run(1s);
  CHECK(world.size() == 50);
  world.run(300s);
  CHECK(world.size() == 50);
}

TEST_CASE("hungry peers that cannot be fed settle down to the interval") {
  World world(10, 4);
  world.run(600s);
  const std::size_t before = world.announces();
  world.run(600s);
  // 10 peers, 600 s, 30 s +- 20 %.
  CHECK(world.announces() - before == Approx(200).epsilon(0.15));
}

TEST_CASE("the same seed gives the same world") {
  const auto run = [](std::uint64_t seed) {
    World world(30, seed);
    world.run(20s);
    world.stop_owner();
    world.run(9s);
    world.start_owner();
    world.run(100s);
    return world.trace();
  };
  CHECK(run(5) == run(5));
  CHECK(run(5) != run(6));
}
