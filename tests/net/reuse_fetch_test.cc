// Fetches beside an older version, from an honest seeder.
#include <future>
#include <map>
#include <mutex>

#include "net/download.h"
#include "tests/content/memory_content.h"
#include "tests/net/honest_side.h"
#include "tests/net/hostile_peer.h"

using namespace p2p;
using namespace p2p::test;

namespace {

constexpr std::size_t kSize = 4'000'000;

// Of the content, with three odd bytes in front, a few changed, and some left out.
std::string older_text(const Content& content) {
  std::string text = "odd" + std::string(text_of(content.bytes));
  for (std::size_t at : {100'000u, 1'500'000u, 1'500'900u, 3'100'000u}) text[at] ^= 1;
  text.erase(2'000'000, 5'001);
  return text;
}

// Right when a place is read first, wrong from the second time on: it was written to meanwhile.
class ChangingContent : public MemoryContent {
 public:
  using MemoryContent::MemoryContent;
  Status read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const override {
    P2P_TRY(MemoryContent::read(chunk, offset, out));
    const std::lock_guard lock(mutex_);
    const std::uint64_t start = layout().offset_of(chunk) + offset;
    for (std::size_t i = 0; i < out.size(); ++i)
      if (seen_[start + i]++ > 0) out[i] ^= 0xff;
    return {};
  }

 private:
  mutable std::mutex mutex_;
  mutable std::vector<std::uint8_t> seen_ = std::vector<std::uint8_t>(kSize + 100);
};

template <typename Kind>
net::FetchConfig config_with(const Content& content, const Seeder& seeder, std::string older) {
  net::FetchConfig config = Fetcher::config(content, content.link({seeder.where()}));
  config.older = [older = std::make_shared<Kind>(std::move(older))] {
    return Result(std::make_unique<OldContents>(std::vector<OldSource>{{older->layout(), older}}));
  };
  return config;
}

struct Outcome {
  Status status;
  net::FetchProgress progress;
};

Outcome fetched(net::FetchConfig config) {
  Outcome outcome;
  net::FetchHandlers handlers;
  handlers.on_done = [&](const net::FetchProgress& progress) { outcome.progress = progress; };
  outcome.status = Fetcher(std::move(config), std::move(handlers)).wait();
  INFO((outcome.status ? "" : outcome.status.error().message));
  REQUIRE(outcome.status.has_value());
  return outcome;
}

}  // namespace

TEST_CASE("what an older version has is not fetched, though it lies elsewhere") {
  const Content content(kSize);
  const Seeder seeder(content);
  const Outcome outcome = fetched(config_with<MemoryContent>(content, seeder, older_text(content)));
  CHECK(read_file(content.folder / "got") == content.bytes);
  CHECK(outcome.progress.bytes_fetched < 40'000);
  CHECK(outcome.progress.bytes_older + outcome.progress.bytes_fetched == kSize);
  CHECK(outcome.progress.bytes_reused == outcome.progress.bytes_older);
}

TEST_CASE("an older version that has all of it leaves nothing to fetch") {
  const Content content(kSize);
  const Seeder seeder(content);
  const Outcome outcome =
      fetched(config_with<MemoryContent>(content, seeder, std::string(text_of(content.bytes))));
  CHECK(outcome.progress.bytes_fetched == 0);
  CHECK(read_file(content.folder / "got") == content.bytes);
}

TEST_CASE("an older version that shares nothing changes nothing") {
  const Content content(kSize), other(kSize + 8);
  const Seeder seeder(content);
  const Outcome outcome =
      fetched(config_with<MemoryContent>(content, seeder, std::string(text_of(other.bytes))));
  CHECK(outcome.progress.bytes_older == 0);
  CHECK(outcome.progress.bytes_fetched == kSize);
  CHECK(read_file(content.folder / "got") == content.bytes);
}

TEST_CASE(
    "an older version that changes under us: chunks that do not fit are fetched whole, and "
    "nobody is banned for it") {
  const Content content(kSize);
  const Seeder seeder(content);
  const Outcome outcome =
      fetched(config_with<ChangingContent>(content, seeder, older_text(content)));
  CHECK(read_file(content.folder / "got") == content.bytes);
  CHECK(outcome.progress.bytes_fetched >= kSize);
}

TEST_CASE("the older version may be what is replaced") {
  const Content content(kSize);
  const Seeder seeder(content);
  const std::filesystem::path current = content.folder / "got";
  const std::string older = older_text(content);
  std::ofstream(current, std::ios::binary).write(older.data(), static_cast<long>(older.size()));
  net::FetchConfig config = Fetcher::config(content, content.link({seeder.where()}));
  config.older = [current] { return OldContents::open({current}); };
  const Outcome outcome = fetched(std::move(config));
  CHECK(outcome.progress.bytes_fetched < 40'000);
  CHECK(read_file(current) == content.bytes);
}

TEST_CASE("what a fetch began it ends with another older version") {
  const Content content(kSize);
  const Seeder seeder(content);
  net::FetchConfig broken = Fetcher::config(content, content.link({seeder.where()}));
  broken.older = [&]() -> Result<std::unique_ptr<OldContents>> {
    return OldContents::open({content.folder / "not there"});
  };
  const Status failed = Fetcher(broken).wait();
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().code == ErrorCode::kUsage);
  CHECK(failed.error().message.find("not there") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(content.folder / "got"));
  fetched(config_with<MemoryContent>(content, seeder, older_text(content)));
  CHECK(read_file(content.folder / "got") == content.bytes);
}

TEST_CASE("when a fetch has ended nothing of its older version is held any more") {
  const Content content(kSize);
  const Seeder seeder(content);
  auto older = std::make_shared<MemoryContent>(older_text(content));
  const std::weak_ptr<MemoryContent> held = older;
  net::FetchConfig config = Fetcher::config(content, content.link({seeder.where()}));
  config.older = [&older] {
    const Layout layout = older->layout();
    return Result(
        std::make_unique<OldContents>(std::vector<OldSource>{{layout, std::move(older)}}));
  };
  bool ended = false, still_held = true;
  net::FetchHandlers handlers;
  handlers.on_done = [&](const net::FetchProgress& progress) {
    ended = progress.bytes_older > 0;
    still_held = !held.expired();
  };
  REQUIRE(Fetcher(std::move(config), std::move(handlers)).wait().has_value());
  CHECK(ended);
  CHECK_FALSE(still_held);
}

TEST_CASE("several who fetch beside the same older version all end with the same") {
  const Content content(kSize);
  const Seeder seeder(content);
  std::vector<std::unique_ptr<Fetcher>> fetchers;
  for (int i = 0; i < 4; ++i) {
    net::FetchConfig config = config_with<MemoryContent>(content, seeder, older_text(content));
    config.output = content.folder / ("got" + std::to_string(i));
    fetchers.push_back(std::make_unique<Fetcher>(std::move(config)));
  }
  for (int i = 0; i < 4; ++i) {
    CHECK(fetchers[static_cast<std::size_t>(i)]->wait().has_value());
    CHECK(read_file(content.folder / ("got" + std::to_string(i))) == content.bytes);
  }
}

namespace {

// Takes longer to read than anybody waits.
class EndlessContent : public ChunkReader {
 public:
  Layout layout() const { return {std::uint64_t{1} << 43, kMaxChunkBytes}; }
  Status read(ChunkIndex, std::uint32_t, MutableBytes) const override { return {}; }
};

// Gives the manifest, and has no outline.
void serve_no_outline(HostilePeer peer, const Content& content) {
  peer.say(peer::Message(peer::Join{peer::kProtocolVersion, content.swarm, 0, ""}));
  while (const auto message = peer.next_message()) {
    const auto* const asked = std::get_if<peer::Message>(&*message);
    if (!asked) continue;
    if (std::holds_alternative<peer::ManifestRequest>(*asked))
      peer.say(peer::Message(peer::ManifestPart{static_cast<std::uint32_t>(content.encoded.size()),
                                                0, content.encoded}));
    if (std::holds_alternative<peer::OutlineRequest>(*asked))
      peer.say(peer::Message(peer::OutlinePart{}));
  }
}

}  // namespace

TEST_CASE("where nobody has an outline the older version is not read to its end") {
  const Content content(kSize);
  HostileListener listener;
  net::FetchConfig config = Fetcher::config(content, content.link({listener.where()}));
  config.older = [older = std::make_shared<EndlessContent>()] {
    return Result(std::make_unique<OldContents>(std::vector<OldSource>{{older->layout(), older}}));
  };
  std::promise<void> opened;
  net::FetchHandlers handlers;
  handlers.on_open = [&](const auto&, const Bitfield&) { opened.set_value(); };
  Fetcher fetcher(std::move(config), std::move(handlers));
  std::thread serving([&] { serve_no_outline(listener.accept_join(content.secret), content); });
  CHECK(opened.get_future().wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  fetcher.interrupt();
  serving.join();
  CHECK_FALSE(fetcher.wait().has_value());
}

namespace {

struct OptionalOutcome {
  net::FetchProgress progress;
  std::uint64_t outline_bytes = 0;
};

// As an agent fetches by itself, beside these.
OptionalOutcome fetched_beside(const Content& content, const Seeder& seeder,
                               std::vector<std::shared_ptr<MemoryContent>> olders) {
  net::Loop loop;
  net::Node node(loop, net::TransportConfig{});
  REQUIRE(node.transport().listen(any_port()).has_value());
  OptionalOutcome outcome;
  Status status;
  std::unique_ptr<net::Download> download;
  net::DownloadHandlers handlers;
  handlers.on_end = [&](const Status& ended) {
    status = ended;
    outcome = {download->progress(), download->swarm().session().outline_bytes()};
    loop.stop();
  };
  download = std::make_unique<net::Download>(
      node, Fetcher::config(content, content.link({seeder.where()})), std::move(handlers));
  download->start();
  download->search_older(
      [olders] {
        std::vector<OldSource> sources;
        for (const auto& older : olders) sources.push_back({older->layout(), older});
        return Result(std::make_unique<OldContents>(std::move(sources)));
      },
      net::OldSearch::Need::kOptional);
  loop.run();
  download.reset();
  INFO((status ? "" : status.error().message));
  REQUIRE(status.has_value());
  CHECK(read_file(content.folder / "got") == content.bytes);
  return outcome;
}

}  // namespace

TEST_CASE("of several optional older versions one that cannot be read costs not the others") {
  const Content content(kSize);
  const Seeder seeder(content);
  const auto broken = std::make_shared<MemoryContent>(older_text(content));
  broken->fail();
  const auto sound = std::make_shared<MemoryContent>(older_text(content));
  const OptionalOutcome outcome = fetched_beside(content, seeder, {broken, sound});
  CHECK(outcome.progress.bytes_fetched < 40'000);
  CHECK(fetched_beside(content, seeder, {broken}).progress.bytes_fetched == kSize);
}

TEST_CASE("an optional older version that shares nothing is not looked at any closer") {
  const Content content(kSize), other(kSize + 8);
  const Seeder seeder(content);
  const auto outcome = fetched_beside(
      content, seeder, {std::make_shared<MemoryContent>(std::string(text_of(other.bytes)))});
  CHECK(outcome.progress.bytes_fetched == kSize);
  CHECK(outcome.outline_bytes > 0);
  CHECK(outcome.outline_bytes < kSize / 1000);  // the outline, and no details
}

TEST_CASE("an optional older version that was shifted and edited is used to the last segment") {
  const Content content(kSize);
  const Seeder seeder(content);
  const auto outcome =
      fetched_beside(content, seeder, {std::make_shared<MemoryContent>(older_text(content))});
  CHECK(outcome.progress.bytes_fetched < 40'000);
}
