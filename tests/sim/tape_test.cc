// A recorded swarm, told the same again, does the same again.
#include "tools/sim/tape.h"

#include <catch2/catch.hpp>
#include <chrono>

#include "tools/sim/world.h"

using namespace p2p;
using namespace p2p::sim;

namespace {

Tape record(HostIndex host, const Scenario& scenario) {
  Tape tape(host);
  World(scenario, &tape).run(std::chrono::minutes(10));
  return tape;
}

ActionHash played(const Tape& tape) {
  ActionHash done;
  tape.play(*tape.make(), done);
  return done;
}

}  // namespace

TEST_CASE("a tape makes a fresh swarm do what the recorded one did") {
  Scenario scenario;
  scenario.peers = 24;
  scenario.chunk_bytes = kMinChunkBytes;
  scenario.size_bytes = 60 * kMinChunkBytes;
  scenario.up = scenario.down = 1e6;
  scenario.churn = scenario.slow = scenario.disk_faults = 0.25;
  scenario.slow_rate = 1e5;
  for (HostIndex host = 0; host <= scenario.peers; ++host) {
    CAPTURE(host);
    const Tape tape = record(host, scenario);
    CHECK(tape.inputs() > 60);
    CHECK(tape.done() != ActionHash{});
    CHECK(played(tape) == tape.done());
  }
}

TEST_CASE("a tape of another world is another") {
  Scenario scenario;
  scenario.peers = 4;
  scenario.size_bytes = 20 * kMinChunkBytes;
  const Tape tape = record(1, scenario);
  CHECK(record(1, scenario).done() == tape.done());
  CHECK(record(2, scenario).done() != tape.done());
  scenario.seed = 2;
  CHECK(record(1, scenario).done() != tape.done());
}
