// Every check of the world can fail: a core that is faulty in one way is found out, by the check
// that is meant for it.
#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "peer/messages.h"
#include "tools/sim/world.h"

using namespace p2p;
using namespace p2p::sim;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

using Actions = std::vector<peer::SwarmAction>;

constexpr HostIndex kPeers = 8;
constexpr ChunkIndex kChunks = 60;
constexpr std::size_t kWindowChunks = 8;
// The window's, which those that are overdue may double.
constexpr std::size_t kMostOnWay = 2 * kWindowChunks;

// 8 peers (hosts 0 to 7) and a seeder (host 8); a window so small that it can be overrun.
Scenario small() {
  Scenario scenario;
  scenario.peers = kPeers;
  scenario.chunk_bytes = kMinChunkBytes;
  scenario.size_bytes = kChunks * kMinChunkBytes;
  scenario.up = scenario.down = 1e6;
  scenario.schedule.max_window_bytes = kWindowChunks * kMinChunkBytes;
  REQUIRE(check(scenario));
  return scenario;
}

// With a window that holds all that may be asked of one neighbour.
Scenario wide() {
  Scenario scenario = small();
  scenario.schedule.max_window_bytes = peer::kMaxQueuedRequests * kMinChunkBytes;
  return scenario;
}

bool is_peer(HostIndex host) { return host < kPeers; }

// The message of a kind, if the action sends one.
template <typename Message>
Message* sent(peer::SwarmAction& action) {
  auto* send = std::get_if<peer::SendMessage>(&action);
  return send != nullptr ? std::get_if<Message>(&send->message) : nullptr;
}

// Named: not one that leaves the choice to the other side.
peer::Request* named_request(peer::SwarmAction& action) {
  auto* request = sent<peer::Request>(action);
  return request != nullptr && request->chunk != peer::kAnyChunk ? request : nullptr;
}
peer::Request* any_request(peer::SwarmAction& action) {
  auto* request = sent<peer::Request>(action);
  return request != nullptr && request->chunk == peer::kAnyChunk ? request : nullptr;
}
// That tells of chunks.
peer::Have* news(peer::SwarmAction& action) {
  auto* have = sent<peer::Have>(action);
  return have != nullptr && !have->chunks.empty() ? have : nullptr;
}
peer::ConnectionId connection_of(const peer::SwarmAction& action) {
  return std::get<peer::SendMessage>(action).connection;
}

Actions one(const peer::SwarmAction& action) { return Actions(1, action); }
Actions two(const peer::SwarmAction& first, const peer::SwarmAction& second) {
  Actions actions = one(first);
  actions.push_back(second);
  return actions;
}

struct Outcome {
  std::string text;  // of Broken; empty where nothing is
  std::uint64_t trace_hash = 0;
  bool tampered = false;
};

Outcome run(const Scenario& scenario, World::Tamper tamper, Duration limit = minutes(2)) {
  World world(scenario);
  if (tamper) world.set_tamper(std::move(tamper));
  Outcome outcome;
  try {
    world.run(limit);
  } catch (const Broken& broken) {
    outcome.text = broken.what();
  }
  outcome.trace_hash = world.trace_hash();
  return outcome;
}

// What is done in place of an action; nothing where it is left as it is.
using Instead = std::optional<Actions>;
using Fault = std::function<Instead(peer::SwarmAction&)>;

// A run in which the first action of a peer that `fault` takes is tampered with, and no other.
Outcome run_with(const Scenario& scenario, const Fault& fault) {
  bool tampered = false;
  Outcome outcome = run(scenario, [&](HostIndex host, peer::SwarmAction&& action) {
    if (!tampered && is_peer(host)) {
      if (Instead instead = fault(action)) {
        tampered = true;
        return *instead;
      }
    }
    return one(action);
  });
  outcome.tampered = tampered;
  return outcome;
}

void check_found(const Outcome& outcome, const std::string& words) {
  CHECK(outcome.tampered);
  CAPTURE(outcome.text);
  CHECK(outcome.text.find(words) != std::string::npos);
}

}  // namespace

TEST_CASE("cores that nobody tampers with break nothing, and the hook changes nothing") {
  for (const Scenario& scenario : {small(), wide()}) {
    const Outcome without = run(scenario, nullptr);
    CHECK(without.text.empty());
    const Outcome with =
        run(scenario, [](HostIndex, peer::SwarmAction&& action) { return one(action); });
    CHECK(with.text.empty());
    CHECK(with.trace_hash == without.trace_hash);
  }
}

