// Agent: what a host has of contents, kept in a store, fetched when asked for, and served to peers.
// Everything runs on its loop's thread, but for disks. agent.cc: its life and what is asked of it;
// agent_contents.cc: how a content is checked, fetched and hosted; agent_older.cc: what of it older
// contents have; agent_seed.cc: paths of this host that are served from where they lie.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/catalog.h"
#include "agent/readable.h"
#include "agent/retention.h"
#include "content/scan.h"
#include "crypto/keyring.h"
#include "net/disk_thread.h"
#include "net/download.h"
#include "net/node.h"
#include "net/offer.h"

namespace p2p::agent {

inline constexpr Duration kTickInterval = std::chrono::seconds(1);
// Retention is looked after, and times of use are written, so often.
inline constexpr Duration kTidyInterval = std::chrono::seconds(10);
// A stopping agent serves those who still fetch from it for so long.
inline constexpr Duration kDrainTime = std::chrono::seconds(10);

// What may change while the agent runs.
struct AgentPolicy {
  std::uint64_t max_bytes = 0;        // of the store; 0: as much as the file system holds
  std::int64_t max_idle_seconds = 0;  // a content that nobody used for so long goes; 0: never
  net::BandwidthLimits limits;        // of the process and of a peer
};

struct AgentConfig {
  std::filesystem::path store;
  Endpoint listen;
  std::vector<HostPort> advertised;  // how others reach this host; port 0: the one listened on
  std::vector<HostPort> trackers;    // announced at and asked, beside those of links
  Keyring cluster_keys;
  std::optional<net::GossipConfig> gossip;
  KeyPair identity = KeyPair::random();
  std::string zone;
  unsigned lanes = 1;
  AgentPolicy policy;
};

// A content that is complete, and where it lies.
struct Ready {
  ContentId content;
  std::string name;
  std::uint64_t bytes = 0;
  std::filesystem::path data, manifest;
};

// What the agent does with a content now.
enum class Activity { kIdle, kChecking, kFetching, kServing };
inline constexpr Activity kActivities[] = {Activity::kIdle, Activity::kChecking,
                                           Activity::kFetching, Activity::kServing};
std::string_view activity_name(Activity activity);

// How a content stands, for those who look.
struct ContentReport {
  Holding holding;
  Activity activity = Activity::kIdle;
  std::string problem;  // why it is not what it should be; empty where it is
  bool in_use = false;
  std::uint64_t bytes_verified = 0;
  std::uint64_t bytes_older = 0;  // of them, found in older contents since the start
  std::size_t peers = 0;
  double rate = 0;  // of what comes in, bytes a second
};

// Since the start.
struct AgentCounts {
  std::uint64_t fetched = 0, failed = 0;  // downloads that ended
  std::uint64_t older_bytes = 0;          // that older contents had of those that are complete
  std::uint64_t removed = 0;              // contents, from the store
};

using OrderId = std::uint64_t;

std::int64_t wall_clock_seconds();  // since 1970

// What becomes of an order. Exactly one of on_ready and on_failed, unless it is released before.
struct OrderHandlers {
  std::function<void(const net::FetchProgress&)> on_progress = nullptr;
  std::function<void(const Ready&)> on_ready;
  std::function<void(const Error&)> on_failed;
};

struct FetchOrder {
  Link link;
  bool pin = false;
  // The agent goes on by itself, also after a restart, when the order is released.
  bool detached = false;
  // As in net::DownloadConfig, and the order's own: whoever else waits for the content may have
  // more.
  Duration patience = std::chrono::seconds(30);
};

struct SeedOrder {
  std::filesystem::path path;      // absolute
  std::optional<Link> link;        // of which it is to be one more seeder
  std::vector<HostPort> trackers;  // that its link is to name, beside the agent's
  std::optional<std::uint32_t> chunk_bytes;
  bool rehash = false;
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> on_progress = nullptr;
};

class Agent {
 public:
  Agent(net::Loop& loop, AgentConfig config);
  // Waits for what is being written.
  ~Agent();

  // Opens the store, listens, joins the cluster, serves what is complete and goes on with what is
  // wanted.
  Status start();
  const Endpoint& local() const { return node_->transport().local(); }
  net::PayloadBytes payload() const { return node_->payload(); }
  std::vector<HostPort> addresses() const;

  // Until release() the content stays in the store. Handlers are called from the loop, never from
  // within the call.
  OrderId fetch(FetchOrder order, OrderHandlers handlers);
  // A fetch that nobody else waits for ends, unless it is detached.
  void release(OrderId order);
  // To read it, also while it is being fetched. `done` is called from the loop, never within the
  // call; with kUnreachable where it is not here and nobody fetches it. As long as somebody keeps
  // what it gets, the content stays in the store.
  using OnReadable = std::function<void(Result<std::shared_ptr<Readable>>)>;
  void open(const ContentId& content, OnReadable done);
  // Scans and serves the path; `done` gets the link. Never called from within the call, nor after
  // the agent is gone.
  void seed(SeedOrder order, std::function<void(Result<Link>)> done);

