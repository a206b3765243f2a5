// Members of a cluster on real sockets: who finds what through the hash table, and what the
// cluster's key opens.
#include "tests/net/honest_side.h"
#include "tests/net/hostile_peer.h"

using namespace p2p;
using namespace p2p::test;
using namespace std::chrono_literals;

namespace {

net::GossipConfig member_of(const Secret& key, std::vector<HostPort> join = {}) {
  net::GossipConfig config;
  config.listen = any_port();
  config.join = std::move(join);
  config.keys = Keyring::of({key}).value();
  config.epoch = 1;
  return config;
}

// A member alone, on a loop of its own that `done` ends.
class Member {
 public:
  Member(net::GossipConfig config, std::function<bool(const net::GossipService&)> done)
      : done_(std::move(done)),
        gossip_(loop_, std::move(config), KeyPair::random().public_key, Random(random_seed()),
                {[this] { look(); }, {}, {}}),
        deadline_(loop_, [this] { loop_.stop(); }),
        look_(loop_, [this] { look(); }) {}

  // Whether it came to that in time.
  bool run() {
    REQUIRE(gossip_.start(4000).has_value());
    deadline_.arm(net::Loop::now() + 10s);
    look();
    loop_.run();
    return done_(gossip_);
  }

 private:
  void look() {
    if (done_(gossip_)) return loop_.stop();
    look_.arm(net::Loop::now() + 10ms);
  }

  net::Loop loop_;
  std::function<bool(const net::GossipService&)> done_;
  net::GossipService gossip_;
  net::Timer deadline_, look_;
};

}  // namespace

TEST_CASE("who knows a member alone finds the content by the hash table") {
  const Content content(1 << 20);
  const Secret key = Secret::random();
  const Seeder seeder(content, any_port(), {}, member_of(key));
  net::FetchConfig config = Fetcher::config(content, content.link({}));
  config.gossip = member_of(key, seeder.members());
  Fetcher fetcher(std::move(config));
  const Status outcome = fetcher.wait();
  INFO((outcome ? "" : outcome.error().message));
  REQUIRE(outcome.has_value());
  CHECK(read_file(content.folder / "got") == content.bytes);
}

TEST_CASE("who has the cluster's key alone may announce a content, and is given none of it") {
  const Content content(1 << 20);
  const Secret key = Secret::random();
  const Seeder seeder(content, any_port(), {}, member_of(key));
  SECTION("it is no peer, though it knows the swarm's id as every owner does") {
    HostilePeer peer(seeder.where(), key);
    REQUIRE(peer.say(peer::Message(peer::Join{peer::kProtocolVersion, content.swarm, 0, ""})));
    CHECK_FALSE(peer.next_message().has_value());
  }
  SECTION("with the content's own it is one") {
    HostilePeer peer(seeder.where(), content.secret);
    peer.join(content.swarm);
  }
  SECTION("it may ask who has it") {
    HostilePeer peer(seeder.where(), key);
    REQUIRE(peer.say(tracker::Message(tracker::Lookup{content.swarm, 5})));
    const auto answer = peer.next_message();
    REQUIRE(answer.has_value());
    CHECK(std::holds_alternative<tracker::Handout>(std::get<tracker::Message>(*answer)));
  }
}

TEST_CASE("who has another cluster's key is not answered") {
  const Content content(1 << 16);
  const Seeder seeder(content, any_port(), {}, member_of(Secret::random()));
  const Secret other_key = Secret::random();
  // It greets more than once, and anything that came would be counted.
  CHECK(Member(member_of(other_key, seeder.members()), [](const net::GossipService& gossip) {
          return gossip.counts().sent > 1 && gossip.counts().received == 0;
        }).run());
}

TEST_CASE("one who looks on sees all members and is none") {
  const Content content(1 << 16);
  const Secret key = Secret::random();
  const Seeder seeder(content, any_port(), {}, member_of(key));
  net::GossipConfig looking = member_of(key, seeder.members());
  looking.observer = true;
  CHECK(Member(std::move(looking), [](const net::GossipService& gossip) {
          return gossip.membership().in_step() && gossip.membership().table().live() == 1;
        }).run());
  // The seeder has not heard of a member since.
  CHECK(Member(member_of(key, seeder.members()), [](const net::GossipService& gossip) {
          return gossip.membership().table().live() == 2;
        }).run());
}