// --- only verified chunks are advertised, and sent

TEST_CASE("a Have of a chunk that is not verified is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         auto* have = news(action);
                         if (have == nullptr) return {};
                         have->chunks.clear();
                         for (ChunkIndex chunk = 0; chunk < kChunks; ++chunk)
                           have->chunks.push_back(chunk);
                         return one(action);
                       }),
              "it tells of chunk ");
}

TEST_CASE("a Have of a chunk that does not exist is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         auto* have = news(action);
                         if (have == nullptr) return {};
                         have->chunks = {kChunks};
                         return one(action);
                       }),
              "it tells of chunk 60");
}

TEST_CASE("Chunks that are not verified are found, and those of another content") {
  for (const Bitfield& told : {Bitfield(kChunks, true), Bitfield(kChunks + 1)}) {
    check_found(run_with(small(),
                         [&](peer::SwarmAction& action) -> Instead {
                           auto* chunks = sent<peer::Chunks>(action);
                           if (chunks == nullptr) return {};
                           chunks->have = told;
                           return one(action);
                         }),
                "it tells of chunks it has not");
  }
}

TEST_CASE("a Give of a chunk that is not verified is found") {
  check_found(
      run_with(
          small(),
          [](peer::SwarmAction& action) -> Instead {
            if (news(action) == nullptr) return {};
            Actions gives;
            for (ChunkIndex chunk = 0; chunk < kChunks; ++chunk)
              gives.emplace_back(peer::SendMessage{connection_of(action), peer::Give{chunk, 0}});
            return gives;
          }),
      "it gives chunk ");
}

TEST_CASE("sending a chunk that is not verified is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         auto* send = std::get_if<peer::SendChunk>(&action);
                         if (send == nullptr) return {};
                         Actions sends;
                         for (ChunkIndex chunk = 0; chunk < kChunks; ++chunk)
                           sends.emplace_back(peer::SendChunk{send->connection, chunk});
                         return sends;
                       }),
              "it sends a chunk that is not verified");
}

// --- no honest peer breaks the protocol in another's eyes; nobody honest is banned

TEST_CASE("a request for a chunk that the other side lacks is found") {
  std::map<peer::ConnectionId, HostIndex> hosts;
  std::set<ChunkIndex> asked;  // by any peer: nobody but the seeder has another
  bool tampered = false;
  Outcome outcome = run(small(), [&](HostIndex host, peer::SwarmAction&& action) {
    if (sent<peer::Chunks>(action) != nullptr) hosts[connection_of(action)] = host;
    if (const auto* receive = std::get_if<peer::ReceiveChunk>(&action))
      asked.insert(receive->chunk);
    auto* request = named_request(action);
    if (!tampered && request != nullptr) {
      const auto other = hosts.find(((connection_of(action) - 1) ^ 1) + 1);
      if (other != hosts.end() && is_peer(other->second)) {
        tampered = true;
        request->chunk = 0;
        while (asked.contains(request->chunk)) ++request->chunk;
      }
    }
    return one(action);
  });
  outcome.tampered = tampered;
  check_found(outcome, " broke the protocol: request for chunk ");
  check_found(outcome, ", not advertised");
}

TEST_CASE("a chunk that is requested twice is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         if (named_request(action) == nullptr) return {};
                         return two(action, action);
                       }),
              " requested twice");
}

TEST_CASE("more requests than one may have are found") {
  check_found(run_with(wide(),
                       [](peer::SwarmAction& action) -> Instead {
                         if (any_request(action) == nullptr) return {};
                         return Actions(peer::kMaxQueuedRequests + 1, action);
                       }),
              " broke the protocol: too many requests");
}

TEST_CASE("asking for a chunk that is here already is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         const auto* have = news(action);
                         if (have == nullptr) return {};
                         return one(peer::SendMessage{connection_of(action),
                                                      peer::Request{have->chunks.front()}});
                       }),
              ", which it has");
  check_found(
      run_with(small(),
               [](peer::SwarmAction& action) -> Instead {
                 const auto* have = news(action);
                 if (have == nullptr) return {};
                 return one(peer::ReceiveChunk{connection_of(action), have->chunks.front()});
               }),
      "it asked for a chunk that it has");
}

