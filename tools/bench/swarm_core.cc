// The swarm core alone, on one core: how many inputs it takes a second, and what a pick of a chunk
// costs. Prints one line of JSON: a list of one figure a round for each thing measured.
//
// p2p-swarm-bench [PEERS [MIB [ROUNDS]]]
//
// The inputs are those that a seeder and a fetcher get in a simulated cluster: recorded there, and
// told to fresh swarms here, which must do what the recorded ones did. An event is one input with
// its actions drained.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "content/bitfield.h"
#include "peer/availability.h"
#include "peer/chunk_picker.h"
#include "tools/sim/tape.h"
#include "tools/sim/world.h"

namespace {

using namespace p2p;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Of the host in a cluster of that kind; told the same again, its swarm must do the same.
sim::Tape record(const sim::Scenario& scenario, sim::HostIndex host) {
  sim::Tape tape(host);
  sim::World(scenario, &tape).run(std::chrono::hours(1));
  sim::ActionHash done;
  tape.play(*tape.make(), done);
  if (done == tape.done()) return tape;
  std::fprintf(stderr, "host %u, told the same again, does something else\n", host);
  std::exit(1);
}

// Of as many plays as give a clock something to measure.
double events_per_second(const sim::Tape& tape) {
  constexpr std::size_t kEvents = 1'000'000;
  std::size_t events = 0;
  double seconds = 0;
  for (; events < kEvents; events += tape.inputs()) {
    const auto swarm = tape.make();
    const Stopwatch watch;
    tape.play(*swarm, [](const peer::SwarmAction&) {});
    seconds += watch.seconds();
  }
  return static_cast<double>(events) / seconds;
}

// A download of which only the choice of chunks is done. Each neighbour gets the chunks in an order
// of its own, as fast as we do, and was up to kAhead of them ahead when we came.
class Download {
 public:
  Download(ChunkIndex chunks, const Random& random)
      : availability_(chunks), taken_(chunks), picker_(random.fork("picker")) {
    Random lots = random.fork("neighbours");
    std::vector<ChunkIndex> order(chunks);
    for (ChunkIndex chunk = 0; chunk < chunks; ++chunk) {
      order[chunk] = chunk;
      availability_.open(chunk);
    }
    for (std::size_t i = 0; i < kNeighbours; ++i) {
      lots.shuffle(order);
      neighbours_.push_back({order, Bitfield(chunks)});
      gain(neighbours_.back(), static_cast<ChunkIndex>(kAhead * lots.unit() * chunks));
    }
  }

  // Seconds that it takes to choose all chunks, without what happens in between.
  double run() {
    double seconds = 0;
    while (availability_.open_count() > 0) {
      const Stopwatch watch;
      for (ChunkIndex i = 0; i < kBatch; ++i) pick();
      seconds += watch.seconds();
      for (Neighbour& neighbour : neighbours_) gain(neighbour, kBatch);
    }
    return seconds;
  }

 private:
  static constexpr std::size_t kNeighbours = 16;
  static constexpr double kAhead = 0.2;
  static constexpr ChunkIndex kBatch = 16;  // so that the clock costs little

  struct Neighbour {
    std::vector<ChunkIndex> order;
    Bitfield have;
    ChunkIndex cursor = 0;
  };

  void gain(Neighbour& neighbour, ChunkIndex chunks) {
    for (; chunks > 0 && !neighbour.have.all(); --chunks) {
      const ChunkIndex chunk = neighbour.order[neighbour.have.count()];
      neighbour.have.set(chunk);
      availability_.add(chunk);
    }
  }

  void pick() {
    Neighbour& neighbour = neighbours_[turn_++ % kNeighbours];
    const auto chunk = picker_.pick(availability_, neighbour.have, taken_, neighbour.cursor);
    if (!chunk) return;
    taken_.set(*chunk);
    availability_.close(*chunk);
  }

  peer::Availability availability_;
  Bitfield taken_;
  peer::ChunkPicker picker_;
  std::vector<Neighbour> neighbours_;
  std::size_t turn_ = 0;
};

double nanoseconds_per_pick(ChunkIndex chunks) {
  constexpr ChunkIndex kPicks = 200'000;
  const Random random(chunks);
  double seconds = 0;
  for (ChunkIndex picks = 0; picks < kPicks; picks += chunks)
    seconds += Download(chunks, random.fork(std::to_string(picks))).run();
  return seconds * 1e9 / kPicks;
}

}  // namespace

int main(int count, char** arguments) {
  const auto argument = [&](int at, unsigned long otherwise) {
    return count > at ? std::strtoul(arguments[at], nullptr, 10) : otherwise;
  };
  sim::Scenario plain;
  plain.peers = static_cast<std::uint32_t>(argument(1, 100));
  plain.chunk_bytes = 1 << 20;
  plain.size_bytes = argument(2, 1000) * plain.chunk_bytes;
  // The least chunks on links both fast and long: a thousand of them are on their way at once.
  sim::Scenario far = plain;
  far.chunk_bytes = kMinChunkBytes;
  far.up = far.down = 10 * plain.up;
  far.latency = std::chrono::milliseconds(50);
  const sim::HostIndex seeder = plain.peers;
  const sim::HostIndex fetcher = plain.peers / 2;
  const std::pair<const char*, sim::Tape> tapes[] = {
      {"seeder", record(plain, seeder)},
      {"fetcher", record(plain, fetcher)},
      {"fetcher far from others", record(far, fetcher)}};
  nlohmann::ordered_json json;
  for (unsigned long round = argument(3, 5); round > 0; --round) {
    for (const auto& [name, tape] : tapes)
      json["events_per_s"][name].push_back(events_per_second(tape));
    for (const ChunkIndex chunks : {1'000, 10'000, 100'000})
      json["pick_ns"][std::to_string(chunks)].push_back(nanoseconds_per_pick(chunks));
  }
  std::puts(json.dump().c_str());
}
