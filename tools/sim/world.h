// World: hosts that run the product's own cores (announcer, peer book, manifest fetch, swarm; the
// seeders and the tracker an owner each) over simulated links, in virtual time. Everything follows
// from the scenario and its seed.
//
// What stands for the product's shell is in world_sessions.cc (connections and messages),
// world_owners.cc (discovery) and world_data.cc (chunks on links and disks); world_faults.cc kills,
// restarts and lies. Messages take the latency and no bandwidth: the product sends them ahead of
// chunk data. A dial takes five latencies (TCP, then the three handshake messages), as in the
// product.
//
// Everything that a core does is held against what it may do (Broken names what was broken):
// - only verified chunks are advertised, and sent;
// - no honest peer breaks the protocol in another's eyes, which covers requests for what the other
//   side lacks, more requests than it may have, and chunks that nobody asked for; nobody honest is
//   banned;
// - bytes that are requested and not here stay within the window's cap; no queue grows past its
// cap;
// - every peer that is alive, and no liar, completes.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/cache.h"
#include "base/random.h"
#include "content/bitfield.h"
#include "peer/manifest_fetch.h"
#include "peer/messages.h"
#include "peer/peer_book.h"
#include "peer/swarm.h"
#include "tools/sim/event_queue.h"
#include "tools/sim/links.h"
#include "tools/sim/scenario.h"
#include "tools/sim/slots.h"
#include "tools/sim/tape.h"
#include "tracker/announcer.h"
#include "tracker/owner.h"

namespace p2p::sim {

using HostIndex = std::uint32_t;
using EndIndex = std::uint32_t;  // one side of a connection; the other side is the index ^ 1
using ChunkList = absl::InlinedVector<ChunkIndex, 4>;

// An invariant does not hold. The text says which, where and when.
class Broken : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct HostReport {
  bool seeder = false, slow = false, liar = false;
  bool killed = false;  // or named by an event that the scenario lists
  std::uint32_t rack = 0;
  Time arrived = kNever;
  Time completed = kNever;
  double sent_bytes = 0;  // of chunks, whole or not
};

class World {
 public:
  static constexpr std::size_t kUseBuckets = 200;

  // `tape`: where one host's swarm is recorded; not owned.
  explicit World(const Scenario& scenario, Tape* tape = nullptr);
  ~World();
  // Writes what happens to chunks and peers as lines of text, for plots; not owned.
  void set_trace(std::FILE* file) { trace_file_ = file; }
  // For tests of the checks, so that they can be a faulty core: what is done in place of each
  // action of a swarm.
  using Tamper = std::function<std::vector<peer::SwarmAction>(HostIndex, peer::SwarmAction&&)>;
  void set_tamper(Tamper tamper) { tamper_ = std::move(tamper); }

  // Until all who should are complete, or until `limit`. Throws Broken.
  void run(Duration limit);

  // Those that should be complete and are not, with their neighbours: up to `most` of them.
  std::string describe_unfinished(std::size_t most) const;

  const Scenario& scenario() const { return scenario_; }
  std::vector<HostReport> hosts() const;
  Time now() const { return now_; }
  std::uint64_t trace_hash() const { return trace_hash_; }
  std::uint64_t events() const { return events_done_; }
  std::uint64_t events_of(EventKind kind) const { return by_kind_[static_cast<std::size_t>(kind)]; }
  std::uint64_t links_solved() const { return links_.solved(); }
  // Of chunks, by peers; duplicates are those that came in vain. After run().
  std::uint64_t received_bytes() const { return received_bytes_; }
  std::uint64_t duplicate_bytes() const { return duplicate_bytes_; }
  double cross_rack_bytes() const { return cross_rack_bytes_; }
  // Bytes that left peers and seeders, in slices of bucket_width(), from the start.
  const std::vector<double>& sent_over_time() const { return sent_over_time_; }
  const std::vector<double>& seeders_sent_over_time() const { return seeders_sent_over_time_; }
  Duration bucket_width() const { return bucket_width_; }

 private:
  // What nearly every event needs stands first, in Core, Host and End.