TEST_CASE("a Give that nobody asked for is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         const auto* have = news(action);
                         if (have == nullptr) return {};
                         return one(peer::SendMessage{connection_of(action),
                                                      peer::Give{have->chunks.front(), 0}});
                       }),
              " was not asked for");
}

TEST_CASE("a chunk that nobody asked for is found") {
  check_found(
      run_with(small(),
               [](peer::SwarmAction& action) -> Instead {
                 const auto* have = news(action);
                 if (have == nullptr) return {};
                 return two(action, peer::SendChunk{connection_of(action), have->chunks.front()});
               }),
      ", not asked for");
}

TEST_CASE("a chunk that is sent twice is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         if (!std::holds_alternative<peer::SendChunk>(action)) return {};
                         return two(action, action);
                       }),
              ", not asked for");
}

TEST_CASE("banning an honest peer is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         auto* disconnect = std::get_if<peer::Disconnect>(&action);
                         if (disconnect == nullptr) return {};
                         disconnect->ban = true;
                         return one(action);
                       }),
              "it bans an honest peer");
}

// --- what is on its way, and the queues, stay within their caps

TEST_CASE("asking beyond the window is found, by choice of the giver and by name") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         if (any_request(action) == nullptr) return {};
                         return Actions(kMostOnWay + 1, action);
                       }),
              "chunks on their way: 17, more than 16");
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         const auto* receive = std::get_if<peer::ReceiveChunk>(&action);
                         if (receive == nullptr) return {};
                         // Those that it has by now are none that it waits for.
                         Actions receives;
                         for (ChunkIndex chunk = 0; chunk < kChunks; ++chunk)
                           receives.emplace_back(peer::ReceiveChunk{receive->connection, chunk});
                         return receives;
                       }),
              "chunks on their way: 17, more than 16");
}

TEST_CASE("a queue of sends beyond its cap is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         if (!std::holds_alternative<peer::SendChunk>(action)) return {};
                         return Actions(peer::kMaxQueuedRequests + 1, action);
                       }),
              "sends on a connection: 257, more than 256");
}

// --- every peer that is alive, and no liar, completes

TEST_CASE("a peer that says too early that it is complete is found") {
  check_found(run_with(small(),
                       [](peer::SwarmAction& action) -> Instead {
                         if (news(action) == nullptr) return {};
                         return one(peer::Completed{});
                       }),
              "it says that it is complete, and is not");
}

TEST_CASE("a peer that never completes is found, and named") {
  constexpr HostIndex kFaulty = 3;
  const auto is_request = [](peer::SwarmAction& action) {
    return sent<peer::Request>(action) != nullptr;
  };
  const auto is_completed = [](peer::SwarmAction& action) {
    return std::holds_alternative<peer::Completed>(action);
  };
  for (const auto& swallowed :
       {std::function<bool(peer::SwarmAction&)>(is_request), {is_completed}}) {
    const Outcome outcome = run(
        small(),
        [&](HostIndex host, peer::SwarmAction&& action) {
          if (host == kFaulty && swallowed(action)) return Actions{};
          return one(action);
        },
        seconds(30));
    CAPTURE(outcome.text);
    CHECK(outcome.text.find("1 peers are not complete after 30") != std::string::npos);
    CHECK(outcome.text.find("\nhost 3 has ") != std::string::npos);
  }
}

// --- the same seed gives the same trace

TEST_CASE("a run that differs in one action, or in one number of it, has another trace") {
  const std::uint64_t hash = run(small(), nullptr).trace_hash;
  const std::vector<Fault> faults = {
      [](peer::SwarmAction& action) -> Instead {
        if (!std::holds_alternative<peer::DropChunk>(action)) return {};
        return Actions{};
      },
      [](peer::SwarmAction& action) -> Instead {
        auto* have = news(action);
        if (have == nullptr) return {};
        ++have->load;
        return one(action);
      },
      [](peer::SwarmAction& action) -> Instead {
        auto* disconnect = std::get_if<peer::Disconnect>(&action);
        if (disconnect == nullptr) return {};
        return Actions{};
      },
  };
  for (const Fault& fault : faults) {
    const Outcome outcome = run_with(small(), fault);
    CHECK(outcome.tampered);
    CHECK(outcome.trace_hash != hash);
  }
}
