#include "net/http_server.h"

#include <utility>

#include "net/http_core.h"

namespace p2p::net {

HttpReply::~HttpReply() {
  if (exchange_ != 0) text(500, "no answer was given");
}

void HttpReply::send(int status, const std::string& content_type, std::string body,
                     HttpHeaders extra) {
  const std::uint64_t exchange = std::exchange(exchange_, 0);
  const auto core = core_.lock();
  if (!core || exchange == 0) return;
  core->post([raw = core.get(), exchange, status, content_type, body = std::move(body),
              extra = std::move(extra)]() mutable {
    raw->send(exchange, status, content_type, std::move(body), extra);
  });
}

void HttpReply::stream(int status, HttpHeaders headers, std::optional<std::uint64_t> length,
                       std::shared_ptr<HttpBody> body) {
  const std::uint64_t exchange = std::exchange(exchange_, 0);
  const auto core = core_.lock();
  if (!core || exchange == 0) return;
  core->post([raw = core.get(), exchange, status, headers = std::move(headers), length,
              body = std::move(body)]() mutable {
    raw->stream(exchange, status, headers, length, std::move(body));
  });
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(Loop& loop, const Endpoint& where,
                                                      Handler handler, HttpLimits limits) {
  std::unique_ptr<HttpServer> server(new HttpServer);
  server->handler_ = std::make_shared<Handler>(std::move(handler));
  auto hand_on = [&loop, weak = std::weak_ptr(server->handler_)](HttpRequest request,
                                                                 HttpReply reply) {
    // A task can be copied, a reply cannot.
    auto shared = std::make_shared<HttpReply>(std::move(reply));
    loop.post([weak, shared, request = std::move(request)] {
      if (const auto handle = weak.lock()) (*handle)(request, std::move(*shared));
    });
  };
  auto core = std::make_shared<HttpCore>(std::move(limits), std::move(hand_on));
  P2P_ASSIGN(server->local_, core->listen(where));
  server->core_ = std::move(core);
  server->core_->start();
  return server;
}

HttpServer::~HttpServer() {
  if (core_) core_->stop();
}

}  // namespace p2p::net
