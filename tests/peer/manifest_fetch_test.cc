#include "peer/manifest_fetch.h"

#include <catch2/catch.hpp>

#include "crypto/digest.h"

using namespace p2p;
using namespace p2p::peer;
using std::chrono::seconds;

namespace {

Bytes manifest_of(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return bytes;
}

struct Fetcher {
  explicit Fetcher(const Bytes& manifest) : fetch(content_id_of(manifest)) {}

  void drain() {
    while (auto action = fetch.poll_action()) {
      if (const auto* message = std::get_if<SendMessage>(&*action)) {
        asked.push_back({message->connection, std::get<ManifestRequest>(message->message).offset});
      } else if (const auto* disconnect = std::get_if<Disconnect>(&*action)) {
        disconnects.push_back(*disconnect);
      } else {
        done = std::get<ManifestDone>(*action).encoded;
      }
    }
  }
  void join(ConnectionId connection) {
    fetch.on_connected(connection, now);
    drain();
  }
  void part(ConnectionId connection, const ManifestPart& part) {
    fetch.on_part(connection, part, now);
    drain();
  }
  // The part of `manifest` at `offset`, as an honest neighbour sends it.
  void honest(ConnectionId connection, const Bytes& manifest, std::size_t offset) {
    const auto from = manifest.begin() + static_cast<std::ptrdiff_t>(offset);
    const std::size_t size = std::min(manifest.size() - offset, kMaxManifestPartBytes);
    part(connection,
         {static_cast<std::uint32_t>(manifest.size()), static_cast<std::uint32_t>(offset),
          Bytes(from, from + static_cast<std::ptrdiff_t>(size))});
  }
  void has_manifest(ConnectionId connection) {
    fetch.on_has_manifest(connection, now);
    drain();
  }
  void wait(Duration duration) {
    now += duration;
    fetch.on_timeout(now);
    drain();
  }

  Time now{};
  ManifestFetch fetch;
  std::vector<std::pair<ConnectionId, std::uint32_t>> asked;
  std::vector<Disconnect> disconnects;
  std::optional<Bytes> done;
};

using Asked = std::vector<std::pair<ConnectionId, std::uint32_t>>;

}  // namespace

TEST_CASE("a manifest is fetched part by part from one neighbour") {
  const Bytes manifest = manifest_of(2 * kMaxManifestPartBytes + 5);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.join(2);
  for (std::size_t at = 0; at < manifest.size(); at += kMaxManifestPartBytes)
    fetcher.honest(1, manifest, at);
  CHECK(fetcher.done == manifest);
  CHECK(fetcher.asked == Asked{{1, 0}, {1, 262144}, {1, 524288}});
  CHECK(fetcher.fetch.next_timeout() == kNever);
  // Whoever comes later is not asked, and what still comes is ignored.
  fetcher.join(3);
  fetcher.honest(2, manifest, 0);
  CHECK(fetcher.asked.size() == 3);
  CHECK(fetcher.disconnects.empty());
}

TEST_CASE("a manifest that is known is asked of nobody") {
  const Bytes manifest = manifest_of(100);
  Fetcher fetcher(manifest);
  fetcher.fetch.set_known();
  fetcher.join(1);
  fetcher.has_manifest(1);
  CHECK(fetcher.asked.empty());
  CHECK(fetcher.fetch.next_timeout() == kNever);
}

TEST_CASE("a whole that does not match bans its sender, and the next is asked") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.join(2);
  Bytes wrong = manifest;
  wrong[500] ^= 1;
  fetcher.honest(1, wrong, 0);
  REQUIRE(fetcher.disconnects.size() == 1);
  CHECK(fetcher.disconnects[0].connection == 1);
  CHECK(fetcher.disconnects[0].ban);
  fetcher.honest(2, manifest, 0);
  CHECK(fetcher.done == manifest);
}

