// The agent of this host, as the other commands speak to it (agent/control.h).
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/gossip_options.h"
#include "tools/p2p/limit_options.h"

namespace p2p::cli {

struct AgentOptions {
  std::string socket;
  bool never = false;
};

// --agent and, for commands that can do without one, --no-agent.
void add_agent_options(CLI::App& command, AgentOptions& options, bool can_do_without);

// The first that is given of the flags about a process's own network, which an agent does not take
// from a command; empty: none is.
std::string own_network_flag(const std::string& listen, const GossipOptions& gossip,
                             const std::string& cluster_key, const LimitOptions& limits);

// Where an agent listens that nobody told otherwise: in systemd's RUNTIME_DIRECTORY, the user's
// XDG_RUNTIME_DIR, or /run/p2p.
std::filesystem::path default_agent_socket();

class AgentClient {
 public:
  // Nothing where there is none at the usual places, or it is not for this user. kUnreachable where
  // the one that --agent names does not answer.
  static Result<std::optional<AgentClient>> connect(const AgentOptions& options);
  // The same, and kUnreachable with what to do where there is none.
  static Result<AgentClient> require(const AgentOptions& options);
  AgentClient(AgentClient&& other) noexcept;
  AgentClient& operator=(AgentClient&&) = delete;
  ~AgentClient();

  Status send(const nlohmann::json& request);
  // The next answer, which is no error: those are returned as one. kInterrupted after SIGINT or
  // SIGTERM.
  Result<nlohmann::json> next();
  // One request and its answer, for those that are answered at once.
  Result<nlohmann::json> ask(const nlohmann::json& request);

 private:
  explicit AgentClient(int fd) : fd_(fd) {}

  int fd_;
  std::string unread_;
};

// Has the person asked this process to end? From the first AgentClient on.
bool is_interrupted();

}  // namespace p2p::cli
