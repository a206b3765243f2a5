// An agent on a loop, with a store that was prepared on the disk.
#include "agent/agent.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "base/random.h"
#include "content/scan.h"
#include "crypto/digest.h"
#include "net/log.h"
#include "tests/support/temp_folder.h"

using namespace p2p;
using namespace p2p::agent;

namespace {

namespace fs = std::filesystem;
using State = Holding::State;

constexpr std::uint64_t kMiB = 1024 * 1024;

// A file of random bytes, and what an agent remembers of it. Nobody seeds it.
struct Release {
  Release(const fs::path& folder, const std::string& name, std::uint64_t bytes)
      : source(folder / name) {
    net::set_log_level(net::LogLevel::kError);
    std::string text(bytes, '\0');
    Random random(bytes + name.back());
    for (char& byte : text) byte = static_cast<char>(random.next());
    std::ofstream(source, std::ios::binary) << text;
    ScanOptions options;
    options.chunk_bytes = kMinChunkBytes;
    auto scan = scan_path(source, options);
    REQUIRE(scan.has_value());
    manifest = scan->manifest;
    encoded = encode_manifest(*manifest);
    holding.content = content_id_of(encoded);
    holding.psk = Secret::random();
    holding.name = name;
    holding.bytes = bytes;
  }
  const ContentId& id() const { return holding.content; }
  Link link() const { return {id(), {}, {}, holding.psk, {}}; }

  fs::path source;
  std::shared_ptr<const Manifest> manifest;
  Bytes encoded;
  Holding holding;
};

// The store's folder, while no agent has it.
class OnDisk {
 public:
  OnDisk() { fs::create_directory(store()); }
  Release release(const std::string& name, std::uint64_t bytes) const {
    return Release(folder_.path(), name, bytes);
  }
  void put(Release& release, State state, bool with_data = true) const {
    auto catalog = Catalog::open(store());
    REQUIRE(catalog.has_value());
    release.holding.state = state;
    REQUIRE(catalog->save(release.holding).has_value());
    REQUIRE(catalog->save_manifest(release.id(), release.encoded).has_value());
    if (!with_data) return;
    fs::copy_file(release.source, place_of(release) / "data");
    if (state == State::kComplete)
      REQUIRE(catalog->seal(release.holding, release.manifest).has_value());
  }
  // Of a content that an agent does not remember.
  void put_manifest(Release& release) const {
    put(release, State::kWanted, false);
    fs::remove(place_of(release) / "holding");
  }
  // As if its data had been found to be damaged.
  void put_damaged(const Release& release) const {
    fs::copy_file(release.source, place_of(release) / "damaged");
  }
  bool has_damaged(const Release& release) const {
    return fs::exists(place_of(release) / "damaged");
  }
  fs::path place_of(const Release& release) const {
    return store() / "contents" / release.id().hex();
  }
  fs::path store() const { return folder_ / "store"; }

 private:
  test::TempFolder folder_;
};

class Host {
 public:
  // Beside another, it runs on the loop of that.
  explicit Host(const OnDisk& disk, std::uint64_t max_bytes = 0, Host* beside = nullptr)
      : loop_(beside ? beside->loop_ : own_loop_.emplace()),
        agent_(loop_, config(disk, max_bytes)) {
    REQUIRE(agent_.start().has_value());
  }
  ~Host() {
    agent_.stop([this] { loop_.stop(); });
    loop_.run();
  }
  Agent& agent() { return agent_; }
  // For ever, whoever has it.
  void want(const Release& release) {
    agent_.fetch({release.link(), false, true},
                 {nullptr, [](const Ready&) {}, [](const Error&) {}});
  }
  std::optional<ContentReport> report_of(const Release& release) const {
    for (ContentReport& report : agent_.report())
      if (report.holding.content == release.id()) return std::move(report);
    return std::nullopt;
  }
  void run_until(const std::function<bool()>& done) {
    const Time deadline = net::Loop::now() + std::chrono::seconds(60);
    bool is_done = false;
    net::Timer timer(loop_, [&] {
      is_done = done();
      if (is_done || net::Loop::now() > deadline) return loop_.stop();
      timer.arm(net::Loop::now() + std::chrono::milliseconds(1));
    });
    timer.arm(net::Loop::now());
    loop_.run();
    REQUIRE(is_done);
  }

