#include "net/http_connections.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <poll.h>
#include <sys/socket.h>

#include <vector>

namespace p2p::net {

// Its bufferevent is held by us too: its memory stays until we have seen that evhttp has let go of
// it, of which evhttp tells nobody.
struct HttpConnections::Watched {
  enum class State {
    kWaiting,  // for a request
    kReading,  // the request has begun
    kBusy,     // the request is there, and is being answered
    kRefused,
  };
  bufferevent* buffers;
  evhttp_connection* connection = nullptr;  // once it had a request
  State state = State::kWaiting;
  Time since = Loop::now();     // in this state
  Time progress = Loop::now();  // when the socket took something of the answer, or it began

  void enter(State next) {
    state = next;
    since = progress = Loop::now();
  }
};

HttpConnections::HttpConnections(event_base* base, evhttp* http, const HttpLimits& limits)
    : base_(base), limits_(limits) {
  evhttp_set_bevcb(
      http, [](event_base*, void* self) { return static_cast<HttpConnections*>(self)->make(); },
      this);
  sweep_event_ = event_new(
      base, -1, 0,
      [](evutil_socket_t, short, void* self) { static_cast<HttpConnections*>(self)->sweep(); },
      this);
}

HttpConnections::~HttpConnections() {
  event_free(sweep_event_);
  for (const auto& [buffers, watched] : watched_) bufferevent_decref(buffers);
}

// Called by evhttp for each connection that it accepts.
bufferevent* HttpConnections::make() {
  forget_those_over();
  if (watched_.size() >= limits_.connections) make_room();
  const bool refused = watched_.size() >= limits_.connections;
  bufferevent* buffers = bufferevent_socket_new(base_, -1, 0);
  if (buffers == nullptr) return nullptr;
  bufferevent_incref(buffers);
  auto watched = std::make_unique<Watched>(Watched{buffers});
  evbuffer_add_cb(
      bufferevent_get_input(buffers),
      [](evbuffer*, const evbuffer_cb_info* change, void* self) {
        auto& of = *static_cast<Watched*>(self);
        if (change->n_added > 0 && of.state == Watched::State::kWaiting)
          of.enter(Watched::State::kReading);
      },
      watched.get());
  evbuffer_add_cb(
      bufferevent_get_output(buffers),
      [](evbuffer*, const evbuffer_cb_info* change, void* self) {
        if (change->n_deleted > 0 || change->orig_size == 0)
          static_cast<Watched*>(self)->progress = Loop::now();
      },
      watched.get());
  if (refused) watched->enter(Watched::State::kRefused);
  watched_.emplace(buffers, std::move(watched));
  // The refused one has no socket yet: it is cut when evhttp has given it one.
  const timeval soon = {0, refused ? 0 : kHttpSweepInterval / std::chrono::microseconds(1)};
  if (refused || !event_pending(sweep_event_, EV_TIMEOUT, nullptr)) event_add(sweep_event_, &soon);
  return buffers;
}

// Who has waited longest without a request goes.
void HttpConnections::make_room() {
  Watched* oldest = nullptr;
  for (const auto& [buffers, watched] : watched_)
    if (watched->state != Watched::State::kBusy && (!oldest || watched->since < oldest->since))
      oldest = watched.get();
  if (oldest == nullptr) return;
  cut(*oldest);
  forget_those_over();
}

HttpConnections::Watched* HttpConnections::find(evhttp_connection* connection) {
  const auto found = watched_.find(evhttp_connection_get_bufferevent(connection));
  return found == watched_.end() ? nullptr : found->second.get();
}

void HttpConnections::begin_request(evhttp_connection* connection) {
  if (Watched* watched = find(connection)) {
    watched->connection = connection;
    watched->enter(Watched::State::kBusy);
  }
}

void HttpConnections::end_request(evhttp_connection* connection) {
  if (Watched* watched = find(connection)) watched->enter(Watched::State::kWaiting);
}

void HttpConnections::cut(evhttp_connection* connection) {
  if (Watched* watched = find(connection)) cut(*watched);
}

// evhttp has freed the connection where it has taken its callbacks away.
bool HttpConnections::is_over(const Watched& watched) {
  bufferevent_event_cb on_event = nullptr;
  bufferevent_getcb(watched.buffers, nullptr, nullptr, &on_event, nullptr);
  return on_event == nullptr;
}

bool HttpConnections::is_late(const Watched& watched, Time now) const {
  switch (watched.state) {
    case Watched::State::kWaiting:
      return now - watched.since > limits_.idle_time;
    case Watched::State::kReading:
      return now - watched.since > limits_.header_time;
    case Watched::State::kRefused:
      return true;
    case Watched::State::kBusy:
      break;
  }
  // What evhttp does not notice while it does not read: that the client has gone.
  pollfd look = {bufferevent_getfd(watched.buffers), POLLRDHUP, 0};
  if (poll(&look, 1, 0) > 0) return true;
  if (evbuffer_get_length(bufferevent_get_output(watched.buffers)) == 0 ||
      now - watched.progress <= limits_.stall_time)
    return false;
  // What it does not take is not left with the system either.
  const linger drop = {1, 0};
  setsockopt(bufferevent_getfd(watched.buffers), SOL_SOCKET, SO_LINGER, &drop, sizeof drop);
  return true;
}

void HttpConnections::cut(Watched& watched) {
  if (is_over(watched)) return;
  if (watched.connection != nullptr) return evhttp_connection_free(watched.connection);
  // evhttp, which alone knows its connection, frees it when it reads the end; here its socket is of
  // no use any more.
  shutdown(bufferevent_getfd(watched.buffers), SHUT_RDWR);
  bufferevent_trigger_event(watched.buffers, BEV_EVENT_READING | BEV_EVENT_EOF, 0);
}

void HttpConnections::forget_those_over() {
  for (auto at = watched_.begin(); at != watched_.end();) {
    const auto here = at++;
    if (!is_over(*here->second)) continue;
    bufferevent_decref(here->first);
    watched_.erase(here);
  }
}

void HttpConnections::sweep() {
  forget_those_over();
  const Time now = Loop::now();
  std::vector<Watched*> late;
  for (const auto& [buffers, watched] : watched_)
    if (is_late(*watched, now)) late.push_back(watched.get());
  for (Watched* watched : late) cut(*watched);
  forget_those_over();
  const timeval again = {0, kHttpSweepInterval / std::chrono::microseconds(1)};
  if (!watched_.empty()) event_add(sweep_event_, &again);
}

}  // namespace p2p::net
