// HttpConnections: how many connections an evhttp has, and for how long each may do what. evhttp
// itself bounds neither: it waits anew after every byte, and does not look at a client that it
// sends to.
#pragma once

#include <memory>

#include "absl/container/flat_hash_map.h"
#include "net/http_server.h"

struct bufferevent;
struct event;
struct event_base;
struct evhttp;
struct evhttp_connection;

namespace p2p::net {

// Times are held to within this.
inline constexpr Duration kHttpSweepInterval = std::chrono::milliseconds(200);

// On the thread of the base alone. To be destroyed after the evhttp, before the base.
class HttpConnections {
 public:
  HttpConnections(event_base* base, evhttp* http, const HttpLimits& limits);
  ~HttpConnections();
  HttpConnections(const HttpConnections&) = delete;

  // From when its request is whole until it is answered.
  void begin_request(evhttp_connection* connection);
  void end_request(evhttp_connection* connection);
  // At once: nothing more is sent. Not within a callback of the connection.
  void cut(evhttp_connection* connection);

 private:
  struct Watched;

  bufferevent* make();
  void make_room();
  Watched* find(evhttp_connection* connection);
  static bool is_over(const Watched& watched);
  bool is_late(const Watched& watched, Time now) const;
  void cut(Watched& watched);
  void forget_those_over();
  void sweep();

  event_base* base_;
  const HttpLimits& limits_;
  event* sweep_event_;
  absl::flat_hash_map<bufferevent*, std::unique_ptr<Watched>> watched_;
};

}  // namespace p2p::net