 private:
  static AgentConfig config(const OnDisk& disk, std::uint64_t max_bytes) {
    AgentConfig config;
    config.store = disk.store();
    config.listen = *Endpoint::parse("127.0.0.1:0");
    config.policy.max_bytes = max_bytes;
    return config;
  }

  std::optional<net::Loop> own_loop_;
  net::Loop& loop_;
  Agent agent_;
};

}  // namespace

TEST_CASE("what was damaged of a complete content goes, where the agent died before it did") {
  const OnDisk disk;
  Release release = disk.release("thing", 2 * kMiB);
  disk.put(release, State::kComplete);
  disk.put_damaged(release);
  {
    Host host(disk);
    CHECK(host.agent().stored_bytes() == 2 * kMiB);
  }
  CHECK_FALSE(disk.has_damaged(release));
  CHECK(fs::is_empty(disk.store() / "removed"));
  CHECK(fs::exists(disk.place_of(release) / "data"));
}

TEST_CASE("it goes also where the agent died before it knew the content to be complete") {
  const OnDisk disk;
  Release release = disk.release("thing", 2 * kMiB);
  disk.put(release, State::kWanted);
  disk.put_damaged(release);
  {
    Host host(disk);
    CHECK(host.agent().stored_bytes() == 4 * kMiB);
    host.run_until([&] { return host.report_of(release)->activity == Activity::kServing; });
    CHECK(host.agent().stored_bytes() == 2 * kMiB);
  }
  CHECK_FALSE(disk.has_damaged(release));
}

TEST_CASE("of a content that was given up what is damaged stays, and counts after a restart") {
  const OnDisk disk;
  Release release = disk.release("thing", 2 * kMiB);
  disk.put(release, State::kPartial, false);
  disk.put_damaged(release);
  {
    Host host(disk);
    CHECK(host.agent().stored_bytes() == 4 * kMiB);
  }
  CHECK(disk.has_damaged(release));
}

TEST_CASE("data that somebody removed leaves nothing that counts as damaged") {
  const OnDisk disk;
  Release release = disk.release("thing", 2 * kMiB);
  disk.put(release, State::kComplete);
  Host host(disk);
  fs::remove(disk.place_of(release) / "data");
  host.want(release);
  host.run_until([&] { return host.report_of(release)->activity == Activity::kFetching; });
  CHECK(host.agent().stored_bytes() == 2 * kMiB);
}

TEST_CASE("a new content whose manifest is on the disk already has its name and counts") {
  const OnDisk disk;
  Release release = disk.release("thing", 2 * kMiB);
  disk.put_manifest(release);
  Host host(disk);
  host.want(release);
  CHECK(host.report_of(release)->holding.name == "thing");
  CHECK(host.agent().stored_bytes() == 2 * kMiB);
}

TEST_CASE("what one fetch has borrowed makes room for another") {
  const OnDisk disk;
  Release old = disk.release("thing-1", 2 * kMiB), next = disk.release("thing-2", 2 * kMiB);
  Release other = disk.release("else", 2 * kMiB);
  disk.put(old, State::kComplete);
  disk.put(next, State::kWanted, false);
  disk.put_manifest(other);
  Host host(disk, 5 * kMiB);
  REQUIRE(host.report_of(old)->in_use);
  host.want(other);
  CHECK_FALSE(host.report_of(old).has_value());
  CHECK(host.report_of(other)->activity == Activity::kFetching);
  CHECK(host.report_of(next)->activity == Activity::kFetching);
}

