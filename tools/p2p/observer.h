// Observer: a look at a cluster from outside, step by step, for commands that print something and
// end.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "content/link.h"
#include "net/gossip_service.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/stepped_loop.h"

namespace p2p::cli {

struct ObserverOptions {
  std::vector<std::string> join;
  std::string cluster_key;
  double patience_seconds = 5;
};

// Adds --join, --cluster-key and --patience.
void add_observer_options(CLI::App& command, ObserverOptions& options);

// Whom to ask: those of --join and of the link; where neither names anybody, the members that this
// host was one of earlier, and those that run on it. Errors: the flags, the key file.
Result<net::GossipConfig> observer_config(const ObserverOptions& options,
                                          const std::vector<HostPort>& of_link);

// For commands about a cluster itself: --join and so on, and a LINK whose cluster is meant.
struct ClusterOptions {
  ObserverOptions observer;
  std::string link;
};
void add_cluster_options(CLI::App& command, ClusterOptions& options);
Result<net::GossipConfig> cluster_config(const ClusterOptions& options);

class Observer {
 public:
  // The loop must outlive it.
  Observer(SteppedLoop& loop, net::GossipConfig config, Duration patience);

  // Until its view is that of the member that answered last; a view that still grows is waited for.
  // kUnreachable, with what to do, where nobody answers; kInterrupted.
  Status join();
  // Then also who is suspected, dead or gone is in the table. kUnreachable where none of those
  // asked answered.
  Status learn_absent();
  // Pings these members, up to kReachTries times; who did not answer.
  Result<std::set<PeerId>> find_silent(std::set<PeerId> members);

  const gossip::MemberTable& table() const { return gossip_.membership().table(); }

 private:
  std::string asked() const;
  Error nobody_answers();
  Result<bool> ping_all(const std::set<PeerId>& members);

  SteppedLoop& loop_;
  net::GossipConfig config_;
  Duration patience_;
  std::optional<std::size_t> absent_answers_;
  std::set<PeerId> reached_;
  net::GossipService gossip_;
};

// So many pings go out a second, and a member is pinged so often, this far apart.
inline constexpr double kReachPerSecond = 1000;
inline constexpr int kReachTries = 3;
inline constexpr Duration kReachInterval = std::chrono::seconds(1);

}  // namespace p2p::cli
