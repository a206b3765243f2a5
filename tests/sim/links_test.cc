// The simulator's incremental shares against an exact solver that starts from nothing each time.
#include "tools/sim/links.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <map>
#include <vector>

#include "base/random.h"

using namespace p2p;
using namespace p2p::sim;

namespace {

using Paths = std::map<FlowId, std::vector<LinkId>>;

// A link stays at its level until the exact one is kTolerance away, and so does each link whose
// flows it holds back; a path has four at most.
constexpr double kTolerance = 6 * Links::kTolerance;

// Max-min fair rates by progressive filling: all flows grow together; when a link is full, its
// flows stay as they are.
std::map<FlowId, double> exact_rates(const std::vector<double>& capacities, const Paths& paths) {
  std::map<FlowId, double> rates;
  std::vector<double> left = capacities;
  Paths growing = paths;
  double level = 0;
  while (!growing.empty()) {
    std::vector<double> users(left.size());
    for (const auto& [flow, path] : growing)
      for (LinkId link : path) ++users[link];
    double step = std::numeric_limits<double>::infinity();
    for (LinkId link = 0; link < left.size(); ++link)
      if (users[link] > 0) step = std::min(step, left[link] / users[link]);
    level += step;
    for (LinkId link = 0; link < left.size(); ++link) left[link] -= step * users[link];
    std::erase_if(growing, [&](const auto& flow) {
      const bool stays = std::any_of(flow.second.begin(), flow.second.end(), [&](LinkId link) {
        return left[link] <= 1e-9 * capacities[link];
      });
      if (stays) rates[flow.first] = level;
      return stays;
    });
  }
  return rates;
}

struct Network {
  Links links;
  std::vector<double> capacities;
  Paths paths;

  LinkId add(double capacity) {
    capacities.push_back(capacity);
    return links.add(capacity);
  }
  void start(FlowId flow, std::vector<LinkId> path) {
    links.start(flow, path);
    paths[flow] = std::move(path);
  }
  void stop(FlowId flow) {
    links.stop(flow);
    paths.erase(flow);
  }
  void settle() {
    do links.settle();
    while (links.dirty());
  }
  // How far the rates are from the exact ones, in shares of these; the worst.
  double worst_error() const {
    double worst = 0;
    for (const auto& [flow, rate] : exact_rates(capacities, paths))
      worst = std::max(worst, std::abs(links.rate(flow) - rate) / rate);
    return worst;
  }
  double worst_overload() const {
    double worst = 0;
    for (LinkId link = 0; link < capacities.size(); ++link)
      worst = std::max(worst, links.load(link) / capacities[link] - 1);
    return worst;
  }
};

}  // namespace

TEST_CASE("the exact solver gives what can be worked out by hand") {
  // A: 10 shared by flows 1 and 2; B: 3, flow 2 alone goes on over it; C: 100, flow 3 alone.
  const auto rates = exact_rates({10, 3, 100}, {{1, {0}}, {2, {0, 1}}, {3, {2}}});
  CHECK(rates.at(1) == Approx(7));
  CHECK(rates.at(2) == Approx(3));
  CHECK(rates.at(3) == Approx(100));
}

TEST_CASE("one flow has its narrowest link, two share it, and one has it again") {
  Network network;
  const LinkId wide = network.add(100);
  const LinkId narrow = network.add(10);
  network.start(0, {wide, narrow});
  network.settle();
  CHECK(network.links.rate(0) == Approx(10));
  CHECK(network.links.flows(0));
  network.start(1, {narrow});
  network.settle();
  CHECK(network.links.rate(0) == Approx(5));
  CHECK(network.links.rate(1) == Approx(5));
  CHECK(network.links.count(narrow) == 2);
  network.stop(0);
  network.settle();
  CHECK_FALSE(network.links.flows(0));
  CHECK(network.links.rate(1) == Approx(10));
  CHECK(network.links.load(wide) == 0);
}

TEST_CASE("settle names the flows whose rate changed, each once, and no other") {
  Network network;
  const LinkId a = network.add(10);
  const LinkId b = network.add(10);
  network.start(0, {a});
  network.start(1, {b});
  network.settle();
  network.start(2, {a});
  CHECK(network.links.dirty());
  network.links.settle();
  CHECK_FALSE(network.links.dirty());
  std::vector<FlowId> changed(network.links.changed().begin(), network.links.changed().end());
  std::sort(changed.begin(), changed.end());
  CHECK(changed == std::vector<FlowId>{0, 2});
  network.links.settle();
  CHECK(network.links.changed().empty());
}

TEST_CASE("random networks: rates near the exact ones, no link overfull, every flow flows") {
  double worst_error = 0, worst_overload = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Network network;
    const std::uint64_t link_count = 2 + random.below(49);
    // Equal links, as in most clusters, or of all widths.
    const bool equal = random.chance(0.3);
    for (std::uint64_t i = 0; i < link_count; ++i)
      network.add(equal ? 1e8 : 1e5 * (1 + static_cast<double>(random.below(10'000))));
    for (int step = 0; step < 60; ++step) {
      for (std::uint64_t changes = 1 + random.below(8); changes > 0; --changes) {
        const auto flow = static_cast<FlowId>(random.below(200));
        if (network.paths.contains(flow)) {
          network.stop(flow);
          continue;
        }
        std::vector<LinkId> all(link_count);
        for (LinkId link = 0; link < link_count; ++link) all[link] = link;
        random.shuffle(all);
        all.resize(std::min<std::uint64_t>(link_count, 1 + random.below(Links::kMaxPath)));
        network.start(flow, all);
      }
      network.settle();
      worst_error = std::max(worst_error, network.worst_error());
      worst_overload = std::max(worst_overload, network.worst_overload());
      REQUIRE(network.worst_error() <= kTolerance);
      REQUIRE(network.worst_overload() <= kTolerance);
      for (const auto& [flow, path] : network.paths) REQUIRE(network.links.rate(flow) > 0);
    }
  }
  INFO("worst error " << worst_error << ", worst overload " << worst_overload);
  CHECK(worst_error > 0);  // or nothing was compared
}

TEST_CASE("many small steps do not add up to an error") {
  Network network;
  const LinkId link = network.add(1e6);
  for (FlowId flow = 0; flow < 2000; ++flow) {
    network.start(flow, {link});
    network.settle();
  }
  CHECK(network.worst_error() <= kTolerance);
  for (FlowId flow = 0; flow < 1999; ++flow) {
    network.stop(flow);
    network.settle();
  }
  CHECK(network.links.rate(1999) == Approx(1e6).epsilon(kTolerance));
}
