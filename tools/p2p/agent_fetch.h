// A fetch that the agent of this host does: into its store, and from there to where it is to go.
#pragma once

#include <filesystem>
#include <optional>

#include "content/link.h"
#include "content/store.h"
#include "net/fetch.h"
#include "tools/p2p/agent_client.h"

namespace p2p::cli {

struct AgentFetch {
  Link link;
  std::optional<std::filesystem::path> output;  // as net::DownloadConfig has it
  bool overwrite = false;
  bool store_only = false;  // nothing is taken out of the store
  bool detach = false;      // do not wait
  bool pin = false;
  CopyMode copy = CopyMode::kAuto;
  Duration patience;
};

// Returns when it is in its place, with on_done called; in detached mode at once.
Status fetch_by_agent(AgentClient agent, const AgentFetch& wanted,
                      const net::FetchHandlers& handlers);

}  // namespace p2p::cli
