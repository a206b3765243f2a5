// What hostile and missing seeders do to a fetch, and when it gives up.
#include "net/fetch.h"

#include "tests/net/honest_side.h"
#include "tests/net/hostile_peer.h"

using namespace p2p;
using namespace p2p::test;
using peer::ByeReason;

namespace {

constexpr std::size_t kMiB = 1024 * 1024;

// A hostile seeder that the link names, and what it says to who joins.
struct Trap {
  Content content{kMiB};
  HostileListener listener;

  Link link() const { return content.link({listener.where()}); }
  Link link_with(const Seeder& honest) const {
    return content.link({listener.where(), honest.where()});
  }
  net::FetchConfig impatient(const Link& link) const {
    net::FetchConfig config = Fetcher::config(content, link);
    config.patience = std::chrono::milliseconds(300);
    config.stall_patience = std::chrono::milliseconds(300);
    return config;
  }
  // Admits the fetch that dials, with the manifest and all chunks to offer.
  HostilePeer admit() {
    HostilePeer peer = listener.accept_join(content.secret);
    say(peer, peer::Join{peer::kProtocolVersion, content.swarm, 0, ""});
    const Bitfield all(content.manifest->layout().chunk_count(), true);
    say(peer, peer::Chunks{all});
    while (true) {
      const auto message = peer.next_message();
      REQUIRE(message.has_value());
      const auto& swarm = std::get<peer::Message>(*message);
      if (const auto* request = std::get_if<peer::ManifestRequest>(&swarm))
        give_manifest(peer, *request, content.encoded);
      if (std::holds_alternative<peer::Chunks>(swarm)) return peer;
    }
  }
  static void give_manifest(HostilePeer& peer, const peer::ManifestRequest& request,
                            ByteView encoded) {
    const ByteView part = encoded.subspan(request.offset);
    say(peer, peer::ManifestPart{static_cast<std::uint32_t>(encoded.size()), request.offset,
                                 Bytes(part.begin(), part.end())});
  }
  static void say(HostilePeer& peer, const peer::Message& message) { REQUIRE(peer.say(message)); }
  // Answers requests with `give` until the fetch closes; the Bye it said.
  std::optional<peer::Bye> serve(HostilePeer& peer, const std::function<void(ChunkIndex)>& give) {
    std::optional<peer::Bye> bye;
    ChunkIndex next = 0;
    while (const auto message = peer.next_message()) {
      const auto& swarm = std::get<peer::Message>(*message);
      if (const auto* said = std::get_if<peer::Bye>(&swarm)) bye = *said;
      const auto* request = std::get_if<peer::Request>(&swarm);
      if (!request) continue;
      const bool any = request->chunk == peer::kAnyChunk;
      const ChunkIndex chunk =
          any ? next++ % content.manifest->layout().chunk_count() : request->chunk;
      if (any) peer.say(peer::Message(peer::Give{chunk, 0}));
      give(chunk);
    }
    return bye;
  }
  void check_complete(Fetcher& fetcher) {
    listener.close();
    const Status outcome = fetcher.wait();
    INFO((outcome ? "" : outcome.error().message));
    REQUIRE(outcome.has_value());
    CHECK(read_file(content.folder / "got") == content.bytes);
  }
};

Bytes changed(ByteView chunk) {
  Bytes bytes(chunk.begin(), chunk.end());
  bytes[bytes.size() / 2] ^= 1;
  return bytes;
}

}  // namespace

// --- lying seeders

TEST_CASE("one flipped byte: the liar is banned, and alone it is corrupt content") {
  Trap trap;
  Fetcher fetcher(trap.impatient(trap.link()));
  HostilePeer liar = trap.admit();
  const auto bye = trap.serve(
      liar, [&](ChunkIndex chunk) { liar.say_data(chunk, 0, changed(trap.content.chunk(chunk))); });
  REQUIRE(bye.has_value());
  CHECK(bye->reason == ByeReason::kBanned);
  trap.listener.close();
  const Status outcome = fetcher.wait();
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().code == ErrorCode::kCorrupt);
  CHECK(outcome.error().message.find(trap.listener.where().to_string()) != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(trap.content.folder / "got"));
}