TEST_CASE("what one fetch has borrowed stays where another has no room without it either") {
  const OnDisk disk;
  Release old = disk.release("thing-1", 2 * kMiB), next = disk.release("thing-2", 2 * kMiB);
  Release other = disk.release("else", 4 * kMiB);
  disk.put(old, State::kComplete);
  disk.put(next, State::kWanted, false);
  disk.put_manifest(other);
  Host host(disk, 5 * kMiB);
  host.want(other);
  host.run_until([&] { return host.report_of(other)->activity == Activity::kIdle; });
  CHECK(host.report_of(old).has_value());
  CHECK(host.report_of(next)->activity == Activity::kFetching);
}

TEST_CASE("what was borrowed is given back as soon as nothing was found in it") {
  const OnDisk disk;
  Release old = disk.release("thing-1", 2 * kMiB), next = disk.release("thing-2", 2 * kMiB);
  disk.put(old, State::kComplete);
  disk.put_manifest(next);
  Host host(disk);
  fs::remove(disk.place_of(old) / "data");
  host.want(next);
  CHECK(host.report_of(old)->in_use);
  host.run_until([&] { return !host.report_of(old)->in_use; });
  CHECK(host.report_of(next)->activity == Activity::kFetching);
}

TEST_CASE("for want of room the older version goes first, then what is damaged") {
  for (const std::uint64_t most : {7, 5, 3}) {
    const OnDisk disk;
    Release old = disk.release("thing-1", 2 * kMiB), next = disk.release("thing-2", 2 * kMiB);
    disk.put(old, State::kComplete);
    disk.put(next, State::kWanted, false);
    disk.put_damaged(next);
    {
      Host host(disk, most * kMiB);
      CHECK(host.report_of(old).has_value() == (most == 7));
      CHECK(host.report_of(next)->activity == Activity::kFetching);
      CHECK(host.agent().stored_bytes() == (most - 1) * kMiB);
    }
    CHECK(disk.has_damaged(next) == (most > 3));
  }
}

TEST_CASE("who is told of progress may release any order of the content") {
  const OnDisk disk;
  Release release = disk.release("thing", 2 * kMiB);
  disk.put(release, State::kWanted, false);
  Host host(disk);
  std::vector<OrderId> orders;
  int told = 0;
  for (int i = 0; i < 3; ++i) {
    OrderHandlers handlers{nullptr, [](const Ready&) {}, [](const Error&) {}};
    handlers.on_progress = [&](const net::FetchProgress&) {
      ++told;
      for (const OrderId order : orders) host.agent().release(order);
    };
    orders.push_back(host.agent().fetch({release.link()}, std::move(handlers)));
  }
  host.run_until([&] { return told > 0; });
  CHECK(told == 1);
}

TEST_CASE("what is removed while it is fetched, and wanted again at once, is fetched") {
  const OnDisk disk, seeding;
  Release release = disk.release("thing", 2 * kMiB);
  Host seeder(seeding);
  Result<Link> link = Error{};
  bool seeded = false;
  seeder.agent().seed({release.source, release.link()}, [&](Result<Link> made) {
    link = std::move(made);
    seeded = true;
  });
  seeder.run_until([&] { return seeded; });
  REQUIRE(link.has_value());
  disk.put_manifest(release);
  Host host(disk, 0, &seeder);
  bool removed = false;
  std::optional<Status> outcome;
  host.agent().fetch({*link},
                     {nullptr, [](const Ready&) {}, [&](const Error&) { removed = true; }});
  REQUIRE(host.agent().remove(release.id()).has_value());
  CHECK(removed);
  host.agent().fetch({*link}, {nullptr, [&](const Ready&) { outcome = Status(); },
                               [&](const Error& why) { outcome = why; }});
  host.run_until([&] { return outcome.has_value(); });
  INFO((*outcome ? "" : outcome->error().message));
  CHECK(outcome->has_value());
}
