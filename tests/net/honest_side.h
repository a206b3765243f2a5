// The honest side of a test: a content, a seeder and fetches of it, each on a loop and thread of
// its own.
#pragma once

#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "base/random.h"
#include "content/scan.h"
#include "crypto/digest.h"
#include "net/fetch.h"
#include "net/log.h"
#include "net/seed.h"
#include "tests/support/temp_folder.h"

namespace p2p::test {

inline Endpoint any_port() { return *Endpoint::parse("127.0.0.1:0"); }

// A file of random bytes in chunks of 64 KiB, its manifest and secret.
struct Content {
  TempFolder folder;
  std::filesystem::path source = folder / "source.bin";
  Bytes bytes;
  std::shared_ptr<const Manifest> manifest;
  Bytes encoded;
  ContentId id;
  Secret secret;
  SwarmId swarm;

  explicit Content(std::size_t size) {
    init_crypto();
    net::set_log_level(std::getenv("P2P_VERBOSE") ? net::LogLevel::kDebug : net::LogLevel::kError);
    bytes.resize(size);
    Random random(size);
    for (std::size_t i = 0; i + 8 <= size; i += 8) put_u64(bytes.data() + i, random.next());
    std::ofstream(source, std::ios::binary).write(text_of(bytes).data(), static_cast<long>(size));
    scan();
  }

  void scan() {
    ScanOptions options;
    options.chunk_bytes = kMinChunkBytes;
    auto scanned = scan_path(source, options);
    REQUIRE(scanned.has_value());
    manifest = scanned->manifest;
    encoded = encode_manifest(*manifest);
    id = content_id_of(encoded);
    secret = Secret::random();
    swarm = swarm_id_of(id, secret);
  }

  ByteView chunk(ChunkIndex index) const {
    const Layout layout = manifest->layout();
    return ByteView(bytes).subspan(layout.offset_of(index), layout.length_of(index));
  }
  Link link(std::vector<Endpoint> seeders) const {
    Link made{id, {}, {}, secret};
    for (const Endpoint& seeder : seeders)
      made.seeders.push_back({seeder.address.to_string(), seeder.port});
    return made;
  }
};

class Seeder {
 public:
  explicit Seeder(const Content& content, Endpoint listen = any_port(),
                  net::ConnectionTimeouts timeouts = {},
                  std::optional<net::GossipConfig> gossip = {})
      : seed_(loop_, config(content, listen, timeouts, std::move(gossip))) {
    auto link = seed_.start();
    REQUIRE(link.has_value());
    members_ = link->members;
    thread_ = std::thread([this] { seed_.run(); });
    where_ = Endpoint{listen.address, link->seeders.front().port};
  }
  ~Seeder() {
    loop_.post([this] { seed_.stop(); });
    thread_.join();
  }
  const Endpoint& where() const { return where_; }
  // Of a member: where others join.
  const std::vector<HostPort>& members() const { return members_; }

 private:
  static net::SeedConfig config(const Content& content, const Endpoint& listen,
                                const net::ConnectionTimeouts& timeouts,
                                std::optional<net::GossipConfig> gossip) {
    net::SeedConfig config;
    config.gossip = std::move(gossip);
    config.manifest = content.manifest;
    auto files = FileSet::open(content.manifest, content.source, FileSet::Mode::kRead);
    REQUIRE(files.has_value());
    config.files = std::move(*files);
    config.link_secret = content.secret;
    config.listen = listen;
    config.timeouts = timeouts;
    return config;
  }

  net::Loop loop_;
  net::Seed seed_;
  Endpoint where_;
  std::vector<HostPort> members_;
  std::thread thread_;
};

// A fetch of a content into its folder, from wherever the link says.
class Fetcher {
 public:
  static net::FetchConfig config(const Content& content, const Link& link) {
    net::FetchConfig config;
    config.link = link;
    config.psk = *link.secret;
    config.tracker_psk = open_tracker_key();
    config.output = content.folder / "got";
    config.listen = any_port();
    config.overwrite = true;
    return config;
  }
  explicit Fetcher(net::FetchConfig config, net::FetchHandlers handlers = {})
      : fetch_(loop_, std::move(config), std::move(handlers)),
        thread_([this] { outcome_ = fetch_.run(); }) {}
  ~Fetcher() {
    if (!thread_.joinable()) return;
    interrupt();
    thread_.join();
  }
  void interrupt() {
    loop_.post([this] { fetch_.interrupt(); });
  }
  // Its end.
  Status wait() {
    thread_.join();
    return outcome_;
  }

 private:
  net::Loop loop_;
  net::Fetch fetch_;
  Status outcome_;
  std::thread thread_;
};

inline Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

// Does an honest peer still get all of it?
inline void check_fetch(const Content& content, const Link& link) {
  Fetcher fetcher(Fetcher::config(content, link));
  const Status outcome = fetcher.wait();
  INFO((outcome ? "" : outcome.error().message));
  REQUIRE(outcome.has_value());
  CHECK(read_file(content.folder / "got") == content.bytes);
}

}  // namespace p2p::test
