#include "tools/sim/cluster_scenarios.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "tools/sim/cluster_lookups.h"

namespace p2p::sim {
namespace {

using namespace std::chrono_literals;
using gossip::MemberStatus;
using gossip::MemberTable;

ClusterConfig config_of(const ClusterScenario& scenario) {
  ClusterConfig config;
  config.seed = scenario.seed;
  config.loss = scenario.loss;
  return config;
}

double seconds_between(Time from, Time to) { return to_seconds(to - from); }

// Members that know each other, after a while in which they greeted and probed.
void settle(ClusterWorld& world, std::size_t members) {
  world.add_acquainted(members);
  world.run_for(5s);
}

void until_equal(ClusterWorld& world, Duration limit) {
  if (!world.run_until([&] { return world.views_equal(); }, limit, 100ms))
    throw ClusterBroken(absl::StrCat("the views are not equal after ", to_seconds(limit), " s"));
}

// One member says something new of itself.
Figures run_news(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  const NodeNumber who = static_cast<NodeNumber>(world.random().below(scenario.members));
  const Time start = world.now();
  world.change_service_port(who);
  const gossip::Incarnation incarnation = world.core(who).self().incarnation;
  const auto knowing = [&] {
    return world.count_views(who, [&](const MemberTable::Member* member) {
      return member && member->claim->incarnation >= incarnation;
    });
  };
  Figures figures;
  for (const double share : {0.5, 0.999, 1.0}) {
    const auto enough =
        static_cast<std::size_t>(std::ceil(share * static_cast<double>(scenario.members)));
    if (!world.run_until([&] { return knowing() >= enough; }, 60s))
      throw ClusterBroken("news does not reach all");
    figures.emplace_back(absl::StrCat("known to ", 100 * share, " %, s"),
                         seconds_between(start, world.now()));
  }
  return figures;
}

// One stops without a word.
Figures run_crash(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  const NodeNumber who = static_cast<NodeNumber>(world.random().below(scenario.members));
  const Time start = world.now();
  world.crash(who);
  Figures figures;
  const auto wait_for = [&](MemberStatus status, const std::string& name) {
    const auto all = [&] {
      return world.count_views(who, [&](const MemberTable::Member* member) {
        return member->status >= status;
      }) == world.up();
    };
    if (!world.run_until(all, 60s)) throw ClusterBroken("a crash is not known everywhere");
    figures.emplace_back(name, seconds_between(start, world.now()));
  };
  wait_for(MemberStatus::kSuspect, "suspected everywhere, s");
  wait_for(MemberStatus::kDead, "known everywhere, s");
  figures.emplace_back("wrongly dead", static_cast<double>(world.wrongly_dead()));
  return figures;
}

Figures run_idle(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  world.reset_traffic();
  world.run_for(60s);
  return {{"sent by a member, bytes/s", world.mean_bytes_per_second()},
          {"by the busiest, bytes/s", world.worst_bytes_per_second()},
          {"wrongly dead", static_cast<double>(world.wrongly_dead())}};
}

// All come within a minute, and know the seeds alone.
Figures run_join(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  constexpr Duration kWithin = 60s;
  for (std::size_t i = 0; i < scenario.members; ++i) {
    world.join();
    world.run_for(kWithin / scenario.members);
    if (scenario.progress && i % 500 == 0) std::fprintf(stderr, "%zu have joined\n", i);
  }
  const Time last = world.now();
  for (int i = 0; scenario.progress && i < 60 && !world.views_equal(); ++i) {
    world.run_for(1s);
    std::uint32_t least = ~0u;
    for (NodeNumber node = 0; node < world.size(); ++node)
      least = std::min(least, world.core(node).table().summary().live);
    std::fprintf(stderr, "%d s after the last the least view has %u\n", i + 1, least);
  }
  until_equal(world, 600s);
  return {{"equal after the last, s", seconds_between(last, world.now())},
          {"sent by a member, kbit/s", world.mean_bytes_per_second() * 8 / 1000},
          {"by the busiest, kbit/s", world.worst_bytes_per_second() * 8 / 1000},
          {"in its busiest second, kbit/s", world.peak_bytes_per_second() * 8 / 1000}};
}

// One in 25 gets to run for moments only, for five minutes.
Figures run_starve(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  const std::size_t starved = std::max<std::size_t>(1, scenario.members / 25);
  for (NodeNumber node = 0; node < starved; ++node)
    world.starve(static_cast<NodeNumber>(scenario.members - 1 - node), 20s, world.now() + 300s);
  world.run_for(300s);
  const auto wrongly = static_cast<double>(world.wrongly_dead());
  const Time end = world.now();
  until_equal(world, 120s);
  return {{"starved", static_cast<double>(starved)},
          {"healthy ones declared dead", wrongly},
          {"equal after it, s", seconds_between(end, world.now())}};
}

// A member stops and is back at once, under another address.
Figures run_move(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  const auto who = static_cast<NodeNumber>(3 + world.random().below(scenario.members - 3));
  world.crash(who);
  world.run_for(100ms);
  const Time start = world.now();
  world.restart(who, true);
  const auto known = [&] {
    return world.count_views(who, [&](const MemberTable::Member* member) {
      return *member->claim == world.core(who).self() && gossip::is_live(member->status);
    }) == world.up();
  };
  if (!world.run_until(known, 60s)) throw ClusterBroken("the new address is not known");
  return {{"known everywhere, s", seconds_between(start, world.now())}};
}

// Two halves that cannot hear each other for two minutes.
Figures run_partition(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  // The seeds are all in one half.
  for (NodeNumber node = 0; node < scenario.members; ++node)
    world.set_group(node, node < scenario.members / 2 ? 0 : 1);
  world.run_for(120s);
  const Time start = world.now();
  for (NodeNumber node = 0; node < scenario.members; ++node) world.set_group(node, 0);
  until_equal(world, 300s);
  return {{"equal after it, s", seconds_between(start, world.now())}};
}

// Everything at once, then rest: what must hold holds, and the views become equal.
Figures run_chaos(const ClusterScenario& scenario) {
  const ClusterConfig config = config_of(scenario);
  const std::size_t seeds = config.seeds;
  ClusterWorld world(config);
  settle(world, scenario.members);
  Random& random = world.random();
  std::vector<bool> departed(scenario.members);
  for (int i = 0; i < 60; ++i) {
    const auto who = static_cast<NodeNumber>(random.below(scenario.members));
    switch (random.below(6)) {
      case 0:
        if (world.is_up(who) && world.up() > 2) world.crash(who);
        break;
      case 1:
        if (world.is_up(who) && world.up() > 2) world.leave(who);
        break;
      case 2:
        // Seeds stay where they are.
        if (!world.is_up(who)) world.restart(who, random.chance(0.5) && who >= seeds);
        break;
      case 3:
        if (world.is_up(who)) world.starve(who, from_seconds(5 * random.unit()), world.now() + 10s);
        break;
      case 4:
        world.set_group(who, static_cast<int>(random.below(3)));
        break;
      case 5:
        if (world.is_up(who)) world.change_service_port(who);
        break;
    }
    world.run_for(from_seconds(3 * random.unit()));
  }
  for (NodeNumber node = 0; node < scenario.members; ++node) world.set_group(node, 0);
  // One who starts while no seed is there can find nobody.
  if (!world.is_up(0)) world.restart(0, false);
  const Time end = world.now();
  until_equal(world, 300s);
  return {{"members at the end", static_cast<double>(world.up())},
          {"equal after it, s", seconds_between(end, world.now())},
          {"healthy ones declared dead", static_cast<double>(world.wrongly_dead())}};
}

Figures run_churn(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  return lookups_under_churn(world, 0.01, 300s);
}

Figures run_kill(const ClusterScenario& scenario) {
  ClusterWorld world(config_of(scenario));
  settle(world, scenario.members);
  return lookups_after_kill(world, 0.1);
}

struct Entry {
  const char* name;
  const char* help;
  Figures (*run)(const ClusterScenario&);
};
constexpr Entry kScenarios[] = {
    {"news", "one member changes; how long until the others know", run_news},
    {"crash", "one member stops without a word", run_crash},
    {"idle", "nothing happens for a minute", run_idle},
    {"join", "all join within a minute, by three seeds", run_join},
    {"starve", "one in 25 gets hardly any CPU for five minutes", run_starve},
    {"move", "one is back under another address", run_move},
    {"partition", "two halves are parted for two minutes", run_partition},
    {"chaos", "crashes, departures, returns, starvation and partitions, then rest", run_chaos},
    {"churn", "lookups while 1 % of the members a minute come and go", run_churn},
    {"kill", "lookups after 10 % of the members were killed at once", run_kill},
};

}  // namespace

const std::vector<std::pair<std::string, std::string>>& cluster_scenarios() {
  static const auto names = [] {
    std::vector<std::pair<std::string, std::string>> list;
    for (const Entry& entry : kScenarios) list.emplace_back(entry.name, entry.help);
    return list;
  }();
  return names;
}

Result<Figures> run_cluster_scenario(const ClusterScenario& scenario) {
  if (scenario.members < 5 || scenario.members > gossip::kMaxMembers)
    return Error{ErrorCode::kUsage, absl::StrCat("members: from 5 to ", gossip::kMaxMembers,
                                                 ", not ", scenario.members)};
  for (const Entry& entry : kScenarios)
    if (scenario.what == entry.name) return entry.run(scenario);
  return Error{ErrorCode::kUsage, absl::StrCat("there is no scenario ", scenario.what)};
}

}  // namespace p2p::sim
