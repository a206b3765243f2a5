#include "tools/sim/cluster_lookups.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "gossip/ownership.h"

namespace p2p::sim {
namespace {

using namespace std::chrono_literals;

// An announcer looks at its view this often, as the node does (kMembersSettle of
// net/gossip_service.h), and its announce is in the table when a connection was made and it was
// said: 3 round trips.
constexpr Duration kLook = 200ms;
constexpr Duration kAnnounceTime = 5ms;
constexpr std::size_t kContents = 50;
constexpr std::size_t kAnnouncers = 3;  // of each content

struct Content {
  SwarmId swarm;
  struct Announcer {
    NodeNumber node = 0;
    std::uint64_t version = ~std::uint64_t{0};  // of the view it last looked at
    std::map<PeerId, Time> announced;           // in whose table it stands, since when
  };
  std::vector<Announcer> announcers;
};

class Lookups {
 public:
  explicit Lookups(ClusterWorld& world) : world_(world) {
    for (std::size_t i = 0; i < kContents; ++i) {
      Content content;
      for (std::uint8_t& byte : content.swarm.bytes)
        byte = static_cast<std::uint8_t>(world_.random().next());
      for (std::size_t k = 0; k < kAnnouncers; ++k) content.announcers.push_back({any_up()});
      contents_.push_back(std::move(content));
    }
    look();
    world_.run_for(1s);
  }

  NodeNumber any_up() {
    for (;;) {
      const auto node = static_cast<NodeNumber>(world_.random().below(world_.size()));
      if (world_.is_up(node)) return node;
    }
  }

  // Announcers follow their views. One that was killed is replaced by another member, which has
  // fetched the content.
  void look() {
    for (Content& content : contents_)
      for (Content::Announcer& announcer : content.announcers) {
        if (!world_.is_up(announcer.node)) announcer = {any_up()};
        const gossip::MemberTable& table = world_.core(announcer.node).table();
        if (table.version() == announcer.version) continue;
        announcer.version = table.version();
        std::map<PeerId, Time> announced;
        for (const gossip::ClaimPtr& owner : gossip::owners_of(table, content.swarm)) {
          const auto known = announcer.announced.find(owner->id);
          announced[owner->id] =
              known == announcer.announced.end() ? world_.now() + kAnnounceTime : known->second;
        }
        announcer.announced = std::move(announced);
      }
  }

  bool answers(const PeerId& owner, const Content& content) const {
    const NodeNumber* node = world_.find(owner);
    if (!node || !world_.is_up(*node)) return false;
    return std::any_of(content.announcers.begin(), content.announcers.end(),
                       [&](const Content::Announcer& announcer) {
                         const auto entry = announcer.announced.find(owner);
                         return world_.is_up(announcer.node) &&
                                entry != announcer.announced.end() && entry->second <= world_.now();
                       });
  }

  // The place of the first owner asked that answers; as many as are asked when none does. One that
  // is gone is found so at once, by a connection refused.
  std::size_t ask(NodeNumber asker, const Content& content) const {
    const auto owners = gossip::owners_to_ask(world_.core(asker).table(), content.swarm);
    std::size_t place = 0;
    while (place < std::min(owners.size(), gossip::kAskedOwners) &&
           !answers(owners[place]->id, content))
      ++place;
    return place;
  }

  const std::vector<Content>& contents() const { return contents_; }

 private:
  ClusterWorld& world_;
  std::vector<Content> contents_;
};

}  // namespace

Figures lookups_under_churn(ClusterWorld& world, double share, Duration duration) {
  const double members = static_cast<double>(world.up());
  Lookups lookups(world);
  // Of each kind: those that crash, those that leave, and as many that join.
  const double a_second = members * share / 60;
  std::uint64_t asked = 0, first = 0, answered = 0, gone = 0;
  const Time end = world.now() + duration;
  while (world.now() < end) {
    if (world.random().chance(a_second * to_seconds(kLook))) {
      // Half of those that go say so.
      const NodeNumber node = lookups.any_up();
      if (world.random().chance(0.5))
        world.crash(node);
      else
        world.leave(node);
      world.join();
      ++gone;
    }
    world.run_for(kLook);
    lookups.look();
    world.run_for(2 * kAnnounceTime);
    for (const Content& content : lookups.contents()) {
      const std::size_t place = lookups.ask(lookups.any_up(), content);
      ++asked;
      first += place == 0;
      answered += place < gossip::kAskedOwners;
    }
  }
  const auto percent = [&](std::uint64_t part) {
    return 100 * static_cast<double>(part) / static_cast<double>(asked);
  };
  return {{"members that came and went", static_cast<double>(gone)},
          {"lookups", static_cast<double>(asked)},
          {"answered by the first owner asked, %", percent(first)},
          {"answered, %", percent(answered)}};
}

Figures lookups_after_kill(ClusterWorld& world, double share) {
  Lookups lookups(world);
  const auto killed = static_cast<std::size_t>(static_cast<double>(world.up()) * share);
  // Every content keeps an announcer: one whose peers are all dead is not there to be found.
  std::set<NodeNumber> spared;
  for (const Content& content : lookups.contents()) spared.insert(content.announcers[0].node);
  for (std::size_t i = 0; i < killed;) {
    const NodeNumber node = lookups.any_up();
    if (spared.contains(node)) continue;
    world.crash(node);
    ++i;
  }
  // Each lookup is begun at once and asked again each second.
  struct Open {
    NodeNumber asker;
    const Content* content;
  };
  std::vector<Open> open;
  for (int round = 0; round < 20; ++round)
    for (const Content& content : lookups.contents()) open.push_back({lookups.any_up(), &content});
  const double all = static_cast<double>(open.size());
  Figures figures{{"killed", static_cast<double>(killed)}, {"lookups", all}};
  for (int second = 0; second <= 5; ++second) {
    std::erase_if(open, [&](const Open& lookup) {
      return lookups.ask(lookup.asker, *lookup.content) < gossip::kAskedOwners;
    });
    if (second == 0 || second == 1 || second == 5)
      figures.emplace_back(absl::StrCat("answered within ", second, " s, %"),
                           100 * (1 - static_cast<double>(open.size()) / all));
    for (int i = 0; i < 5; ++i) {
      world.run_for(kLook);
      lookups.look();
    }
  }
  return figures;
}

}  // namespace p2p::sim
