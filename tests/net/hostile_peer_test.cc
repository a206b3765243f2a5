// What hostile peers do to a seeder; after each, an honest one is still served.
#include "tests/net/hostile_peer.h"

#include <sys/resource.h>

#include "tests/net/honest_side.h"

using namespace p2p;
using namespace p2p::test;
using peer::ByeReason;

namespace {

constexpr std::size_t kMiB = 1024 * 1024;

net::ConnectionTimeouts short_timeouts() {
  net::ConnectionTimeouts timeouts;
  timeouts.first_message = std::chrono::milliseconds(300);
  timeouts.frame = std::chrono::milliseconds(300);
  return timeouts;
}

// A seeder of a small content, checked at the end to serve still.
struct Stage {
  Content content;
  Seeder seeder;

  explicit Stage(std::size_t size = kMiB, net::ConnectionTimeouts timeouts = {})
      : content(size), seeder(content, any_port(), timeouts) {}
  ~Stage() noexcept(false) { check_fetch(content, content.link({seeder.where()})); }

  HostilePeer dial(const KeyPair& keys = KeyPair::random()) {
    return HostilePeer(seeder.where(), content.secret, keys);
  }
  HostilePeer joined() {
    HostilePeer peer = dial();
    peer.join(content.swarm);
    return peer;
  }
};

peer::Message join_of(const SwarmId& swarm, std::uint32_t version = peer::kProtocolVersion) {
  return peer::Join{version, swarm, 0, ""};
}

std::size_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6)) * 1024;
  return 0;
}

// What the process has grown by. Sanitizers keep freed memory: there it says nothing.
struct Growth {
  std::size_t before = resident_bytes();
  std::size_t bytes() const {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#else
    const std::size_t now = resident_bytes();
    return now > before ? now - before : 0;
#endif
  }
};

void allow_many_descriptors() { net::raise_descriptor_limit(); }

}  // namespace

// --- before and in the handshake

TEST_CASE("garbage instead of a handshake is closed without an answer") {
  Stage stage;
  for (const std::string text : {"GET / HTTP/1.1\r\n\r\n", "p2p2", "p2p1\xff\xff", "p2p1\0\0"}) {
    Socket socket = Socket::dial(stage.seeder.where());
    REQUIRE(socket.send(bytes_of(text + std::string(100, 'x'))));
    CHECK(socket.receive_to_end() == 0);
  }
}

TEST_CASE("a thousand connections that send one byte and stop cost little, and lock nobody out") {
  allow_many_descriptors();
  Stage stage;
  const Growth growth;
  std::vector<Socket> sockets;
  for (int i = 0; i < 1500; ++i) {
    sockets.push_back(Socket::dial(stage.seeder.where()));
    REQUIRE(sockets.back().send(bytes_of("p")));
  }
  stage.dial();  // shakes hands among them
  CHECK(growth.bytes() < 32 * kMiB);
}

TEST_CASE("who shakes hands and then says nothing, or nothing that says why it came, is closed") {
  Stage stage(kMiB, short_timeouts());
  HostilePeer silent = stage.dial();
  HostilePeer gossip = stage.dial();
  REQUIRE(gossip.say(peer::Message(peer::Peers{{*Endpoint::parse("127.0.0.1:1")}})));
  CHECK_FALSE(silent.bye().has_value());
  CHECK_FALSE(gossip.bye().has_value());
}

// --- frames

TEST_CASE("a length past the limit ends the connection before the frame comes") {
  Stage stage;
  for (const std::uint32_t header :
       {0x00ffffffu, 0x80ffffffu, 0x00002000u, 0x01000001u, 0x7f000001u}) {
    HostilePeer peer = stage.dial();
    Bytes bytes(4);
    put_u32(bytes.data(), header);
    REQUIRE(peer.send(bytes));
    CHECK_FALSE(peer.bye().has_value());
  }
}

TEST_CASE("replayed, reordered, changed and truncated frames end the connection") {
  Stage stage;
  const peer::Message message = peer::Peers{};
  SECTION("replayed") {
    HostilePeer peer = stage.joined();
    const Bytes frame = peer.seal(message);
    REQUIRE(peer.send(frame));
    peer.send(frame);
    CHECK_FALSE(peer.bye().has_value());
  }
  SECTION("reordered") {
    HostilePeer peer = stage.joined();
    const Bytes first = peer.seal(message);
    const Bytes second = peer.seal(message);
    REQUIRE(peer.send(second));
    peer.send(first);
    CHECK_FALSE(peer.bye().has_value());
  }
  SECTION("one bit flipped, at every byte") {
    const std::size_t size = stage.dial().seal(message).size();
    for (std::size_t i = kFrameHeaderBytes; i < size; ++i) {
      HostilePeer peer = stage.dial();
      Bytes frame = peer.seal(join_of(stage.content.swarm));
      frame[i] ^= 0x10;
      REQUIRE(peer.send(frame));
      CHECK_FALSE(peer.bye().has_value());
    }
  }
  SECTION("truncated") {
    HostilePeer peer = stage.joined();
    Bytes frame = peer.seal(message);
    frame.resize(frame.size() - 1);
    REQUIRE(peer.send(frame));
    shutdown(peer.socket().fd(), SHUT_WR);
    peer.socket().receive_to_end();
  }
}