TEST_CASE("who says Bye right behind a corrupt chunk is told of all the same") {
  Trap trap;
  Fetcher fetcher(trap.impatient(trap.link()));
  HostilePeer liar = trap.admit();
  std::optional<ChunkIndex> asked;
  while (!asked) {
    const auto message = liar.next_message();
    REQUIRE(message.has_value());
    const auto* request = std::get_if<peer::Request>(&std::get<peer::Message>(*message));
    if (request) asked = request->chunk;
  }
  // In one write, so that the Bye is read before the chunk has been hashed.
  Bytes both;
  const auto add = [&](const Bytes& frame) { both.insert(both.end(), frame.begin(), frame.end()); };
  if (*asked == peer::kAnyChunk) {
    asked = 0;
    add(liar.seal(peer::Message(peer::Give{*asked, 0})));
  }
  Bytes body(8);
  put_u32(body.data(), *asked);
  put_u32(body.data() + 4, 0);
  const Bytes wrong = changed(trap.content.chunk(*asked));
  body.insert(body.end(), wrong.begin(), wrong.end());
  add(liar.seal(FrameKind::kData, body));
  add(liar.seal(peer::Message(peer::Bye{ByeReason::kStopping, ""})));
  REQUIRE(liar.send(both));
  liar.bye();
  trap.listener.close();
  const Status outcome = fetcher.wait();
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().code == ErrorCode::kCorrupt);
}

TEST_CASE(
    "two liars, of which one alternates good and bad, beside an honest seeder: it completes") {
  Trap trap;
  HostileListener other;
  Fetcher fetcher(
      Fetcher::config(trap.content, trap.content.link({trap.listener.where(), other.where()})));
  HostilePeer liar = trap.admit();
  int served = 0;
  trap.serve(liar, [&](ChunkIndex chunk) {
    const ByteView good = trap.content.chunk(chunk);
    liar.say_data(chunk, 0, served++ % 2 == 0 ? Bytes(good.begin(), good.end()) : changed(good));
  });
  trap.listener.close();
  const Seeder honest(trap.content);
  HostilePeer colluder = other.accept_join(trap.content.secret);
  Trap::say(colluder, peer::Join{peer::kProtocolVersion, trap.content.swarm, 0, ""});
  Trap::say(colluder, peer::Chunks{Bitfield(16, true)});
  Trap::say(colluder, peer::Peers{{honest.where()}});
  trap.serve(colluder, [&](ChunkIndex chunk) {
    colluder.say_data(chunk, 0, changed(trap.content.chunk(chunk)));
  });
  trap.check_complete(fetcher);
}

TEST_CASE("who promises and never sends does not stop an honest seeder") {
  Trap trap;
  const Seeder honest(trap.content);
  Fetcher fetcher(Fetcher::config(trap.content, trap.link_with(honest)));
  HostilePeer idle = trap.admit();
  trap.check_complete(fetcher);
}

TEST_CASE("who promises and never sends, alone, is given up in the end") {
  Trap trap;
  Fetcher fetcher(trap.impatient(trap.link()));
  HostilePeer idle = trap.admit();
  const Status outcome = fetcher.wait();
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().code == ErrorCode::kUnreachable);
}

TEST_CASE("who claims to have all and rejects each request does not keep a fetch for ever") {
  Trap trap;
  Fetcher fetcher(trap.impatient(trap.link()));
  HostilePeer peer = trap.listener.accept_join(trap.content.secret);
  Trap::say(peer, peer::Join{peer::kProtocolVersion, trap.content.swarm, 0, ""});
  Trap::say(peer, peer::Chunks{Bitfield(16, true)});
  while (const auto message = peer.next_message()) {
    const auto& swarm = std::get<peer::Message>(*message);
    if (const auto* request = std::get_if<peer::ManifestRequest>(&swarm))
      Trap::give_manifest(peer, *request, trap.content.encoded);
    if (const auto* request = std::get_if<peer::Request>(&swarm))
      peer.say(peer::Message(peer::Reject{request->chunk, peer::RejectReason::kBusy}));
  }
  CHECK(fetcher.wait().error().code == ErrorCode::kUnreachable);
}

TEST_CASE("a manifest that does not match bans its sender, and an honest one is asked") {
  Trap trap;
  const Seeder honest(trap.content);
  Fetcher fetcher(Fetcher::config(trap.content, trap.link()));
  HostilePeer liar = trap.listener.accept_join(trap.content.secret);
  Trap::say(liar, peer::Join{peer::kProtocolVersion, trap.content.swarm, 0, ""});
  const auto request = liar.expect<peer::ManifestRequest>();
  Trap::say(liar, peer::Peers{{honest.where()}});
  Trap::give_manifest(liar, request, changed(trap.content.encoded));
  CHECK(liar.bye().value().reason == ByeReason::kBanned);
  trap.check_complete(fetcher);
}

