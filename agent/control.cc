#include "agent/control.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/json_line.h"

namespace p2p::agent {
namespace {

// A progress line at most so often.
constexpr Duration kProgressLines = std::chrono::milliseconds(200);

template <typename T>
T field(const nlohmann::json& request, const char* name, T fallback) {
  const auto found = request.find(name);
  return found == request.end() || found->is_null() ? std::move(fallback) : found->get<T>();
}

}  // namespace

nlohmann::json progress_json(const net::FetchProgress& progress) {
  return {{"name", progress.name},
          {"bytes_total", progress.bytes_total},
          {"bytes_verified", progress.bytes_verified},
          {"bytes_fetched", progress.bytes_fetched},
          {"bytes_reused", progress.bytes_reused},
          {"bytes_older", progress.bytes_older},
          {"seconds", to_seconds(progress.elapsed)},
          {"bytes_per_second", progress.rate},
          {"peers", progress.peers},
          {"share_of_limit", progress.share_of_limit},
          {"path", progress.path.string()}};
}

nlohmann::json contents_json(const Agent& agent) {
  nlohmann::json contents = nlohmann::json::array();
  for (const ContentReport& report : agent.report()) {
    const Holding& holding = report.holding;
    contents.push_back(
        {{"id", holding.content.hex()},
         {"name", holding.name},
         {"bytes", holding.bytes},
         {"bytes_verified", report.bytes_verified},
         {"bytes_older", report.bytes_older},
         {"state", std::string(state_name(holding.state))},
         {"activity", std::string(activity_name(report.activity))},
         {"pinned", holding.pinned},
         {"in_use", report.in_use},
         {"added", holding.added},
         {"last_used", holding.last_used},
         {"idle_seconds", std::max<std::int64_t>(wall_clock_seconds() - holding.last_used, 0)},
         {"source", holding.source},
         {"peers", report.peers},
         {"bytes_per_second", report.rate},
         {"problem", report.problem}});
  }
  return contents;
}

nlohmann::json status_json(const Agent& agent) {
  std::size_t complete = 0, fetching = 0, contents = 0;
  for (const ContentReport& report : agent.report()) {
    ++contents;
    complete += report.holding.state == Holding::State::kComplete;
    fetching += report.activity == Activity::kFetching;
  }
  std::vector<std::string> addresses;
  for (const HostPort& address : agent.addresses()) addresses.push_back(address.to_string());
  return {{"pid", getpid()},
          {"store", agent.config().store.string()},
          {"stored_bytes", agent.stored_bytes()},
          {"max_bytes", agent.policy().max_bytes},
          {"max_idle_seconds", agent.policy().max_idle_seconds},
          {"contents", contents},
          {"complete", complete},
          {"fetching", fetching},
          {"received_bytes", agent.payload().received},
          {"sent_bytes", agent.payload().sent},
          {"older_bytes", agent.counts().older_bytes},
          {"addresses", addresses},
          {"stopping", agent.stopping()}};
}

Control::Control(net::Loop& loop, Agent& agent, std::function<int(ErrorCode)> exit_code_of)
    : loop_(loop), agent_(agent), exit_code_of_(std::move(exit_code_of)) {}

Control::~Control() {
  server_.reset();
  for (const auto& [id, client] : clients_)
    if (client.order) agent_.release(*client.order);
}

Status Control::listen(const std::filesystem::path& path) {
  net::LineHandlers handlers;
  handlers.on_line = [this](net::LineClientId id, std::string_view line) { on_line(id, line); };
  handlers.on_closed = [this](net::LineClientId id) { on_closed(id); };
  P2P_ASSIGN(server_, net::LineServer::listen(loop_, path, std::move(handlers)));
  return {};
}

void Control::on_closed(net::LineClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  const auto order = found->second.order;
  clients_.erase(found);
  if (order) agent_.release(*order);
}

void Control::send(net::LineClientId id, const nlohmann::json& answer) {
  server_->send(id, json_line(answer));
}

void Control::end(net::LineClientId id, const Result<nlohmann::json>& outcome) {
  nlohmann::json answer = {{"event", "error"}};
  if (outcome) {
    answer = *outcome;
    answer["event"] = "done";
  } else {
    answer["exit_code"] = exit_code_of_(outcome.error().code);
    answer["message"] = outcome.error().message;
  }
  send(id, answer);
  server_->close(id);
}

void Control::on_line(net::LineClientId id, std::string_view line) {
  Client& client = clients_[id];
  if (std::exchange(client.busy, true))
    return end(id, Error{ErrorCode::kUsage, "one request a connection"});
  try {
    const nlohmann::json request = nlohmann::json::parse(line);
    const std::string op = request.at("op").get<std::string>();
    if (op == "fetch") return fetch(id, request);
    if (op == "seed") return seed(id, request);
    end(id, carry_out(op, request));
  } catch (const nlohmann::json::exception& problem) {
    end(id, Error{ErrorCode::kMalformed,
                  absl::StrCat("not a request of this version of p2p: ", problem.what())});
  }
}

Result<nlohmann::json> Control::carry_out(const std::string& op, const nlohmann::json& request) {
  if (op == "list") return nlohmann::json{{"contents", contents_json(agent_)}};
  if (op == "status") return status_json(agent_);
  if (op == "gc") return nlohmann::json{{"bytes", agent_.remove_unused()}};
  P2P_ASSIGN(const ContentId content, agent_.find(field<std::string>(request, "id", "")));
  if (op == "link") {
    P2P_ASSIGN(const Link link, agent_.link_of(content));
    return nlohmann::json{{"link", link.to_string()}};
  }
  return change(op, content);
}

Result<nlohmann::json> Control::change(const std::string& op, const ContentId& content) {
  Status done = Error{ErrorCode::kUsage, "the agent knows no request '" + op + "'"};
  if (op == "pin" || op == "unpin") done = agent_.set_pinned(content, op == "pin");
  if (op == "rm") done = agent_.remove(content);
  P2P_TRY(std::move(done));
  return nlohmann::json{{"id", content.hex()}};
}

void Control::fetch(net::LineClientId id, const nlohmann::json& request) {
  auto link = Link::parse(request.at("link").get<std::string>());
  if (!link) return end(id, link.error());
  FetchOrder order;
  order.link = *std::move(link);
  order.pin = field(request, "pin", false);
  order.detached = field(request, "detach", false);
  order.patience = from_seconds(field(request, "patience", to_seconds(order.patience)));
  const bool detached = order.detached;
  OrderHandlers handlers;
  handlers.on_progress = [this, id, next = Time()](const net::FetchProgress& progress) mutable {
    const Time now = net::Loop::now();
    // The last says how it was done.
    if (now < next && progress.bytes_verified < progress.bytes_total) return;
    next = now + kProgressLines;
    nlohmann::json line = progress_json(progress);
    line["event"] = "progress";
    line["peers_met"] = progress.peers_met;
    send(id, line);
  };
  handlers.on_ready = [this, id](const Ready& ready) {
    send(id, {{"event", "ready"},
              {"id", ready.content.hex()},
              {"name", ready.name},
              {"bytes", ready.bytes},
              {"data", ready.data.string()},
              {"manifest", ready.manifest.string()}});
  };
  handlers.on_failed = [this, id](const Error& why) { end(id, why); };
  const std::string content = order.link.content.hex();
  clients_[id].order = agent_.fetch(std::move(order), std::move(handlers));
  if (detached) end(id, nlohmann::json{{"id", content}});
}

void Control::seed(net::LineClientId id, const nlohmann::json& request) {
  SeedOrder order;
  order.path = request.at("path").get<std::string>();
  if (!order.path.is_absolute())
    return end(id, Error{ErrorCode::kUsage, "the path to seed must be absolute"});
  if (request.contains("link")) {
    auto link = Link::parse(request.at("link").get<std::string>());
    if (!link) return end(id, link.error());
    order.link = *std::move(link);
  }
  for (const auto& text : field(request, "trackers", std::vector<std::string>())) {
    auto tracker = HostPort::parse(text);
    if (!tracker) return end(id, tracker.error());
    order.trackers.push_back(*std::move(tracker));
  }
  if (request.contains("chunk_bytes")) {
    order.chunk_bytes = request.at("chunk_bytes").get<std::uint32_t>();
    if (!is_valid_chunk_size(*order.chunk_bytes))
      return end(id, Error{ErrorCode::kUsage, "a chunk size is a power of two from 64KiB to 4MiB"});
  }
  order.rehash = field(request, "rehash", false);
  // Comes from the threads that hash.
  order.on_progress = [this, id, alive = std::weak_ptr<bool>(alive_), &loop = loop_, next = Time()](
                          std::uint64_t done, std::uint64_t total) mutable {
    const Time now = net::Loop::now();
    if (now < next) return;
    next = now + kProgressLines;
    loop.post([this, id, alive, done, total] {
      if (!alive.expired())
        send(id, {{"event", "progress"}, {"bytes_hashed", done}, {"bytes_total", total}});
    });
  };
  agent_.seed(std::move(order), [this, id, alive = std::weak_ptr<bool>(alive_)](Result<Link> link) {
    if (alive.expired()) return;
    if (!link) return end(id, link.error());
    end(id, nlohmann::json{{"link", link->to_string()}});
  });
}

}  // namespace p2p::agent