  // By the id as digits or as links spell it, or the beginning of either where that names one
  // content alone. kUsage otherwise.
  Result<ContentId> find(const std::string& id) const;
  Status set_pinned(const ContentId& content, bool pinned);
  // Also what is being fetched, and what is pinned. kUsage for what somebody is copying or reading.
  Status remove(const ContentId& content);
  // Removes all that is neither pinned nor in use; how many bytes that were.
  std::uint64_t remove_unused();
  std::vector<ContentReport> report() const;
  Result<Link> link_of(const ContentId& content) const;
  std::uint64_t stored_bytes() const;
  const AgentCounts& counts() const { return counts_; }

  void set_policy(const AgentPolicy& policy);
  const AgentPolicy& policy() const { return config_.policy; }
  void set_cluster_keys(const Keyring& keys);
  const AgentConfig& config() const { return config_; }

  // No new orders; those that wait fail. Peers that fetch from us are served on for at most
  // kDrainTime, then good-byes are said and `done` is called.
  void stop(std::function<void()> done);
  bool stopping() const { return on_stopped_ != nullptr; }

 private:
  struct Content {
    Holding holding;
    Held held;  // empty until the manifest is here
    Activity activity = Activity::kIdle;
    std::string problem;
    std::unique_ptr<net::Download> download;
    std::uint64_t download_number = 0;
    net::HostedSwarm* swarm = nullptr;   // of the node, while fetching and serving
    std::vector<OrderId> orders;         // each holds the content in the store
    std::shared_ptr<Readable> readable;  // from the first chunk on; readers share it
    std::vector<OnReadable> openers;     // who waits for that
    bool detached = false;
    bool used = false;  // since its holding was written
    std::stop_source stop_check;
    std::weak_ptr<Store> last_store;  // of the last download
    std::vector<ContentId> older;     // borrowed by the download
    bool has_damaged = false;         // see Catalog::damaged_of
  };
  struct Order {
    ContentId content;
    OrderHandlers handlers;
    Duration patience{0};  // 0: for ever
    Time since{};
    bool answered = false;
  };
  using Change = std::function<Status(const Catalog&)>;

  // agent.cc
  Content* content(const ContentId& id);
  static Error not_here(const ContentId& id);
  // `why` follows "from the store" in the log.
  void remove_all(const std::vector<ContentId>& ids, const std::string& why);
  void answer(const ContentId& id, const Status& outcome);
  void give_up(const ContentId& id, Time now);
  void tell_progress(const ContentId& id, const net::FetchProgress& progress);
  void touch(Content& content);
  void save(const Content& content);
  void on_disk(Change change);
  void empty_removed(std::uint64_t bytes);
  void later(std::function<void()> task);
  std::vector<Kept> kept(const ContentId* without = nullptr) const;
  RetentionLimits retention() const;
  Status make_room_for_one_more();
  static std::uint64_t bytes_in_store(const Content& content);
  bool is_in_use(const Content& content) const;
  static bool is_read(const Content& content) { return content.readable.use_count() > 1; }
  void set_readable(Content& content, std::shared_ptr<const ChunkReader> reader, Bitfield have);
  void close_readable(Content& content);
  void tidy(bool all = false);
  void tick();
  bool has_jobs() const;
  void drain();

  // agent_contents.cc
  void load();
  void want(const ContentId& id);
  void check(const ContentId& id);
  void on_checked(const ContentId& id, const Status& outcome);
  void recheck_stamps(const ContentId& id);
  void download(const ContentId& id);
  void on_manifest(const ContentId& id);
  void on_download_end(const ContentId& id, const Status& outcome);
  Status make_room(Content& content);
  void seal(const ContentId& id);
  void serve(const ContentId& id);
  void serve_files(const ContentId& id, std::shared_ptr<const ChunkReader> files);
  void unhost(Content& content);
  void forget(const ContentId& id);
  Secret tracker_psk() const;
  net::LinkOwners owners_of(const Holding& holding) const;
  Ready ready(const Content& content) const;

  // agent_older.cc
  void borrow_older(Content& content);
  void give_back_older(Content& content);
  bool do_without_older(Content& content);
  void search_older(Content& content);
  void remove_damaged(Content& content);
  void wait_for_disk();

  // agent_seed.cc
  struct ScanJob;
  void on_scanned(const std::shared_ptr<ScanJob>& job);
  void serve_source(const ContentId& id, ScanJob& job, bool known);
  Secret psk_for_seed(const SeedOrder& order) const;

  net::Loop& loop_;
  AgentConfig config_;
  std::shared_ptr<const Catalog> catalog_;
  std::unique_ptr<net::Node> node_;
  std::map<ContentId, Content> contents_;               // which stay where they are
  std::vector<std::unique_ptr<net::Download>> ending_;  // of contents that are gone
  std::multiset<ContentId> lent_;                       // see Content::older
  std::map<OrderId, Order> orders_;
  std::uint64_t being_removed_ = 0;  // bytes, on the disk still
  OrderId next_order_ = 1;
  std::uint64_t next_download_ = 1;
  AgentCounts counts_;
  net::Timer tick_timer_, drain_timer_;
  Time next_tidy_, drain_by_ = kNever;
  std::function<void()> on_stopped_;
  // Lets what was posted know that the agent is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  net::DiskThread disk_;  // changes of the catalog, in their order
};

}  // namespace p2p::agent
