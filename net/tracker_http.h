// TrackerHttp: what a tracker says over HTTP: its page at /, the page's API, /metrics, /healthz,
// /readyz.
#pragma once

#include <memory>

#include "net/http_server.h"
#include "net/node.h"
#include "net/tracker_api.h"

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
  TrackerHttp(Loop& loop, Node& node) : node_(node), api_(loop, node) {}

  void answer(const HttpRequest& request, HttpReply reply);
  void answer_api(std::string_view path, HttpReply reply);
  std::string metrics() const;
  // Why announces are not answered as they should be; empty where they are.
  std::string not_ready() const;

  Node& node_;
  TrackerApi api_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace p2p::net
