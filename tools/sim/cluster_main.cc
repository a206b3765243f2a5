// p2p-cluster-sim: what becomes of a cluster's membership in virtual time.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <random>

#include "tools/sim/cluster_scenarios.h"

namespace {

constexpr int kExitBroken = 1;
constexpr int kExitUsage = 2;

}  // namespace

int main(int argc, char** argv) {
  using namespace p2p::sim;
  CLI::App app{"Runs the product's own membership in a simulated cluster and reports."};
  std::string list = "What to run:\n";
  for (const auto& [name, help] : cluster_scenarios())
    list += "  " + name + std::string(12 - name.size(), ' ') + help + "\n";
  app.footer(list + "Example:\n  p2p-cluster-sim crash --members 15000");
  ClusterScenario scenario;
  std::uint32_t runs = 1;
  bool fresh = false;
  app.add_option("what", scenario.what, "the scenario, of the list below")->required();
  app.add_option("--members", scenario.members, "how many");
  app.add_option("--loss", scenario.loss, "share of the datagrams that is lost")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--seed", scenario.seed, "of all chance");
  app.add_option("--runs", runs, "so many, with the seeds from --seed on");
  app.add_flag("--progress", scenario.progress, "say where a long run is");
  app.add_flag("--fresh-seed", fresh, "take the seed from the system; it is printed");
  CLI11_PARSE(app, argc, argv);
  if (fresh) scenario.seed = std::random_device{}();
  int status = 0;
  for (std::uint32_t run = 0; run < runs; ++run, ++scenario.seed) {
    std::printf("p2p-cluster-sim %s --members %zu --loss %g --seed %llu\n", scenario.what.c_str(),
                scenario.members, scenario.loss, static_cast<unsigned long long>(scenario.seed));
    std::fflush(stdout);
    const auto start = std::chrono::steady_clock::now();
    try {
      const auto figures = run_cluster_scenario(scenario);
      if (!figures) {
        std::fprintf(stderr, "p2p-cluster-sim: %s\n", figures.error().message.c_str());
        return kExitUsage;
      }
      for (const auto& [name, value] : *figures) std::printf("  %-42s %.6g\n", name.c_str(), value);
    } catch (const ClusterBroken& broken) {
      std::printf("  BROKEN: %s\n", broken.what());
      status = kExitBroken;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("  (took %.1f s)\n", took.count());
    std::fflush(stdout);
  }
  return status;
}