  // What a host loses when it is killed.
  struct alignas(kCacheLineBytes) Core {
    std::unique_ptr<peer::Swarm> swarm;             // from when the manifest is here
    std::unique_ptr<peer::ManifestFetch> manifest;  // until then
    std::unique_ptr<peer::PeerBook> book;
    std::unique_ptr<tracker::Announcer> announcer;
    std::uint32_t life = 0;
    std::uint32_t on_way = 0;  // chunks asked for and not here, of the giver's choice too
    peer::Hunger hunger = peer::Hunger::kFed;
    bool book_dirty = true;       // it may have actions,
    bool announcer_dirty = true;  // and so may it; outer_wake is to be computed again
    Time outer_wake = kNever;     // of both
    Time wake_at = kNever;
    std::vector<EndIndex> ends;                    // open ones
    std::vector<std::uint32_t> owner_connections;  // of the announcer, by owner; 0: none
    PeerId id;
  };
  struct alignas(kCacheLineBytes) Host {
    std::unique_ptr<Core> core;  // while it is alive
    Bitfield verified;           // what is on its disk; empty until it has the manifest
    std::uint32_t rack = 0;
    LinkId up, down;
    std::uint32_t lives = 0;
    HostReport report;
    bool loses_chunks = false;
    Time disk_free_at{};
    Endpoint endpoint;  // of this life
  };
  struct Send {
    ChunkIndex chunk;
    std::uint32_t length;
  };
  struct alignas(kCacheLineBytes) End {
    HostIndex host;
    std::uint32_t life = 0;
    bool open = false;
    bool joined = false;
    bool dialled = false;    // by this side
    std::uint32_t told = 0;  // bytes of the first send that the receiver has been told of
    ChunkList expected;      // to be received here
    // What this side sends: the first of the queue is on the links.
    absl::InlinedVector<Send, 2> queue;
    double left = 0;  // bytes of the first that have not gone out
    double rate = 0;
    Time updated{};
    Time scheduled = kNever;          // its kFlowEnd
    Time progress_at = kNever;        // its kProgress
    Time last_arrival = Time::min();  // of a message at this side
    Time next_peers = Time::min();
    Endpoint endpoint;  // where this side dialled
    std::optional<peer::Chunks> early;
    ChunkList dropped;  // may still come, and are thrown away
    // Requests of this side for kAnyChunk that are not answered, and how many of them are
    // cancelled.
    std::uint32_t anys = 0, cancelled_anys = 0;
  };
  struct OwnerInFlight {
    std::uint32_t connection;
    tracker::Message message;
  };
  // The tracker (the first, where there is one), or a seeder that answers announces.
  struct OwnerNode {
    std::unique_ptr<tracker::Owner> owner;  // none while the tracker is down
    Time wake_at = kNever;
  };
  // Between a host's announcer and an owner.
  struct OwnerConnection {
    HostIndex host;
    std::uint32_t life;
    std::uint32_t owner;
    bool open = true;
  };

  // world.cc
  void dispatch(const Event& event);
  void start_host(HostIndex index);
  void start_swarm(HostIndex index, Bitfield have);
  void drain(HostIndex index);
  bool drain_book(HostIndex index);
  bool drain_manifest(HostIndex index);
  void on_host_timer(HostIndex index);
  void act(HostIndex index, peer::SwarmAction& action);
  void completed(HostIndex index);
  void leave(HostIndex index);
  void note(std::uint64_t value) {
    trace_hash_ = (trace_hash_ ^ value) * 0x100000001b3u;
    trace_hash_ ^= trace_hash_ >> 29;
  }
  [[noreturn]] void broken(HostIndex host, const std::string& what) const;
  bool is_alive(EndIndex end) const {
    const Host& host = hosts_[ends_[end].host];
    return host.core && host.core->life == ends_[end].life;
  }

  Tape* tape_of(HostIndex index) const {
    return tape_ != nullptr && tape_->host() == index ? tape_ : nullptr;
  }
  // Every input of a host's swarm comes in here.
  template <typename... Parameters, typename... Arguments>
  void tell_swarm(HostIndex index, void (peer::Swarm::*input)(Parameters...),
                  const Arguments&... arguments) {
    (*hosts_[index].core->swarm.*input)(arguments..., now_);
    if (Tape* tape = tape_of(index))
      tape->add([=, now = now_](peer::Swarm& swarm) { (swarm.*input)(arguments..., now); });
  }

  // To tell it something.
  static tracker::Announcer& announcer_of(Core& core) {
    core.announcer_dirty = true;
    return *core.announcer;
  }

  // world_fetch.cc
  void fetch_ahead() const;
  const peer::Swarm* swarm_of(EndIndex end) const;
  ChunkIndex chunk_of(const Event& event) const;

