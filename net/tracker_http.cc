#include "net/tracker_http.h"

#include <utility>

#include "net/metrics.h"

namespace p2p::net {

Result<std::unique_ptr<TrackerHttp>> TrackerHttp::start(Loop& loop, Node& node,
                                                        TrackerHttpConfig config) {
  std::unique_ptr<TrackerHttp> http(new TrackerHttp(node));
  auto handler = [raw = http.get()](const HttpRequest& request, HttpReply reply) {
    raw->answer(request, std::move(reply));
  };
  P2P_ASSIGN(http->server_,
             HttpServer::start(loop, config.listen, std::move(handler), std::move(config.limits)));
  return http;
}

void TrackerHttp::answer(const HttpRequest& request, HttpReply reply) {
  const HttpHeaders never_kept = {{"Cache-Control", "no-store"}};
  if (request.path == "/metrics")
    return reply.send(200, kMetricsContentType, metrics(), never_kept);
  if (request.path == "/healthz") return reply.text(200, "ok", never_kept);
  if (request.path == "/readyz") {
    const std::string why = not_ready();
    return reply.text(why.empty() ? 200 : 503, why.empty() ? "ready" : why, never_kept);
  }
  reply.text(404, "there is /metrics, /healthz and /readyz");
}

std::string TrackerHttp::not_ready() const {
  const RedisStore* store = node_.owner_service()->store();
  return store && !store->up() ? "the store does not answer: announces are answered from memory"
                               : "";
}

std::string TrackerHttp::metrics() const {
  const OwnerService& service = *node_.owner_service();
  const tracker::PeerTable& table = service.owner().table();
  const tracker::OwnerStats& done = service.owner().stats();
  const TurnedAway& away = node_.transport().turned_away();
  const auto number = [](auto count) { return static_cast<double>(count); };
  const auto announces = [&](tracker::Event event) {
    return number(done.announces[static_cast<std::size_t>(event)]);
  };
  MetricsText text;
  text.gauge("p2p_tracker_swarms", "Swarms that somebody is in.")
      .sample(number(table.swarm_count()));
  text.gauge("p2p_tracker_peers", "Peers over all swarms, one for each swarm it is in.")
      .sample(number(table.entry_count() - table.complete_count()), {{"complete", "false"}})
      .sample(number(table.complete_count()), {{"complete", "true"}});
  text.counter("p2p_tracker_announces_total", "Announces that came in, also those refused.")
      .sample(announces(tracker::Event::kNone), {{"event", "none"}})
      .sample(announces(tracker::Event::kStarted), {{"event", "started"}})
      .sample(announces(tracker::Event::kCompleted), {{"event", "completed"}})
      .sample(announces(tracker::Event::kStopped), {{"event", "stopped"}});
  text.counter("p2p_tracker_lookups_total", "Lookups that came in, also those refused.")
      .sample(number(done.lookups));
  text.counter("p2p_tracker_handouts_total", "Answers to announces and lookups.")
      .sample(number(done.handouts));
  text.counter("p2p_tracker_news_total", "Handouts pushed to peers that did not ask.")
      .sample(number(done.news));
  text.counter("p2p_tracker_refusals_total", "Announces and lookups that were refused.")
      .sample(number(done.refusals));
  text.gauge("p2p_connections_open", "Connections past their handshake.")
      .sample(number(node_.transport().open_connections()));
  text.counter("p2p_connections_turned_away_total", "Connections that were not let in, by why.")
      .sample(number(away.by_rate), {{"reason", "address_rate"}})
      .sample(number(away.by_number), {{"reason", "address_number"}})
      .sample(number(away.full), {{"reason", "full"}});
  if (const RedisStore* store = service.store()) {
    text.gauge("p2p_store_up", "1 while the store that trackers share answers.")
        .sample(store->up() ? 1 : 0);
    text.gauge("p2p_store_waiting_changes", "Peers whose changes wait to be written to the store.")
        .sample(number(store->waiting_changes()));
  }
  add_process_metrics(text);
  return text.take();
}

}  // namespace p2p::net
