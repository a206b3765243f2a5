// What goes wrong, by plan; and the caps that nothing may grow past.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tools/sim/world.h"

namespace p2p::sim {

// Who is slow, lies, loses chunks or is killed, by lot. A liar is nothing else, so that there is no
// doubt who should complete.
void World::plan_faults() {
  Random random = random_.fork("faults");
  std::vector<HostIndex> peers(scenario_.peers);
  for (HostIndex i = 0; i < scenario_.peers; ++i) peers[i] = i;
  const auto count = [&](double share) {
    return static_cast<std::size_t>(std::lround(share * scenario_.peers));
  };
  const auto deal = [&](double share, auto&& what) {
    random.shuffle(peers);
    std::size_t left = count(share);
    for (HostIndex peer : peers) {
      if (left == 0) return;
      if (hosts_[peer].report.liar || hosts_[peer].report.killed) continue;
      what(hosts_[peer], peer);
      --left;
    }
  };
  deal(scenario_.liars, [](Host& host, HostIndex) { host.report.liar = true; });
  deal(scenario_.slow, [](Host& host, HostIndex) { host.report.slow = true; });
  deal(scenario_.disk_faults, [](Host& host, HostIndex) { host.loses_chunks = true; });
  // Whom the scenario's list names is left to it.
  for (const ListedEvent& event : scenario_.events)
    if (const auto fetcher = scenario_.fetcher_of(event)) hosts_[*fetcher].report.killed = true;
  const double bound = scenario_.fluid_bound_seconds();
  deal(scenario_.churn, [&](Host& host, HostIndex peer) {
    host.report.killed = true;
    const double at = scenario_.churn_at_once ? scenario_.seconds_of(scenario_.churn_at)
                                              : bound * (0.25 + 0.5 * random.unit());
    events_.push(Time{} + from_seconds(at), EventKind::kKill, peer);
    events_.push(Time{} + from_seconds(at) + scenario_.churn_back, EventKind::kRestart, peer);
  });
  if (scenario_.has_tracker_down) {
    events_.push(Time{} + from_seconds(scenario_.seconds_of(scenario_.tracker_from)),
                 EventKind::kTrackerDown);
    events_.push(Time{} + from_seconds(scenario_.seconds_of(scenario_.tracker_to)),
                 EventKind::kTrackerUp);
  }
}

void World::plan_events(Time from) {
  for (std::uint32_t i = 0; i < scenario_.events.size(); ++i)
    events_.push(from + from_seconds(scenario_.seconds_of(scenario_.events[i].at)),
                 EventKind::kListed, i);
}

// As the lab does it: who is complete is left alone.
void World::on_listed(const ListedEvent& event) {
  const auto fetcher = scenario_.fetcher_of(event);
  if (!fetcher) return event.kill ? on_tracker_down() : on_tracker_up();
  const Host& host = hosts_[*fetcher];
  const bool runs = host.core != nullptr;
  if (host.report.arrived == kNever || host.report.completed != kNever || runs != event.kill)
    return;
  runs ? kill(*fetcher) : restart(*fetcher);
}

// The process is gone at once; its kernel closes the connections.
void World::kill(HostIndex index) {
  Host& host = hosts_[index];
  if (!host.core) {  // not there yet, or done
    host.report.killed = false;
    return;
  }
  const std::vector<EndIndex> ends = host.core->ends;
  for (EndIndex end : ends) {
    ends_[end].joined = false;
    close_end(end);
  }
  for (std::uint32_t connection : host.core->owner_connections)
    if (connection != 0) drop_owner_connection(connection);
  collect(*host.core);
  host.core.reset();
}

void World::restart(HostIndex index) {
  const Host& host = hosts_[index];
  if (host.report.killed && host.report.completed == kNever) start_host(index);
}

void World::collect(Core& core) {
  if (!core.swarm) return;
  const peer::SwarmStats stats = core.swarm->stats();
  received_bytes_ += stats.received_bytes;
  duplicate_bytes_ += stats.duplicate_bytes;
}

void World::check_cap(HostIndex host, const char* what, std::size_t size, std::size_t cap) const {
  if (size > cap) broken(host, absl::StrCat(what, ": ", size, ", more than ", cap));
}

}  // namespace p2p::sim