  // world_sessions.cc
  void dial(HostIndex index, const Endpoint& endpoint);
  void on_dial_arrived(EndIndex end);
  void send(EndIndex from, peer::Message&& message);
  void on_message(EndIndex end, peer::Message& message);
  void on_join(EndIndex end);
  void on_bye(EndIndex end, const peer::Bye& bye);
  void enter_swarm(EndIndex end);
  void say_bye(EndIndex end, peer::Bye bye);
  void part(EndIndex end, bool for_good);
  void shut(EndIndex end);
  void close_end(EndIndex end);
  void on_closed(EndIndex end);
  void check_sent(EndIndex end, const peer::Message& message);
  bool has(HostIndex host, ChunkIndex chunk) const {
    const Bitfield& verified = hosts_[host].verified;
    return chunk < verified.size() && verified.test(chunk);
  }
  Time arrival(EndIndex to);

  // world_owners.cc
  void start_owners();
  void start_announcer(HostIndex index);
  bool drain_announcer(HostIndex index);
  void drain_owner(std::uint32_t owner);
  void on_owner_up(HostIndex host, std::uint32_t owner, std::uint32_t life);
  void on_owner_gone(std::uint32_t connection);
  void on_owner_lost(std::uint32_t connection);
  void on_to_owner(const OwnerInFlight& message);
  void on_from_owner(const OwnerInFlight& message);
  void on_owner_timer(std::uint32_t owner);
  void send_owner(EventKind kind, std::uint32_t connection, tracker::Message message);
  void on_tracker_down();
  void on_tracker_up();
  void drop_owner_connection(std::uint32_t connection);
  OwnerConnection& owner_connection(std::uint32_t connection) {
    return owner_connections_[connection - 1];
  }

  // world_data.cc
  void begin_send(EndIndex end, ChunkIndex chunk);
  void stop_send(EndIndex end, ChunkIndex chunk);
  void start_flow(EndIndex end);
  void next_send(EndIndex end);
  void advance(EndIndex end);
  void schedule_end(EndIndex end);
  void drop_queue(EndIndex end);
  std::string zone_of(HostIndex index) const;
  HostIndex host_of(const Endpoint& endpoint) const;
  void settle_flows();
  void fetch_changed(std::span<const FlowId> flows) const;
  void on_flow_end(EndIndex end);
  void on_progress(EndIndex end);
  void on_chunk_arrived(EndIndex to, ChunkIndex chunk, std::uint32_t bytes);
  void on_verified(EndIndex to, ChunkIndex chunk, std::uint32_t life);
  void deliver_data(EndIndex to, ChunkIndex chunk, std::uint32_t bytes);
  void expect(EndIndex end, ChunkIndex chunk);
  bool expect_no_more(EndIndex end, ChunkIndex chunk);
  void note_data(EndIndex to, ChunkIndex chunk, std::uint32_t bytes);
  void drop_expected(EndIndex end, ChunkIndex chunk);
  void note_asked(EndIndex end, const peer::Message& message);
  void note_answer(EndIndex end, const peer::Message& message);
  void forget_asked(EndIndex end);
  void check_window(HostIndex host) const;

  // world_faults.cc
  void plan_faults();
  void plan_events(Time from);
  void on_listed(const ListedEvent& event);
  void kill(HostIndex index);
  void restart(HostIndex index);
  void check_cap(HostIndex host, const char* what, std::size_t size, std::size_t cap) const;
  void collect(Core& core);

  Scenario scenario_;
  Layout layout_;
  Random random_;
  Random loss_random_;
  Time now_{};
  Time end_of_time_ = kNever;
  EventQueue events_;
  Links links_;
  std::vector<LinkId> rack_up_, rack_down_;
  std::vector<Host> hosts_;  // peers first, then seeders
  Blocks<End> ends_;
  Slots<peer::Message> in_flight_;
  Slots<OwnerInFlight> owner_in_flight_;

  Bytes manifest_;
  ContentId content_;
  SwarmId swarm_id_;

  std::vector<OwnerNode> owners_;
  std::uint32_t tracker_lives_ = 0;
  std::vector<OwnerConnection> owner_connections_;  // by connection - 1

  std::uint32_t unfinished_ = 0;  // peers that should complete and have not
  std::uint64_t trace_hash_ = 0xcbf29ce484222325u;
  std::uint64_t events_done_ = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(EventKind::kCount)> by_kind_{};
  std::uint64_t received_bytes_ = 0, duplicate_bytes_ = 0;
  double cross_rack_bytes_ = 0;
  std::vector<double> sent_over_time_, seeders_sent_over_time_;
  Duration bucket_width_;
  std::size_t slice_ = 0;  // of sent_over_time_, that is being filled, and its end
  Time slice_end_{};
  Tape* tape_;
  std::FILE* trace_file_ = nullptr;
  Tamper tamper_;
};

}  // namespace p2p::sim
