// Links: how the transfers under way share the links, as long-lived TCP connections roughly do:
// max-min fairly. A flow crosses two links or more (an uplink, a downlink, those of racks); the
// narrowest gives its rate, and what it leaves on the others goes to the flows there.
//
// Each link keeps a level, the most that it gives to any flow. A change at one link re-solves it,
// then the links of those flows whose rate it changed, and so on until what changes is less than
// kTolerance: most changes die out after a few links, so that the cost does not grow with the
// swarm. So a link may carry up to about that much more or less than it should.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/cache.h"

namespace p2p::sim {

using LinkId = std::uint32_t;
using FlowId = std::uint32_t;  // the caller's choice, dense

class Links {
 public:
  static constexpr std::size_t kMaxPath = 4;
  static constexpr double kTolerance = 0.01;

  LinkId add(double bytes_per_second);

  void start(FlowId flow, std::span<const LinkId> path);
  void stop(FlowId flow);
  bool flows(FlowId flow) const { return flow < flows_.size() && flows_[flow].length > 0; }
  // Bytes a second; settled by settle(), 0 for one that was started since.
  double rate(FlowId flow) const { return flows_[flow].rate; }

  // Settles the rates after starts and stops. Afterwards changed() are the flows whose rate did,
  // in a deterministic order, each once.
  void settle();
  std::span<const FlowId> changed() const { return changed_; }
  // Is there anything to settle?
  bool dirty() const { return !queue_.empty(); }

  // A hint: the flow is going to be stopped.
  void fetch(FlowId flow) const {
    if (flow < flows_.size()) fetch_into_cache(&flows_[flow], sizeof(Flow));
  }

  // The sum of the rates on it.
  double load(LinkId link) const;
  std::size_t count(LinkId link) const { return links_[link].flows.size(); }
  std::uint64_t solved() const { return solved_; }

 private:
  struct alignas(64) Flow {
    double rate = 0;
    std::uint8_t length = 0;  // of the path; 0: does not flow
    bool is_changed = false;
    std::array<LinkId, kMaxPath> path;
    std::array<std::uint32_t, kMaxPath> place;  // in the link's list
  };
  struct Place {
    FlowId flow;
    LinkId other;  // of two that the flow crosses; kSeveral where its path must be asked
  };
  struct Link {
    double capacity;
    std::vector<Place> flows;
  };
  static constexpr LinkId kSeveral = 0xffffffff;

  void enqueue(LinkId link);
  void solve(LinkId link);
  double limit_beside(const Place& place, LinkId link) const;
  void enqueue_others(const Place& place, LinkId link, double old_level);
  void fetch_queued() const;
  double level_of(LinkId id);

  std::vector<Link> links_;
  // The most that each link gives to any flow: apart, for a solution asks many others for theirs.
  std::vector<double> levels_;
  std::vector<std::uint8_t> queued_;  // links in queue_, apart as well
  std::vector<Flow> flows_;
  std::vector<LinkId> queue_;
  std::size_t next_ = 0;
  std::vector<FlowId> changed_;
  std::vector<double> limits_;  // scratch
  std::uint64_t solved_ = 0;
};

}  // namespace p2p::sim
