// Fetch: a process's one download, on a node of its own, and seeding on for a while.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "net/download.h"

namespace p2p::net {

inline constexpr Duration kCourtesy = std::chrono::seconds(2);

struct FetchConfig : DownloadConfig, PeerConfig {
  std::optional<Endpoint> listen;
  // How long it goes on seeding afterwards. Not said: kCourtesy, where neighbours are not complete
  // (in a simulated swarm with slow hosts in it, the last of the others were done a third sooner).
  std::optional<Duration> linger;
};

// on_end is the fetch's own.
struct FetchHandlers : DownloadHandlers {
  // Complete, synced, in place. Lingering follows.
  std::function<void(const FetchProgress&)> on_done = nullptr;
};

class Fetch {
 public:
  Fetch(Loop& loop, FetchConfig config, FetchHandlers handlers);
  ~Fetch();

  // Runs the loop until all is done. kInterrupted after interrupt(); what was fetched is kept.
  Status run();
  void interrupt();
  // Ends it: with the error, also where it is complete; without one as soon as it is in its place,
  // however long it was to linger.
  void finish(Status outcome);
  // Somebody reads the content in order, and is at this chunk. Once the store is open.
  void read_from(ChunkIndex chunk);

  const Bytes& encoded_manifest() const { return encoded_manifest_; }

 private:
  Status start();
  Status join_cluster();
  void refresh();
  void on_end(const Status& outcome);
  void end(Status outcome);
  void leave();

  Loop& loop_;
  FetchConfig config_;
  FetchHandlers handlers_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<Download> download_;  // on the node
  Timer refresh_timer_, linger_timer_, leave_timer_;
  bool done_ = false;  // in place
  bool ended_ = false;
  Time leave_by_ = kNever;
  Bytes encoded_manifest_;  // after run()
  Status outcome_, later_failure_;
};

}  // namespace p2p::net
