// HttpCore: the thread of an HttpServer, and what it knows of the requests that are being answered.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "net/disk_thread.h"
#include "net/http_connections.h"
#include "net/http_server.h"

struct evconnlistener;
struct evhttp_request;

namespace p2p::net {

class HttpCore : public std::enable_shared_from_this<HttpCore> {
 public:
  // `on_request` is called on the core's thread.
  HttpCore(HttpLimits limits, std::function<void(HttpRequest, HttpReply)> on_request);
  ~HttpCore();

  // Before start().
  Result<Endpoint> listen(const Endpoint& where);
  void start();
  // Ends the threads and cuts all clients. Once, after listen().
  void stop();

  // On the core's thread, in order; dropped after stop(). Thread-safe.
  void post(std::function<void()> task);

  // On the core's thread; nothing where the exchange is over.
  void send(std::uint64_t exchange, int status, const std::string& content_type, std::string body,
            const HttpHeaders& extra);
  void stream(std::uint64_t exchange, int status, const HttpHeaders& headers,
              std::optional<std::uint64_t> length, std::shared_ptr<HttpBody> body);

 private:
  struct Stream;
  struct Exchange;

  void run_posted();
  void on_request(evhttp_request* request);
  // What it is to be refused with, or 0; fills in what the handler is to see.
  int check(evhttp_request* request, HttpRequest& out, std::string& why) const;
  Exchange* find(std::uint64_t id);
  Exchange* find(evhttp_connection* connection);
  void on_closed(evhttp_connection* connection);
  void on_answered(evhttp_request* request);
  void forget(const Exchange& exchange);
  static void pause(evconnlistener* listener);
  void begin_answer(Exchange& exchange, const HttpHeaders& headers);
  void pull(Exchange& exchange);
  void on_pulled(std::uint64_t id, HttpPull pulled, Bytes block);
  void on_wake(std::uint64_t id);
  void pump(Exchange& exchange);

  const HttpLimits limits_;
  const std::function<void(HttpRequest, HttpReply)> handle_;
  event_base* base_;
  evhttp* http_;
  std::unique_ptr<HttpConnections> connections_;
  int wake_;  // an eventfd
  event* woken_;
  std::thread thread_;
  std::vector<std::unique_ptr<DiskThread>> readers_;
  std::size_t next_reader_ = 0;

  absl::flat_hash_map<std::uint64_t, std::unique_ptr<Exchange>> exchanges_;
  absl::flat_hash_map<evhttp_connection*, std::uint64_t> exchange_of_;
  std::uint64_t next_exchange_ = 1;
  std::size_t unsent_ = 0;  // of whole bodies

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  bool stopped_ = false;                       // guarded by mutex_
};

}  // namespace p2p::net