TEST_CASE("before it has the manifest a fetch takes one Chunks of a neighbour and nothing else") {
  Trap trap;
  Fetcher fetcher(Fetcher::config(trap.content, trap.link()));
  const auto reason_for = [&](const peer::Message& message) {
    HostileListener listener;
    Fetcher dialling(Fetcher::config(trap.content, trap.content.link({listener.where()})));
    HostilePeer peer = listener.accept_join(trap.content.secret);
    Trap::say(peer, peer::Join{peer::kProtocolVersion, trap.content.swarm, 0, ""});
    Trap::say(peer, peer::Chunks{Bitfield(16, true)});
    Trap::say(peer, message);
    const ByeReason reason = peer.bye().value().reason;
    listener.close();
    return reason;
  };
  CHECK(reason_for(peer::Chunks{Bitfield(16, true)}) == ByeReason::kViolation);
  CHECK(reason_for(peer::Have{{1}, 0}) == ByeReason::kViolation);
  CHECK(reason_for(peer::Request{1}) == ByeReason::kViolation);
}

// --- data

TEST_CASE("data that was not asked for, came twice, or is out of order ends the connection") {
  Trap trap;
  const Seeder honest(trap.content);
  Fetcher fetcher(Fetcher::config(trap.content, trap.link()));
  HostilePeer peer = trap.admit();
  trap.say(peer, peer::Peers{{honest.where()}});
  const auto request = peer.expect<peer::Request>();
  const ChunkIndex chunk = request.chunk == peer::kAnyChunk ? 3 : request.chunk;
  if (request.chunk == peer::kAnyChunk) trap.say(peer, peer::Give{chunk, 0});
  SECTION("not asked for") { peer.say_data(chunk + 1, 0, trap.content.chunk(chunk + 1)); }
  SECTION("twice") {
    peer.say_data(chunk, 0, trap.content.chunk(chunk));
    peer.say_data(chunk, 0, trap.content.chunk(chunk));
  }
  SECTION("out of order") { peer.say_data(chunk, 100, Bytes(100)); }
  SECTION("of no chunk") { peer.say_data(0xffffffff, 0, Bytes(100)); }
  SECTION("with no payload") { peer.send(peer.seal(FrameKind::kData, Bytes(8))); }
  SECTION("shorter than its header") { peer.send(peer.seal(FrameKind::kData, Bytes(3))); }
  SECTION("past the end of the chunk") { peer.say_data(chunk, 0, Bytes(kMinChunkBytes + 1)); }
  SECTION("gifts without end") {
    for (ChunkIndex i = 0; i < 256; ++i)
      if (!peer.say(peer::Message(peer::Give{i % 16, 0}))) break;
  }
  CHECK_FALSE(peer.bye().has_value());
  trap.check_complete(fetcher);
}

TEST_CASE(
    "who gives, rejects and gives a chunk again in one breath does not keep a fetch from it") {
  Trap trap;
  const Seeder honest(trap.content);
  Fetcher fetcher(Fetcher::config(trap.content, trap.link_with(honest)));
  HostilePeer peer = trap.admit();
  const auto any = [&] {
    while (peer.expect<peer::Request>().chunk != peer::kAnyChunk) {
    }
  };
  any();
  any();
  Bytes breath;
  for (const peer::Message& message :
       {peer::Message(peer::Give{7, 0}), peer::Message(peer::Reject{7, peer::RejectReason::kBusy}),
        peer::Message(peer::Give{7, 0})}) {
    const Bytes frame = peer.seal(message);
    breath.insert(breath.end(), frame.begin(), frame.end());
  }
  peer.send(breath);
  peer.say_data(7, 0, trap.content.chunk(7));
  trap.check_complete(fetcher);
}

TEST_CASE("chunks in frames of one byte arrive all the same") {
  Trap trap;
  Fetcher fetcher(Fetcher::config(trap.content, trap.link()));
  HostilePeer peer = trap.admit();
  trap.serve(peer, [&](ChunkIndex chunk) {
    const ByteView bytes = trap.content.chunk(chunk);
    if (chunk != 5) return void(peer.say_data(chunk, 0, bytes));
    Bytes frames, body(9);
    for (std::uint32_t i = 0; i < bytes.size(); ++i) {
      put_u32(body.data(), chunk);
      put_u32(body.data() + 4, i);
      body[8] = bytes[i];
      const Bytes frame = peer.seal(FrameKind::kData, body);
      frames.insert(frames.end(), frame.begin(), frame.end());
    }
    peer.send(frames);
  });
  trap.check_complete(fetcher);
}

// --- giving up, and not

