#include "agent/http.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "net/json_text.h"
#include "net/metrics.h"

namespace p2p::agent {
namespace {

constexpr std::string_view kContentPath = "/content/";

// Where in the content's run of bytes a file lies.
struct Place {
  std::uint64_t first = 0, bytes = 0;
};

// The file at the path; of a single file its own place, with no path.
std::optional<Place> place_of(const Manifest& manifest, const std::string& path) {
  Place place;
  for (const p2p::Entry& entry : manifest.entries) {
    if (!entry.is_file()) continue;
    place.bytes = entry.size_bytes;
    if (manifest.root != Manifest::Root::kFolder)
      return path.empty() ? std::optional(place) : std::nullopt;
    if (entry.path == path) return place;
    place.first += entry.size_bytes;
  }
  return std::nullopt;
}

std::string list_of(const Manifest& manifest) {
  net::JsonWriter json;
  json.begin_object().field("name", manifest.name).key("files").begin_array();
  for (const p2p::Entry& entry : manifest.entries)
    if (entry.is_file())
      json.begin_object().field("path", entry.path).field("bytes", entry.size_bytes).end_object();
  return json.end_array().end_object().take() + "\n";
}

struct Wanted {
  std::string path, range;
};

void answer(const Wanted& wanted, const ContentId& id, std::shared_ptr<Readable> readable,
            net::HttpReply reply) {
  const Manifest& manifest = readable->manifest();
  if (wanted.path.empty() && manifest.root == Manifest::Root::kFolder)
    return reply.send(200, "application/json", list_of(manifest));
  const auto place = place_of(manifest, wanted.path);
  if (!place) return reply.text(404, "the content has no such file");
  // A content never changes, so whoever has these bytes has them for ever.
  net::HttpHeaders headers = {{"Content-Type", "application/octet-stream"},
                              {"Accept-Ranges", "bytes"},
                              {"ETag", absl::StrCat("\"", id.hex(), "\"")},
                              {"Cache-Control", "private, max-age=31536000, immutable"}};
  const net::HttpRange range = net::parse_range(wanted.range, place->bytes);
  if (range.kind == net::HttpRange::Kind::kWhole)
    return reply.stream(200, std::move(headers), place->bytes,
                        Readable::body(readable, place->first, place->bytes));
  headers.emplace_back("Content-Range", net::content_range(range, place->bytes));
  if (range.kind == net::HttpRange::Kind::kUnsatisfiable)
    return reply.text(416, "the file is not as long", {headers.back()});
  reply.stream(206, std::move(headers), range.length,
               Readable::body(readable, place->first + range.first, range.length));
}

}  // namespace

Result<std::unique_ptr<Http>> Http::start(net::Loop& loop, Agent& agent, const Endpoint& where,
                                          std::vector<std::string> names) {
  std::unique_ptr<Http> made(new Http(agent));
  net::HttpLimits limits;
  limits.host_names = std::move(names);
  P2P_ASSIGN(made->server_,
             net::HttpServer::start(
                 loop, where,
                 [http = made.get()](const net::HttpRequest& request, net::HttpReply reply) {
                   http->handle(request, std::move(reply));
                 },
                 std::move(limits)));
  return made;
}

void Http::handle(const net::HttpRequest& request, net::HttpReply reply) {
  if (request.path == "/metrics")
    return reply.send(200, net::kMetricsContentType, metrics_text(agent_));
  if (request.path == "/healthz") return reply.text(200, "ok");
  if (request.path == "/readyz")
    return agent_.stopping() ? reply.text(503, "the agent is stopping") : reply.text(200, "ok");
  if (request.path.starts_with(kContentPath)) return content(request, std::move(reply));
  reply.text(404, "there is /content/ID, /metrics, /healthz and /readyz");
}

void Http::content(const net::HttpRequest& request, net::HttpReply reply) {
  const std::string rest = request.path.substr(kContentPath.size());
  const std::size_t slash = rest.find('/');
  const auto id = agent_.find(rest.substr(0, slash));
  if (!id) return reply.text(404, id.error().message);
  Wanted wanted{slash == std::string::npos ? "" : rest.substr(slash + 1),
                std::string(request.header("range"))};
  auto held = std::make_shared<net::HttpReply>(std::move(reply));
  agent_.open(*id, [wanted, id = *id, held](Result<std::shared_ptr<Readable>> readable) {
    if (!readable) return held->text(503, readable.error().message);
    answer(wanted, id, *std::move(readable), std::move(*held));
  });
}

std::string metrics_text(Agent& agent) {
  std::map<Activity, std::size_t> activities;
  std::size_t peers = 0, problems = 0, pinned = 0;
  double rate = 0;
  for (const ContentReport& report : agent.report()) {
    ++activities[report.activity];
    peers += report.peers;
    rate += report.rate;
    pinned += report.holding.pinned;
    problems += !report.problem.empty();
  }
  net::MetricsText metrics;
  metrics.gauge("p2p_agent_contents", "Contents in the store, by what becomes of them.");
  for (const Activity activity : kActivities)
    metrics.sample(static_cast<double>(activities[activity]),
                   {{"activity", activity_name(activity)}});
  metrics.gauge("p2p_agent_contents_pinned", "Contents that are pinned.")
      .sample(static_cast<double>(pinned));
  metrics.gauge("p2p_agent_contents_with_problems", "Contents whose last fetch or check failed.")
      .sample(static_cast<double>(problems));
  metrics.gauge("p2p_agent_store_bytes", "Size of all contents in the store.")
      .sample(static_cast<double>(agent.stored_bytes()));
  metrics.gauge("p2p_agent_store_limit_bytes", "What the store may hold; 0: no limit.")
      .sample(static_cast<double>(agent.policy().max_bytes));
  metrics.gauge("p2p_agent_peers", "Neighbours in all swarms together.")
      .sample(static_cast<double>(peers));
  metrics.gauge("p2p_agent_receive_bytes_per_second", "What comes in now, in all fetches together.")
      .sample(rate);
  const AgentCounts& counts = agent.counts();
  metrics.counter("p2p_agent_fetches_total", "Fetches that ended, by how.");
  metrics.sample(static_cast<double>(counts.fetched), {{"outcome", "complete"}});
  metrics.sample(static_cast<double>(counts.failed), {{"outcome", "failed"}});
  const net::PayloadBytes payload = agent.payload();
  metrics.counter("p2p_agent_received_bytes_total", "Payload that came in, in vain too.")
      .sample(static_cast<double>(payload.received));
  metrics.counter("p2p_agent_sent_bytes_total", "Payload that went out, of whole chunks.")
      .sample(static_cast<double>(payload.sent));
  metrics
      .counter("p2p_agent_older_bytes_total",
               "Of fetches that ended, what was not received because older contents had it.")
      .sample(static_cast<double>(counts.older_bytes));
  metrics.counter("p2p_agent_contents_removed_total", "Contents removed from the store.")
      .sample(static_cast<double>(counts.removed));
  net::add_process_metrics(metrics);
  return metrics.take();
}

}  // namespace p2p::agent
