// TrackerHttp: what a tracker says over HTTP: /metrics, /healthz, /readyz.
#pragma once

#include <memory>

#include "net/http_server.h"
#include "net/node.h"

namespace p2p::net {

struct TrackerHttpConfig {
  Endpoint listen;
  HttpLimits limits;
};

class TrackerHttp {
 public:
  // Of a node that answers announces, which must outlive it.
  static Result<std::unique_ptr<TrackerHttp>> start(Loop& loop, Node& node,
                                                    TrackerHttpConfig config);

  const Endpoint& local() const { return server_->local(); }

 private:
  explicit TrackerHttp(Node& node) : node_(node) {}

  void answer(const HttpRequest& request, HttpReply reply);
  std::string metrics() const;
  // Why announces are not answered as they should be; empty where they are.
  std::string not_ready() const;

  Node& node_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace p2p::net
