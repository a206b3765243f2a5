// Http: an agent's contents for any program that speaks HTTP.
//
//   GET /content/ID          the bytes of a single file; of a folder, a list of its files as JSON
//   GET /content/ID/PATH     a file of the folder
//   GET /metrics             for Prometheus
//   GET /healthz, /readyz    200 while the loop answers; while the agent is not stopping
//
// ID as `p2p list` shows it (in full, or its first digits) or as links spell it. Ranges are
// answered. What is still being fetched is streamed as it comes, in order. There is no password:
// the address that is listened on is what closes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "net/http_server.h"

namespace p2p::agent {

class Http {
 public:
  // `agent` must outlive it. `names`: see net::HttpLimits::host_names.
  static Result<std::unique_ptr<Http>> start(net::Loop& loop, Agent& agent, const Endpoint& where,
                                             std::vector<std::string> names);
  const Endpoint& local() const { return server_->local(); }

 private:
  explicit Http(Agent& agent) : agent_(agent) {}
  void handle(const net::HttpRequest& request, net::HttpReply reply);
  void content(const net::HttpRequest& request, net::HttpReply reply);

  Agent& agent_;
  std::unique_ptr<net::HttpServer> server_;
};

// What Prometheus reads of an agent.
std::string metrics_text(Agent& agent);

}  // namespace p2p::agent
