#include "net/tracker_api.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "absl/strings/escaping.h"
#include "net/json_text.h"
#include "tracker/swarm_view.h"

namespace p2p::net {
namespace {

using tracker::PeerView;
using tracker::SwarmHistory;
using tracker::SwarmSummary;
using tracker::SwarmView;

double rounded(double value, double steps) { return std::round(value * steps) / steps; }

// [[seconds since the first, completion]...], the last as it is now where somebody fetches.
void write_curve(JsonWriter& json, const SwarmHistory& history,
                 const std::optional<double>& completion, const SwarmSummary& summary,
                 std::size_t most) {
  json.key("curve").begin_array();
  if (!history.points().empty()) {
    auto points = history.points();
    if (completion && summary.fetchers > summary.finished)
      points.push_back({Loop::now(), *completion});
    const std::size_t step = (points.size() + most - 1) / most;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (i % step != 0 && i + 1 != points.size()) continue;
      json.begin_array()
          .value(rounded(to_seconds(points[i].at - points.front().at), 10))
          .value(rounded(points[i].completion, 1000))
          .end_array();
    }
  }
  json.end_array();
}

void write_swarm(JsonWriter& json, const SwarmView& view, const SwarmHistory& past,
                 std::size_t points) {
  const SwarmSummary& summary = view.summary;
  json.field("id", summary.swarm.hex()).field("name", view.name);
  json.field("bytes", view.bytes).field("chunks", view.chunks);
  json.field("peers", summary.peers).field("complete", summary.complete);
  json.field("seeders", summary.peers - summary.fetchers);
  json.field("fetchers", past.fetchers(summary));
  json.field("finished", past.finished(summary));
  json.field("fetching", summary.fetchers - summary.finished);
  json.field("reporting", view.reporting);
  json.key("completion");
  const std::optional<double> completion = past.completion(summary);
  completion ? json.value(rounded(*completion, 1000)) : json.null();
  json.field("down", std::round(view.down)).field("up", std::round(view.up));
  json.key("limit");
  view.limit ? json.value(std::round(*view.limit)) : json.null();
  write_curve(json, past, completion, summary, points);
}

void write_peer(JsonWriter& json, const PeerView& peer) {
  json.begin_object().field("id", peer.peer.short_hex());
  json.field("endpoint", peer.endpoint.port == 0 ? peer.endpoint.address.to_string()
                                                 : peer.endpoint.to_string());
  json.field("zone", peer.zone).field("complete", peer.complete).field("seeds", peer.seeds);
  json.key("percent");
  peer.percent ? json.value(*peer.percent) : json.null();
  json.field("reports", peer.report.has_value());
  json.field("down", std::round(peer.down)).field("up", std::round(peer.up));
  json.field("behind", peer.behind).field("slow", peer.slow);
  // Two hexadecimal digits a column.
  const std::string_view columns = peer.report ? text_of(peer.report->columns) : "";
  json.field("columns", absl::BytesToHexString(absl::string_view(columns.data(), columns.size())));
  json.end_object();
}

std::optional<SwarmId> id_of(std::string_view hex) {
  if (hex.size() != 2 * SwarmId::kSize) return std::nullopt;
  for (const char c : hex)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return std::nullopt;
  return SwarmId::from_bytes(
      bytes_of(absl::HexStringToBytes(absl::string_view(hex.data(), hex.size()))));
}

}  // namespace

TrackerApi::TrackerApi(Loop& loop, Node& node) : node_(node), timer_(loop, [this] { sample(); }) {
  sample();
}

void TrackerApi::sample() {
  const Time now = Loop::now();
  histories_.sample(node_.owner_service()->owner().table(), now);
  timer_.arm(now + tracker::kFirstHistorySpacing);
}

std::vector<SwarmSummary> TrackerApi::choose() const {
  std::size_t position = 0;
  std::vector<SwarmSummary> all =
      node_.owner_service()->owner().table().summaries(position, kMaxSwarmsToChoose);
  const std::size_t shown = std::min(all.size(), kMaxListedSwarms);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(shown), all.end(),
                    [](const SwarmSummary& a, const SwarmSummary& b) {
                      return std::tuple(a.fetchers - a.finished, a.peers, a.swarm) >
                             std::tuple(b.fetchers - b.finished, b.peers, b.swarm);
                    });
  all.resize(shown);
  return all;
}

std::string TrackerApi::swarms() {
  const Time now = Loop::now();
  if (listed_ != Time::min() && now - listed_ < kListKept) return list_;
  listed_ = now;
  OwnerService& service = *node_.owner_service();
  const std::vector<SwarmSummary> chosen = choose();
  for (std::size_t i = 0; i < std::min(chosen.size(), tracker::kMaxWatchedSwarms); ++i)
    service.watch(chosen[i].swarm);
  const tracker::PeerTable& table = service.owner().table();
  JsonWriter json;
  json.begin_object().field("swarm_count", table.swarm_count());
  json.field("peers", table.entry_count()).field("complete", table.complete_count());
  json.key("swarms").begin_array();
  for (const SwarmSummary& summary : chosen) {
    // Of those that are not watched nothing is known but this.
    std::optional<SwarmView> view = SwarmView{summary};
    if (service.owner().watched(summary.swarm)) view = view_of(service.owner(), summary.swarm, now);
    if (!view) continue;
    json.begin_object();
    write_swarm(json, *view, histories_.of(summary.swarm), kListedPoints);
    json.end_object();
  }
  return list_ = json.end_array().end_object().take();
}

std::optional<std::string> TrackerApi::swarm(std::string_view hex) {
  const auto id = id_of(hex);
  if (!id) return std::nullopt;
  OwnerService& service = *node_.owner_service();
  service.watch(*id);
  const auto view = view_of(service.owner(), *id, Loop::now());
  if (!view) return std::nullopt;
  JsonWriter json;
  json.begin_object();
  write_swarm(json, *view, histories_.of(*id), tracker::kMaxHistoryPoints);
  json.key("members").begin_array();
  for (const PeerView& peer : view->peers) write_peer(json, peer);
  return json.end_array().end_object().take();
}

}  // namespace p2p::net