TEST_CASE("a wrong secret is refused, at once, with words for the person and without the secret") {
  Trap trap;
  const Seeder honest(trap.content);
  Link wrong = trap.content.link({honest.where()});
  wrong.secret = Secret::random();
  Fetcher fetcher(Fetcher::config(trap.content, wrong));
  const Status outcome = fetcher.wait();
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().code == ErrorCode::kRefused);
  CHECK(outcome.error().message.find(honest.where().to_string()) != std::string::npos);
  CHECK(outcome.error().message.find(wrong.secret->reveal()) == std::string::npos);
}

TEST_CASE("nobody there: unreachable after the patience, with the addresses that were tried") {
  Trap trap;
  trap.listener.close();
  Fetcher fetcher(trap.impatient(trap.link()));
  const Status outcome = fetcher.wait();
  CHECK(outcome.error().code == ErrorCode::kUnreachable);
  CHECK(outcome.error().message.find(trap.listener.where().to_string()) != std::string::npos);
}

TEST_CASE("a name that nobody can look up is unreachable, not a crash") {
  Trap trap;
  Link link = trap.content.link({});
  link.seeders = {{"no-such-host.invalid", 1}, {std::string(250, 'a'), 1}, {"..", 1}};
  Fetcher fetcher(trap.impatient(link));
  CHECK(fetcher.wait().error().code == ErrorCode::kUnreachable);
}

TEST_CASE("a seeder that comes up after the fetch began is found") {
  Trap trap;
  Fetcher fetcher(Fetcher::config(trap.content, trap.link()));
  trap.listener.accept();  // it is dialling, and is hung up on
  trap.listener.close();
  const Seeder honest(trap.content, trap.listener.where());
  trap.check_complete(fetcher);
}

TEST_CASE("a fetch whose own address is in the link does not mistake itself for a seeder") {
  Trap trap;
  const Endpoint own = trap.listener.where();
  trap.listener.close();
  const Seeder honest(trap.content);
  net::FetchConfig config = Fetcher::config(trap.content, trap.content.link({own, honest.where()}));
  config.listen = own;
  Fetcher fetcher(std::move(config));
  trap.check_complete(fetcher);
}

TEST_CASE("a port that is taken ends the fetch with what to do") {
  Trap trap;
  net::FetchConfig config = Fetcher::config(trap.content, trap.link());
  config.listen = trap.listener.where();
  Fetcher fetcher(std::move(config));
  const Status outcome = fetcher.wait();
  CHECK(outcome.error().code == ErrorCode::kIo);
  CHECK(outcome.error().message.find("--listen") != std::string::npos);
}

TEST_CASE("a target whose parent folder is missing ends the fetch and names it") {
  Trap trap;
  const Seeder honest(trap.content);
  net::FetchConfig config = Fetcher::config(trap.content, trap.content.link({honest.where()}));
  config.output = trap.content.folder / "missing" / "got";
  Fetcher fetcher(std::move(config));
  const Status outcome = fetcher.wait();
  CHECK(outcome.error().code == ErrorCode::kIo);
  CHECK(outcome.error().message.find("missing") != std::string::npos);
}

// --- interrupted

TEST_CASE("a fetch is interrupted while it dials, before the manifest, and in the middle") {
  Trap trap;
  Fetcher fetcher(Fetcher::config(trap.content, trap.link()));
  SECTION("before anybody answers") { trap.listener.accept(); }
  SECTION("before the manifest") {
    HostilePeer peer = trap.listener.accept_join(trap.content.secret);
    fetcher.interrupt();
    peer.bye();
  }
  SECTION("in the middle") {
    HostilePeer peer = trap.admit();
    peer.expect<peer::Request>();
    fetcher.interrupt();
    CHECK(peer.bye().value().reason == ByeReason::kStopping);
  }
  fetcher.interrupt();
  CHECK(fetcher.wait().error().code == ErrorCode::kInterrupted);
}

TEST_CASE("a fetch that is interrupted when all is verified ends as done") {
  Trap trap;
  const Seeder honest(trap.content);
  net::FetchConfig config = Fetcher::config(trap.content, trap.content.link({honest.where()}));
  config.linger = std::chrono::hours(1);
  Fetcher* running = nullptr;
  net::FetchHandlers handlers;
  handlers.on_done = [&](const net::FetchProgress&) { running->interrupt(); };
  std::atomic<bool> ready = false;
  handlers.on_manifest = [&](const auto&) {
    while (!ready) std::this_thread::yield();
  };
  Fetcher fetcher(std::move(config), std::move(handlers));
  running = &fetcher;
  ready = true;
  trap.check_complete(fetcher);
}