TEST_CASE("a frame that does not go on, or goes on byte by byte, ends the connection") {
  Stage stage(kMiB, short_timeouts());
  HostilePeer stopped = stage.joined();
  HostilePeer dribbling = stage.joined();
  const Bytes frame = stopped.seal(FrameKind::kMessage, Bytes(1000));
  REQUIRE(stopped.send(ByteView(frame).first(500)));
  const Bytes slow = dribbling.seal(FrameKind::kMessage, Bytes(100'000));
  std::size_t sent = 0;
  while (!dribbling.socket().ends_within(std::chrono::milliseconds(5)))
    dribbling.send(ByteView(slow).subspan(sent++, 1));
  CHECK(sent < slow.size());
  CHECK_FALSE(stopped.bye().has_value());
}

TEST_CASE("half a large frame on each of many connections costs what was sent") {
  allow_many_descriptors();
  Stage stage;
  const Growth growth;
  std::vector<std::unique_ptr<HostilePeer>> peers;
  for (int i = 0; i < 200; ++i) {
    peers.push_back(std::make_unique<HostilePeer>(stage.seeder.where(), stage.content.secret));
    const Bytes frame = peers.back()->seal(FrameKind::kMessage, Bytes(4000));
    REQUIRE(peers.back()->send(ByteView(frame).first(2000)));
  }
  stage.joined();  // all of it was read before this
  CHECK(growth.bytes() < 32 * kMiB);
}

// --- messages

TEST_CASE("a message before Join, a second Join and a wrong Join are told and closed") {
  Stage stage;
  const auto reason_for = [&](std::vector<peer::Message> messages) {
    HostilePeer peer = stage.dial();
    for (const peer::Message& message : messages) REQUIRE(peer.say(message));
    return peer.bye().value().reason;
  };
  const SwarmId& swarm = stage.content.swarm;
  CHECK(reason_for({peer::Request{0}}) == ByeReason::kViolation);
  CHECK(reason_for({peer::Have{}}) == ByeReason::kViolation);
  CHECK(reason_for({peer::ManifestRequest{0}}) == ByeReason::kViolation);
  CHECK(reason_for({join_of(swarm), join_of(swarm)}) == ByeReason::kViolation);
  CHECK(reason_for({join_of(swarm, 2)}) == ByeReason::kVersion);
  CHECK(reason_for({join_of(SwarmId{})}) == ByeReason::kNotServed);
}

TEST_CASE("chunks out of range, maps of another size and requests before Chunks are violations") {
  Stage stage;
  const Bitfield none(stage.content.manifest->layout().chunk_count(), false);
  const auto reason_for = [&](std::vector<peer::Message> messages) {
    HostilePeer peer = stage.joined();
    for (const peer::Message& message : messages) REQUIRE(peer.say(message));
    return peer.bye().value().reason;
  };
  CHECK(reason_for({peer::Request{0}}) == ByeReason::kViolation);
  CHECK(reason_for({peer::Chunks{Bitfield(none.size() + 1, false)}}) == ByeReason::kViolation);
  CHECK(reason_for({peer::Chunks{none}, peer::Chunks{none}}) == ByeReason::kViolation);
  CHECK(reason_for({peer::Chunks{none}, peer::Request{none.size()}}) == ByeReason::kViolation);
  CHECK(reason_for({peer::Chunks{none}, peer::Have{{none.size()}, 0}}) == ByeReason::kViolation);
}

TEST_CASE("spare bits and what is no message at all end the connection") {
  Stage stage;
  Bytes spare = net::encode_wire(peer::Message(peer::Chunks{[] {
    Bitfield some(10, false);
    some.set(3);
    return some;
  }()}));
  spare.back() |= 1;
  for (const Bytes& body : {spare, Bytes{}, Bytes{2}, Bytes{3, 0x90},
                            Bytes{2, 0xdd, 0xff, 0xff, 0xff, 0xff}, Bytes(5000, 0x91)}) {
    HostilePeer peer = stage.joined();
    REQUIRE(peer.send(peer.seal(FrameKind::kMessage, body)));
    CHECK_FALSE(peer.bye().has_value());
  }
}

TEST_CASE("data that a seeder did not ask for, and gifts to it, end the connection") {
  Stage stage;
  HostilePeer sends = stage.joined();
  REQUIRE(sends.say_data(0, 0, stage.content.chunk(0)));
  CHECK_FALSE(sends.bye().has_value());
  HostilePeer gives = stage.joined();
  REQUIRE(gives.say(peer::Message(peer::Give{0, 0})));
  CHECK_FALSE(gives.bye().has_value());
}

TEST_CASE("announces and a swarm on one connection end it") {
  Stage stage;
  HostilePeer peer = stage.joined();
  REQUIRE(peer.say(tracker::Message(tracker::Lookup{stage.content.swarm, 5})));
  CHECK_FALSE(peer.bye().has_value());
}

TEST_CASE("a second connection of one peer is turned away as a duplicate") {
  Stage stage;
  const KeyPair keys = KeyPair::random();
  HostilePeer first = stage.dial(keys);
  first.join(stage.content.swarm);
  HostilePeer second = stage.dial(keys);
  REQUIRE(second.say(join_of(stage.content.swarm)));
  CHECK(second.bye().value().reason == ByeReason::kDuplicate);
}

// --- floods

TEST_CASE("more open requests than allowed are a violation") {
  Stage stage(20 * kMiB);  // 320 chunks
  HostilePeer peer = stage.joined();
  const Bitfield none(stage.content.manifest->layout().chunk_count(), false);
  REQUIRE(peer.say(peer::Message(peer::Chunks{none})));
  for (ChunkIndex i = 0; i < none.size(); ++i)
    if (!peer.say(peer::Message(peer::Request{i}))) break;
  CHECK(peer.bye().value().reason == ByeReason::kViolation);
}

TEST_CASE("who asks for much and reads nothing holds nobody up and costs little") {
  Stage stage(20 * kMiB);
  // So that the seeder knows how long a send takes: before, it is patient with the first.
  check_fetch(stage.content, stage.content.link({stage.seeder.where()}));
  const Growth growth;
  std::vector<std::unique_ptr<HostilePeer>> peers;
  for (int i = 0; i < 2; ++i) {
    peers.push_back(std::make_unique<HostilePeer>(stage.joined()));
    REQUIRE(peers.back()->say(peer::Message(peer::Chunks{Bitfield(320, false)})));
    for (ChunkIndex chunk = 0; chunk < 200; ++chunk)
      REQUIRE(peers.back()->say(peer::Message(peer::Request{chunk})));
  }
  check_fetch(stage.content, stage.content.link({stage.seeder.where()}));
  CHECK(growth.bytes() < 64 * kMiB);
}

TEST_CASE("a flood of small requests for large parts of the manifest is cut off") {
  // A manifest of more than one part: many long names.
  Content content(0);
  std::filesystem::remove(content.source);
  std::filesystem::create_directory(content.source);
  for (int i = 0; i < 3000; ++i)
    std::ofstream(content.source / (std::to_string(i) + std::string(200, 'n')));
  content.scan();
  REQUIRE(content.encoded.size() > 2 * peer::kMaxManifestPartBytes);
  Seeder seeder(content);
  const Growth growth;
  HostilePeer peer(seeder.where(), content.secret);
  peer.join(content.swarm);
  Bytes flood;
  for (int i = 0; i < 20'000; ++i) {
    const Bytes frame = peer.seal(peer::Message(peer::ManifestRequest{0}));
    flood.insert(flood.end(), frame.begin(), frame.end());
  }
  peer.send(flood);
  const std::size_t got = peer.socket().receive_to_end();
  CHECK(got < 20'000 * peer::kMaxManifestPartBytes / 10);
  CHECK(growth.bytes() < 64 * kMiB);
}

TEST_CASE("floods of Peers and keep-alives pass, and others are served meanwhile") {
  Stage stage;
  HostilePeer peer = stage.joined();
  std::vector<Endpoint> many;
  for (std::uint16_t i = 1; i <= kMaxPeersInMessage; ++i)
    many.push_back(Endpoint{*IpAddress::parse("127.0.0.1"), i});
  REQUIRE(peer.say(peer::Message(peer::Chunks{Bitfield(16, false)})));
  for (int i = 0; i < 5000; ++i) {
    REQUIRE(peer.say(peer::Message(peer::Peers{many})));
    REQUIRE(peer.say(peer::Message(peer::Have{{}, 0xffffffff})));
  }
  check_fetch(stage.content, stage.content.link({stage.seeder.where()}));
}

TEST_CASE("who announces port 0 is never named to others") {
  Stage stage;
  const auto announce = [&](HostilePeer& peer, std::uint16_t port) {
    tracker::Announce message;
    message.swarm = stage.content.swarm;
    message.event = tracker::Event::kStarted;
    message.port = port;
    message.want = 50;
    REQUIRE(peer.say(tracker::Message(message)));
    const auto answer = peer.next_message();
    REQUIRE(answer.has_value());
    return std::get<tracker::Handout>(std::get<tracker::Message>(*answer)).peers;
  };
  HostilePeer nowhere = stage.dial(), somewhere = stage.dial(), asker = stage.dial();
  announce(nowhere, 0);
  announce(somewhere, 9);
  for (const tracker::PeerRecord& record : announce(asker, 0)) {
    CHECK(record.endpoint.port != 0);
    CHECK((record.endpoint == stage.seeder.where() || record.endpoint.port == 9));
  }
}
