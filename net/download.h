// Download: one content of a node, from its id to the file or folder in its place. Its swarm is
// hosted from start() on, and goes on being served from that place afterwards, until the node drops
// it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "content/link.h"
#include "content/manifest.h"
#include "content/store.h"
#include "net/node.h"
#include "net/old_search.h"
#include "net/rate_history.h"

namespace p2p::net {

// A download that was told of corrupt content or a changed source waits only this long for an
// honest peer.
inline constexpr Duration kCorruptPatience = std::chrono::seconds(5);
// Refused by some, with others not heard of yet.
inline constexpr Duration kRefusedPatience = std::chrono::seconds(3);
inline constexpr Duration kCheckpointInterval = std::chrono::seconds(2);
inline constexpr Duration kProgressInterval = std::chrono::milliseconds(100);

struct DownloadConfig {
  Link link;
  Secret psk;          // of the peers: the link's secret, or the cluster key
  Secret tracker_psk;  // the cluster key, or open_tracker_key()
  // Asked beside those of the link.
  std::vector<HostPort> more_trackers;
  // Where the content goes; into it, under the content's name, when it ends in '/'. The name alone
  // when not given.
  std::optional<std::filesystem::path> output;
  std::string zone;  // where this host is (base/zone.h)
  bool overwrite = false;
  // Without anyone who has what is missing; 0: for ever.
  Duration patience = std::chrono::seconds(30);
  // With peers that claim to have it and send nothing; `patience` follows.
  Duration stall_patience = std::chrono::minutes(2);
  bool manifest_only = false;  // stop as soon as the manifest is there
  // Where not null: called on another thread when the manifest is there, before anything is
  // written. An error ends the download.
  std::function<Status()> prepare = nullptr;
  // Where not null: see search_older(), at the start; older contents are required.
  OldSearch::Open older = nullptr;
};

struct FetchProgress {
  std::string name;
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_verified = 0;  // reused ones too
  std::uint64_t bytes_reused = 0;    // were on disk, from an earlier run or in an older content
  std::uint64_t bytes_older = 0;     // of them, in an older content
  std::uint64_t bytes_fetched = 0;   // payload received, duplicates and corrupt chunks too
  double rate = 0;                   // bytes a second, over the last two seconds
  std::size_t peers = 0;             // neighbours now
  std::size_t peers_met = 0;
  Duration elapsed{0};
  // The average rate so far as a share of the best half second: 1 is a link that was never idle. 0:
  // not known yet.
  double share_of_limit = 0;
  std::filesystem::path path;
};

struct DownloadHandlers {
  // May cancel the download.
  std::function<void(const std::shared_ptr<const Manifest>&)> on_manifest = nullptr;
  // The chunks in `have` can be read from it now; each other one when on_chunk tells.
  std::function<void(const std::shared_ptr<const Store>&, const Bitfield& have)> on_open = nullptr;
  std::function<void(ChunkIndex)> on_chunk = nullptr;
  // Each kProgressInterval, from the manifest on. May cancel the download.
  std::function<void(const FetchProgress&)> on_progress = nullptr;
  // Once, when nothing of it runs in the background any more: complete, synced and in place; or why
  // not, what was verified being kept. The download may be destroyed then, not within the call.
  std::function<void(const Status&)> on_end = nullptr;
};

class Download {
 public:
  // `node` listens already, unless only the manifest is wanted; where it is a member of a cluster,
  // the hash table is asked too.
  Download(Node& node, DownloadConfig config, DownloadHandlers handlers);
  ~Download();

  // The swarm must not be one of the node's yet. An encoded manifest of the content need not be
  // fetched.
  void start(Bytes known_manifest = {});
  // Takes what this content shares with older ones, which `open` gives on another thread. Where
  // they are required an error ends the download before any chunk is asked for. Once, and before
  // on_manifest has returned.
  void search_older(OldSearch::Open open, OldSearch::Need need);
  // Ends it, with on_end, unless it is complete or ended already. False: it is complete, and about
  // to be put into place.
  bool cancel(Error why);

  // Why who has waited for it since then, with this patience (0: for ever), would give it up now.
  // Nobody would while the store is opened or older contents are searched.
  std::optional<Error> verdict(Duration patience, Time since, Time now) const;

  // Nothing of it runs in the background; so at the end.
  bool idle() const { return jobs_ == 0; }

  FetchProgress progress() const;  // once the manifest is there
  const std::shared_ptr<const Manifest>& manifest() const { return manifest_; }
  const Bytes& encoded_manifest() const { return encoded_manifest_; }
  // Once it is open: the chunks can be read as they are verified, and afterwards.
  const std::shared_ptr<Store>& store() const { return store_; }
  // From on_open on: older contents have some of it.
  bool takes_from_older() const { return reuse_ != nullptr; }
  HostedSwarm& swarm() { return *swarm_; }

 private:
  SessionHandlers session_handlers();
  void announce();
  void find_link_seeders();
  void on_manifest(Bytes encoded);
  void open_store();
  void on_store_open(Result<std::unique_ptr<Store>> opened);
  void start_swarm(Bitfield have, std::shared_ptr<const ReusePlan> reuse);
  void tick();
  void watch_hope(Time now);
  std::string what_was_tried() const;
  bool all_owners_failed() const;
  std::uint32_t verified_chunks() const;
  void checkpoint();
  void complete();
  void commit();
  void end(Status outcome);
  void tell_end();
  // Runs a job on the thread pool; `done` is skipped once the download has ended. The download
  // outlives its jobs.
  void in_background(std::function<void()> job, std::function<void()> done);

  Node& node_;
  DownloadConfig config_;
  DownloadHandlers handlers_;
  ContentId content_;
  HostedSwarm* swarm_ = nullptr;  // of the node
  Timer tick_timer_;
  Time started_;
  RateHistory rates_;

  Bytes encoded_manifest_;
  std::shared_ptr<const Manifest> manifest_;
  std::shared_ptr<Store> store_;
  std::filesystem::path target_;
  std::uint64_t reused_bytes_ = 0, composed_bytes_ = 0;
  std::optional<OldSearch> older_;
  std::shared_ptr<const ReusePlan> reuse_;
  Time transfer_started_;
  std::uint64_t verified_at_checkpoint_ = 0;
  Time next_checkpoint_;

  int jobs_ = 0;  // in the background
  bool checkpointing_ = false;
  bool completed_ = false;   // every chunk is verified
  bool committing_ = false;  // not to be cancelled
  std::stop_source stop_opening_;
  bool ended_ = false;
  Status outcome_;           // once it has ended
  bool is_hopeful_ = false;  // somebody has what we lack, as of the last tick
  Time hopeful_;             // when that was so last
  Time progressed_;          // when something last came in
  std::uint64_t progressed_bytes_ = 0;
  Time first_refusal_ = kNever;
  // Who sent a corrupt chunk or whose source changed, for the verdict; forgotten when others have
  // given us more since.
  std::string lie_;
  std::uint32_t verified_at_lie_ = 0;
  // Lets names that are still being resolved know that the download is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The target of a fetch: see DownloadConfig::output.
std::filesystem::path target_path(const std::optional<std::filesystem::path>& output,
                                  const std::string& name);

}  // namespace p2p::net
