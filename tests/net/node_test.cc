// One node, several contents.
#include "net/node.h"

#include <future>

#include "tests/net/honest_side.h"
#include "tests/net/hostile_peer.h"

using namespace p2p;
using namespace p2p::test;

namespace {

// Serves contents, on a loop and thread of its own.
class Host {
 public:
  explicit Host(const std::vector<const Content*>& contents) {
    node_ = std::make_unique<net::Node>(loop_, net::TransportConfig{});
    REQUIRE(node_->transport().listen(any_port()).has_value());
    where_ = node_->transport().local();
    for (const Content* content : contents) serve(*content);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Host() {
    loop_.post([this] { loop_.stop(); });
    thread_.join();
    node_.reset();
  }
  const Endpoint& where() const { return where_; }
  // When this returns it is gone.
  void drop(const Content& content) {
    std::promise<void> done;
    loop_.post([&] {
      node_->drop(content.swarm);
      done.set_value();
    });
    done.get_future().wait();
  }

 private:
  void serve(const Content& content) {
    net::SessionConfig session;
    session.content = content.id;
    session.swarm = content.swarm;
    session.psk = content.secret;
    session.listen_port = where_.port;
    net::SessionHandlers handlers;
    handlers.on_manifest = [](const Bytes&) {};
    handlers.on_completed = [] {};
    handlers.on_store_failed = handlers.on_source_failed = [](const Error&) {};
    handlers.on_problem = [](const std::string&, peer::Problem, ChunkIndex) {};
    auto files = FileSet::open(content.manifest, content.source, FileSet::Mode::kRead);
    REQUIRE(files.has_value());
    const Layout layout = content.manifest->layout();
    auto io = std::make_shared<net::ContentIo>(
        net::ContentIo{content.manifest, layout, std::move(*files), nullptr, content.encoded});
    node_->host(std::move(session), std::move(handlers))
        .session()
        .start(std::move(io), Bitfield(layout.chunk_count(), true));
  }

  net::Loop loop_;
  std::unique_ptr<net::Node> node_;
  Endpoint where_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a node gives each of its contents to those who have its key") {
  const Content one(1 << 20), other((1 << 20) + 8);
  const Host host({&one, &other});
  check_fetch(one, one.link({host.where()}));
  check_fetch(other, other.link({host.where()}));
  // Not to who has the key of another.
  HostilePeer peer(host.where(), one.secret);
  REQUIRE(peer.say(peer::Message(peer::Join{peer::kProtocolVersion, other.swarm, 0, ""})));
  CHECK_FALSE(peer.next_message().has_value());
}

TEST_CASE("a content that is dropped is gone from its node at once, and the others stay") {
  const Content one(1 << 20), other((1 << 20) + 8);
  Host host({&one, &other});
  HostilePeer of_one(host.where(), one.secret), of_other(host.where(), other.secret);
  of_one.join(one.swarm);
  of_other.join(other.swarm);
  host.drop(one);
  const auto bye = of_one.bye();
  REQUIRE(bye.has_value());
  CHECK(bye->reason == peer::ByeReason::kStopping);
  HostilePeer late(host.where(), other.secret);  // its own opens nothing any more
  REQUIRE(late.say(peer::Message(peer::Join{peer::kProtocolVersion, one.swarm, 0, ""})));
  const auto refusal = late.bye();
  REQUIRE(refusal.has_value());
  CHECK(refusal->reason == peer::ByeReason::kNotServed);
  check_fetch(other, other.link({host.where()}));
}
