#include "net/tracker_http.h"

#include <utility>

#include "net/metrics.h"
#include "net/page_files.h"

namespace p2p::net {
namespace {

const HttpHeaders kNeverKept = {{"Cache-Control", "no-store"}};
constexpr char kJson[] = "application/json";
// Of its own files and nothing else.
constexpr char kPagePolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string type_of(std::string_view file) {
  if (file.ends_with(".css")) return "text/css; charset=utf-8";
  if (file.ends_with(".svg")) return "image/svg+xml";
  if (file.ends_with(".js")) return "text/javascript; charset=utf-8";
  return "text/html; charset=utf-8";
}

}  // namespace

Result<std::unique_ptr<TrackerHttp>> TrackerHttp::start(Loop& loop, Node& node,
                                                        TrackerHttpConfig config) {
  std::unique_ptr<TrackerHttp> http(new TrackerHttp(loop, node));
  auto handler = [raw = http.get()](const HttpRequest& request, HttpReply reply) {
    raw->answer(request, std::move(reply));
  };
  P2P_ASSIGN(http->server_,
             HttpServer::start(loop, config.listen, std::move(handler), std::move(config.limits)));
  return http;
}

void TrackerHttp::answer(const HttpRequest& request, HttpReply reply) {
  if (request.path == "/metrics")
    return reply.send(200, kMetricsContentType, metrics(), kNeverKept);
  if (request.path == "/healthz") return reply.text(200, "ok", kNeverKept);
  if (request.path == "/readyz") {
    const std::string why = not_ready();
    return reply.text(why.empty() ? 200 : 503, why.empty() ? "ready" : why, kNeverKept);
  }
  constexpr std::string_view kApi = "/api/";
  if (request.path.starts_with(kApi))
    return answer_api(std::string_view(request.path).substr(kApi.size()), std::move(reply));
  const std::string_view name =
      request.path == "/" ? "page.html" : std::string_view(request.path).substr(1);
  for (const PageFile& file : page_files())
    if (file.name == name)
      return reply.send(200, type_of(name), std::string(file.content),
                        {{"Cache-Control", "no-cache"},
                         {"Content-Security-Policy", kPagePolicy},
                         {"Referrer-Policy", "no-referrer"}});
  reply.text(404, "there is /, /metrics, /healthz and /readyz");
}

void TrackerHttp::answer_api(std::string_view path, HttpReply reply) {
  constexpr std::string_view kSwarms = "swarms";
  if (path == kSwarms) return reply.send(200, kJson, api_.swarms(), kNeverKept);
  if (path.starts_with(kSwarms) && path.substr(kSwarms.size()).starts_with('/')) {
    if (auto swarm = api_.swarm(path.substr(kSwarms.size() + 1)))
      return reply.send(200, kJson, *std::move(swarm), kNeverKept);
    return reply.text(404, "nobody is in such a swarm", kNeverKept);
  }
  reply.text(404, "there is /api/swarms and /api/swarms/ID");
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
