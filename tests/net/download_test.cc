// What becomes of a download, as its owner sees it.
#include "net/download.h"

#include <future>

#include "tests/net/honest_side.h"

using namespace p2p;
using namespace p2p::test;

TEST_CASE("a download that was refused is not given up while its store is opened") {
  const Content content(1024 * 1024);
  const Seeder honest(content);
  net::Loop loop;
  net::TransportConfig transport;
  transport.keys = KeyPair::random();
  net::Node node(loop, std::move(transport));
  REQUIRE(node.transport().listen(any_port()).has_value());
  std::promise<void> may_open;
  net::DownloadConfig config;
  config.link = content.link({honest.where()});
  config.psk = Secret::random();
  config.tracker_psk = open_tracker_key();
  config.output = content.folder / "got";
  config.patience = Duration::zero();
  config.prepare = [opening = may_open.get_future().share()] {
    opening.wait();
    return Status();
  };
  net::DownloadHandlers handlers;
  std::unique_ptr<net::Download> download;
  std::optional<Error> verdict;
  int looked_at = 0;
  handlers.on_progress = [&](const net::FetchProgress&) {
    const auto& announcers = download->swarm().announcers();
    const bool refused = std::any_of(announcers.begin(), announcers.end(),
                                     [](const auto& each) { return each.any_refused(); });
    // The download itself looks after it was told of progress.
    if (!refused || ++looked_at < 2) return;
    verdict = download->verdict(Duration::zero(), Time{}, net::Loop::now());
    may_open.set_value();
    download->cancel({ErrorCode::kInterrupted, "seen"});
  };
  bool ended = false;
  handlers.on_end = [&](const Status&) {
    CHECK_FALSE(std::exchange(ended, true));
    loop.stop();
  };
  download = std::make_unique<net::Download>(node, std::move(config), std::move(handlers));
  download->start(content.encoded);
  loop.run();
  CHECK(looked_at == 2);
  CHECK_FALSE(verdict.has_value());
}