TEST_CASE("parts that do not fit what was asked end the connection") {
  const Bytes manifest = manifest_of(300'000);
  const auto text_for = [&](std::vector<ManifestPart> parts) {
    Fetcher fetcher(manifest);
    fetcher.join(1);
    for (const ManifestPart& part : parts) fetcher.part(1, part);
    CHECK_FALSE(fetcher.done.has_value());
    return fetcher.disconnects.empty() ? "" : fetcher.disconnects[0].bye.text;
  };
  const Bytes full(kMaxManifestPartBytes);
  const std::string text = "a manifest part that does not fit";
  CHECK(text_for({{300'000, 0, full}}).empty());
  CHECK(text_for({{300'000, 10, full}}) == text);                     // elsewhere
  CHECK(text_for({{300'000, 0, full}, {300'000, 0, full}}) == text);  // the same again
  CHECK(text_for({{300'000, 0, full}, {299'999, 262'144, Bytes(37'855)}}) ==
        text);                                        // changed total
  CHECK(text_for({{300'000, 0, Bytes(1)}}) == text);  // a drop at a time
  CHECK(text_for({{300'000, 0, {}}}) == text);        // nothing of it
  CHECK(text_for({{300'000, 0, full}, {300'000, 262'144, Bytes(37'857)}}) == text);  // past the end
  CHECK(text_for({{0, 0, Bytes(5)}}) == text);
  CHECK(text_for({{kMaxManifestBytes + 1, 0, full}}) == text);
}

TEST_CASE("a part of a neighbour that was not asked ends its connection") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.join(2);
  fetcher.honest(2, manifest, 0);
  REQUIRE(fetcher.disconnects.size() == 1);
  CHECK(fetcher.disconnects[0].connection == 2);
  CHECK(fetcher.disconnects[0].bye.reason == ByeReason::kViolation);
  CHECK_FALSE(fetcher.done.has_value());
}

TEST_CASE("a neighbour that does not answer is passed over, and its late part is no violation") {
  const Bytes manifest = manifest_of(300'000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.join(2);
  fetcher.wait(seconds(4));
  CHECK(fetcher.asked == Asked{{1, 0}});
  fetcher.wait(seconds(1));
  CHECK(fetcher.asked == Asked{{1, 0}, {2, 0}});
  fetcher.honest(1, manifest, 0);
  CHECK(fetcher.disconnects.empty());
  fetcher.honest(1, manifest, 0);  // but a second one is
  CHECK(fetcher.disconnects.size() == 1);
  fetcher.honest(2, manifest, 0);
  fetcher.honest(2, manifest, kMaxManifestPartBytes);
  CHECK(fetcher.done == manifest);
}

TEST_CASE("a slow only neighbour gets through though its answers come late") {
  const Bytes manifest = manifest_of(300'000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.wait(seconds(5));
  fetcher.wait(seconds(5));
  CHECK(fetcher.asked == Asked{{1, 0}, {1, 0}});
  fetcher.honest(1, manifest, 0);  // the answer to the first
  CHECK(fetcher.asked.back() == std::pair<ConnectionId, std::uint32_t>{1, 262144});
  fetcher.honest(1, manifest, 0);  // the answer to the second
  fetcher.honest(1, manifest, kMaxManifestPartBytes);
  CHECK(fetcher.disconnects.empty());
  CHECK(fetcher.done == manifest);
}

TEST_CASE("a first part that comes late is taken where nobody else was asked meanwhile") {
  const Bytes manifest = manifest_of(300'000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.wait(seconds(5));
  fetcher.wait(seconds(1));
  fetcher.honest(1, manifest, 0);
  CHECK(fetcher.asked == Asked{{1, 0}, {1, 262144}});
  fetcher.honest(1, manifest, kMaxManifestPartBytes);
  CHECK(fetcher.done == manifest);
  CHECK(fetcher.disconnects.empty());
}

TEST_CASE("an only neighbour that takes longer than the timeout for each part gets through") {
  const Bytes manifest = manifest_of(3 * kMaxManifestPartBytes);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  const Duration takes = GENERATE(seconds(6), seconds(30), seconds(100));
  // It answers one request after the other.
  std::size_t answered = 0;
  Time begun = fetcher.now;
  while (!fetcher.done && fetcher.now < Time{} + std::chrono::hours(1)) {
    fetcher.wait(seconds(1));
    if (answered == fetcher.asked.size()) begun = fetcher.now;
    if (answered == fetcher.asked.size() || fetcher.now < begun + takes) continue;
    fetcher.honest(1, manifest, fetcher.asked[answered++].second);
    begun = fetcher.now;
  }
  CHECK(fetcher.disconnects.empty());
  CHECK(fetcher.done == manifest);
  // Not much is asked for in vain.
  CHECK(fetcher.asked.size() <= 3 + 10);
}

TEST_CASE("the time for a part grows with each that a neighbour is passed over, up to a limit") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  Duration before{0};
  for (const int time : {5, 10, 20, 40, 80, 160, 300, 300}) {
    CHECK(fetcher.fetch.next_timeout() - fetcher.now == seconds(time));
    fetcher.wait(fetcher.fetch.next_timeout() - fetcher.now);
    fetcher.wait(kManifestPartTimeout);
  }
  // Others do not wait for it any longer than before.
  fetcher.join(2);
  CHECK(fetcher.asked.back().first == 1);
  fetcher.wait(kManifestPartTimeout);
  CHECK(fetcher.asked.back().first == 2);
  CHECK(fetcher.fetch.next_timeout() - fetcher.now == kManifestPartTimeout);
}

namespace {

// The first neighbour is silent, and was passed over so often that it has long; the third had no
// manifest when it was asked.
void wait_for_silent_one(Fetcher& fetcher) {
  fetcher.join(1);
  for (int i = 0; i < 3; ++i) {
    fetcher.wait(fetcher.fetch.next_timeout() - fetcher.now);
    fetcher.wait(kManifestPartTimeout);
  }
  fetcher.join(3);
  fetcher.wait(kManifestPartTimeout);
  fetcher.part(3, {});
  fetcher.wait(kManifestPartTimeout);
  REQUIRE(fetcher.asked.back().first == 1);
  REQUIRE(fetcher.fetch.next_timeout() - fetcher.now >= 8 * kManifestPartTimeout);
}

}  // namespace

TEST_CASE("a silent neighbour that has long is passed over at once when a new one comes") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  wait_for_silent_one(fetcher);
  fetcher.wait(kManifestPartTimeout - seconds(1));
  fetcher.join(5);
  CHECK(fetcher.asked.back().first == 1);
  fetcher.wait(seconds(1));
  CHECK(fetcher.asked.back().first == 5);
  // When it is silent as well the first has its time again, until the next comes.
  fetcher.wait(kManifestPartTimeout);
  fetcher.part(3, {});
  CHECK(fetcher.asked.back().first == 1);
  fetcher.wait(kManifestPartTimeout + seconds(1));
  CHECK(fetcher.asked.back().first == 1);
  fetcher.join(6);
  CHECK(fetcher.asked.back().first == 6);
  fetcher.honest(6, manifest, 0);
  CHECK(fetcher.done == manifest);
}

TEST_CASE("a silent neighbour that has long is passed over when another has got the manifest") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  wait_for_silent_one(fetcher);
  fetcher.wait(kManifestPartTimeout + seconds(1));
  CHECK(fetcher.asked.back().first == 1);
  fetcher.has_manifest(3);
  CHECK(fetcher.asked.back().first == 3);
  fetcher.honest(3, manifest, 0);
  CHECK(fetcher.done == manifest);
}

TEST_CASE("a slow neighbour that has given a part is not passed over sooner for a new one") {
  const Bytes manifest = manifest_of(300'000);
  Fetcher fetcher(manifest);
  wait_for_silent_one(fetcher);
  fetcher.honest(1, manifest, 0);
  fetcher.join(5);
  fetcher.wait(4 * kManifestPartTimeout);
  CHECK(fetcher.asked.back() == std::pair<ConnectionId, std::uint32_t>{1, 262144});
  fetcher.honest(1, manifest, kMaxManifestPartBytes);
  CHECK(fetcher.done == manifest);
}

TEST_CASE("a neighbour without a manifest is asked again after a while, others before") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.part(1, {});
  CHECK(fetcher.asked == Asked{{1, 0}});
  CHECK(fetcher.fetch.next_timeout() == Time{} + kManifestPartTimeout);
  fetcher.join(2);
  fetcher.part(2, {});
  fetcher.wait(kManifestPartTimeout);
  CHECK(fetcher.asked == Asked{{1, 0}, {2, 0}, {1, 0}});
  fetcher.honest(1, manifest, 0);
  CHECK(fetcher.done == manifest);
}

TEST_CASE("who has got the manifest is asked at once, though it had none a moment ago") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  for (ConnectionId connection : {1, 2, 3}) {
    fetcher.join(connection);
    fetcher.part(connection, {});
  }
  REQUIRE(fetcher.asked == Asked{{1, 0}, {2, 0}, {3, 0}});
  fetcher.has_manifest(3);
  CHECK(fetcher.asked == Asked{{1, 0}, {2, 0}, {3, 0}, {3, 0}});
  fetcher.honest(3, manifest, 0);
  CHECK(fetcher.done == manifest);
}

TEST_CASE("who has got the manifest comes next, before those who came earlier") {
  const Bytes manifest = manifest_of(1000);
  Fetcher fetcher(manifest);
  for (ConnectionId connection : {1, 2, 3}) fetcher.join(connection);
  fetcher.has_manifest(3);
  CHECK(fetcher.asked == Asked{{1, 0}});  // one at a time
  fetcher.part(1, {});
  CHECK(fetcher.asked == Asked{{1, 0}, {3, 0}});
  // Nothing changes for the one that is asked, nor for who was never heard of.
  fetcher.has_manifest(3);
  fetcher.has_manifest(77);
  CHECK(fetcher.asked.size() == 2);
  fetcher.honest(3, manifest, 0);
  CHECK(fetcher.done == manifest);
  fetcher.has_manifest(2);
  CHECK(fetcher.asked.size() == 2);
}

TEST_CASE("when the one that is asked goes, the next starts from the beginning") {
  const Bytes manifest = manifest_of(300'000);
  Fetcher fetcher(manifest);
  fetcher.join(1);
  fetcher.honest(1, manifest, 0);
  fetcher.fetch.on_disconnected(1, fetcher.now);
  fetcher.drain();
  CHECK(fetcher.fetch.next_timeout() == kNever);
  fetcher.join(2);
  CHECK(fetcher.asked.back() == std::pair<ConnectionId, std::uint32_t>{2, 0});
  fetcher.fetch.on_disconnected(7, fetcher.now);  // never heard of
  fetcher.honest(2, manifest, 0);
  fetcher.honest(2, manifest, kMaxManifestPartBytes);
  CHECK(fetcher.done == manifest);
}
