#include "agent/agent.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "net/log.h"
#include "net/own_address.h"

namespace p2p::agent {
namespace {

constexpr Duration kDrainPoll = std::chrono::milliseconds(50);
// Of the digits of an id, so that a typing error names nothing.
constexpr std::size_t kMinIdDigits = 4;

}  // namespace

std::int64_t wall_clock_seconds() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

std::string_view activity_name(Activity activity) {
  switch (activity) {
    case Activity::kIdle:
      return "idle";
    case Activity::kChecking:
      return "checking";
    case Activity::kFetching:
      return "fetching";
    case Activity::kServing:
      return "serving";
  }
  return "";
}

Agent::Agent(net::Loop& loop, AgentConfig config)
    : loop_(loop),
      config_(std::move(config)),
      tick_timer_(loop, [this] { tick(); }),
      drain_timer_(loop, [this] { drain(); }),
      next_tidy_(net::Loop::now() + kTidyInterval) {}

Agent::~Agent() {
  alive_.reset();
  for (auto& [id, content] : contents_) {
    content.stop_check.request_stop();
    if (content.used) save(content);
  }
  std::promise<void> written;
  disk_.post([&] { written.set_value(); });
  written.get_future().wait();
  contents_.clear();
  node_.reset();
}

Status Agent::start() {
  P2P_ASSIGN(Catalog catalog, Catalog::open(config_.store));
  catalog_ = std::make_shared<const Catalog>(std::move(catalog));
  net::TransportConfig transport;
  transport.keys = config_.identity;
  transport.accepted_psks = config_.cluster_keys.secrets();
  if (config_.gossip) transport.accepted_psks = config_.gossip->keys.secrets();
  transport.lanes = config_.lanes;
  transport.limits = config_.policy.limits;
  transport.max_connections = net::kMaxMemberConnections;
  node_ = std::make_unique<net::Node>(loop_, std::move(transport));
  P2P_TRY(node_->transport().listen(config_.listen));
  tracker::OwnerConfig owner;
  // A member owns what the table gives it.
  owner.own_swarms_only = !config_.gossip;
  owner.trust_advertised = config_.gossip && config_.gossip->is_closed;
  node_->answer_announces(owner);
  if (config_.gossip) P2P_TRY(node_->join_cluster(*config_.gossip, addresses().front().port, {}));
  on_disk([](const Catalog& store) { return store.empty_removed(); });
  load();
  tick_timer_.arm(net::Loop::now() + kTickInterval);
  return {};
}

std::vector<HostPort> Agent::addresses() const {
  return net::own_addresses(config_.advertised, local());
}

// ---- orders ----

OrderId Agent::fetch(FetchOrder order, OrderHandlers handlers) {
  const OrderId id = next_order_++;
  const ContentId wanted = order.link.content;
  const Duration patience = order.detached ? Duration::zero() : order.patience;
  orders_.emplace(id, Order{wanted, std::move(handlers), patience, net::Loop::now()});
  const auto refuse = [&](Error why) {
    later([this, id, why = std::move(why)] {
      const auto found = orders_.find(id);
      if (found == orders_.end() || std::exchange(found->second.answered, true)) return;
      found->second.handlers.on_failed(why);
    });
    return id;
  };
  if (stopping()) return refuse({ErrorCode::kInterrupted, "the agent is stopping"});
  if (!order.link.secret && config_.cluster_keys.empty())
    return refuse({ErrorCode::kMalformed,
                   "this link has no secret after a '#': copy all of it, or start the agent with "
                   "the --cluster-key that it was seeded with"});
  if (!contents_.contains(wanted))
    if (Status room = make_room_for_one_more(); !room) return refuse(std::move(room).error());
  const auto [place, added] = contents_.try_emplace(wanted);
  Content& content = place->second;
  Holding& holding = content.holding;
  if (added) {
    holding.content = wanted;
    holding.added = wall_clock_seconds();
  }
  if (added || content.activity == Activity::kIdle) {
    holding.has_link_secret = order.link.secret.has_value();
    holding.psk = holding.has_link_secret ? *order.link.secret : config_.cluster_keys[0];
    holding.trackers = order.link.trackers;
    holding.seeders = order.link.seeders;
    holding.members = order.link.members;
  }
  holding.pinned |= order.pin;
  content.detached |= order.detached;
  content.orders.push_back(id);
  touch(content);
  switch (content.activity) {
    case Activity::kIdle:
      want(wanted);
      break;
    case Activity::kServing:
      recheck_stamps(wanted);
      break;
    case Activity::kChecking:
    case Activity::kFetching:
      break;
  }
  save(content);
  return id;
}

void Agent::release(OrderId id) {
  const auto found = orders_.find(id);
  if (found == orders_.end()) return;
  Content* const released = content(found->second.content);
  orders_.erase(found);
  if (!released) return;
  std::erase(released->orders, id);
  touch(*released);
  if (released->orders.empty() && !released->detached && released->download)
    released->download->cancel({ErrorCode::kInterrupted, "nobody waits for it any more"});
}

void Agent::answer(const ContentId& id, const Status& outcome) {
  Content* const found = content(id);
  if (!found) return;
  // A handler may release its order.
  const std::vector<OrderId> waiting = found->orders;
  const Ready done = outcome ? ready(*found) : Ready();
  for (const OrderId order : waiting) {
    const auto at = orders_.find(order);
    if (at == orders_.end() || std::exchange(at->second.answered, true)) continue;
    const OrderHandlers handlers = at->second.handlers;
    outcome ? handlers.on_ready(done) : handlers.on_failed(outcome.error());
  }
}

// Orders whose patience is at its end. With the last of them the download ends.
void Agent::give_up(const ContentId& id, Time now) {
  Content& content = contents_.at(id);
  if (!content.download || content.activity != Activity::kFetching) return;
  // A handler may release its order.
  const std::vector<OrderId> orders = content.orders;
  std::size_t waiting = 0;
  for (const OrderId order : orders) waiting += !orders_.at(order).answered;
  for (const OrderId order : orders) {
    const auto at = orders_.find(order);
    if (at == orders_.end() || at->second.answered) continue;
    auto why = content.download->verdict(at->second.patience, at->second.since, now);
    if (!why) continue;
    if (waiting == 1 && !content.detached) {
      content.download->cancel(std::move(*why));
      return;
    }
    --waiting;
    at->second.answered = true;
    const OrderHandlers handlers = at->second.handlers;
    handlers.on_failed(*why);
  }
}

void Agent::open(const ContentId& id, OnReadable done) {
  Content* const wanted = content(id);
  const bool comes = wanted && wanted->activity != Activity::kIdle;
  if (comes) touch(*wanted);
  if (comes && !wanted->readable) return wanted->openers.push_back(std::move(done));
  Result<std::shared_ptr<Readable>> answer = Error{
      ErrorCode::kUnreachable,
      "the content is not whole, and nobody fetches it now: see `p2p list`, and `p2p fetch` it"};
  if (comes) answer = wanted->readable;
  later([done = std::move(done), answer = std::move(answer)] { done(answer); });
}

void Agent::set_readable(Content& content, std::shared_ptr<const ChunkReader> reader,
                         Bitfield have) {
  content.readable =
      std::make_shared<Readable>(content.held.manifest, std::move(reader), std::move(have));
  for (const OnReadable& opener : std::exchange(content.openers, {}))
    later([opener, readable = content.readable] { opener(readable); });
}

void Agent::close_readable(Content& content) {
  if (content.readable) content.readable->close();
  content.readable.reset();
  for (const OnReadable& opener : std::exchange(content.openers, {}))
    later([opener] { opener(Error{ErrorCode::kUnreachable, "its fetch has ended"}); });
}

void Agent::tell_progress(const ContentId& id, const net::FetchProgress& progress) {
  const Content& fetched = *content(id);
  if (fetched.readable) fetched.swarm->session().set_reading(fetched.readable->waited_for());
  // A handler may release its order, or another.
  const std::vector<OrderId> orders = fetched.orders;
  for (const OrderId order : orders) {
    const auto at = orders_.find(order);
    if (at == orders_.end() || at->second.answered) continue;
    auto on_progress = std::exchange(at->second.handlers.on_progress, nullptr);
    if (!on_progress) continue;
    on_progress(progress);
    if (const auto kept = orders_.find(order); kept != orders_.end())
      kept->second.handlers.on_progress = std::move(on_progress);
  }
}

// ---- looking and changing ----

Result<ContentId> Agent::find(const std::string& id) const {
  std::vector<ContentId> found;
  for (const auto& [each, content] : contents_)
    if (each.hex().starts_with(id) || link_text_of(each).starts_with(id)) found.push_back(each);
  if (id.size() >= kMinIdDigits && found.size() == 1) return found.front();
  if (id.size() < kMinIdDigits)
    return Error{ErrorCode::kUsage,
                 absl::StrCat("'", id, "' is too short: give ", kMinIdDigits,
                              " or more digits of the content's id, as `p2p list` shows it")};
  return Error{ErrorCode::kUsage,
               absl::StrCat(found.empty() ? "no content" : "more than one content",
                            " here has an id that begins with '", id, "'; see `p2p list`")};
}

Status Agent::set_pinned(const ContentId& id, bool pinned) {
  Content* const found = content(id);
  if (!found) return not_here(id);
  found->holding.pinned = pinned;
  save(*found);
  return {};
}

Status Agent::remove(const ContentId& id) {
  Content* const found = content(id);
  if (!found) return not_here(id);
  bool held = is_read(*found);
  for (const OrderId order : found->orders) held |= orders_.at(order).answered;
  if (held)
    return Error{ErrorCode::kUsage, absl::StrCat(found->holding.name,
                                                 " is being read, or copied out of the store; wait "
                                                 "until that is done, and run the command again")};
  answer(id, Error{ErrorCode::kInterrupted, "somebody removed it from the agent's store"});
  forget(id);
  return {};
}

std::uint64_t Agent::remove_unused() {
  const std::uint64_t before = stored_bytes();
  tidy(true);
  return before - stored_bytes();
}

std::vector<ContentReport> Agent::report() const {
  std::vector<ContentReport> reports;
  for (const auto& [id, content] : contents_) {
    ContentReport report;
    report.holding = content.holding;
    report.activity = content.activity;
    report.problem = content.problem;
    report.in_use = is_in_use(content);
    if (content.swarm) report.peers = content.swarm->session().neighbours();
    if (content.holding.state == Holding::State::kComplete)
      report.bytes_verified = content.holding.bytes;
    if (content.download && content.download->manifest()) {
      const net::FetchProgress progress = content.download->progress();
      report.bytes_verified = progress.bytes_verified;
      report.bytes_older = progress.bytes_older;
      report.rate = progress.rate;
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

std::uint64_t Agent::stored_bytes() const {
  std::uint64_t bytes = 0;
  for (const Kept& each : kept()) bytes += each.bytes;
  return bytes;
}

void Agent::set_policy(const AgentPolicy& policy) {
  config_.policy = policy;
  node_->transport().set_limits(policy.limits);
  tidy();
}

void Agent::set_cluster_keys(const Keyring& keys) {
  config_.cluster_keys = keys;
  node_->set_cluster_keys(keys);
}

// ---- the store ----

Agent::Content* Agent::content(const ContentId& id) {
  const auto found = contents_.find(id);
  return found == contents_.end() ? nullptr : &found->second;
}

Error Agent::not_here(const ContentId& id) {
  return {ErrorCode::kUsage, "content " + id.hex() + " is not here"};
}

void Agent::remove_all(const std::vector<ContentId>& ids, const std::string& why) {
  for (const ContentId& id : ids) {
    net::log_info(absl::StrCat("removing ", contents_.at(id).holding.name, " (", id.short_hex(),
                               ") from the store", why));
    forget(id);
  }
}

void Agent::touch(Content& content) {
  content.holding.last_used = wall_clock_seconds();
  content.used = true;
}

void Agent::save(const Content& content) {
  on_disk([holding = content.holding](const Catalog& store) { return store.save(holding); });
}

void Agent::on_disk(Change change) {
  disk_.post([store = catalog_, change = std::move(change)] {
    if (const Status done = change(*store); !done) net::log_error(done.error().message);
  });
}

// Of what was moved out of the way: the file system knows of its room only when this is done.
void Agent::empty_removed(std::uint64_t bytes) {
  being_removed_ += bytes;
  on_disk([](const Catalog& store) { return store.empty_removed(); });
  disk_.post([this, alive = std::weak_ptr<bool>(alive_), bytes] {
    loop_.post([this, alive, bytes] {
      if (!alive.expired()) being_removed_ -= bytes;
    });
  });
}

void Agent::later(std::function<void()> task) {
  loop_.post([alive = std::weak_ptr<bool>(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

bool Agent::is_in_use(const Content& content) const {
  const bool serves = content.activity == Activity::kServing;
  return !content.orders.empty() || is_read(content) || content.activity == Activity::kChecking ||
         content.activity == Activity::kFetching || lent_.contains(content.holding.content) ||
         (serves && content.swarm->session().swarm().has_incomplete_neighbour());
}

// What lies elsewhere takes nothing of the store.
std::uint64_t Agent::bytes_in_store(const Content& content) {
  const Holding& holding = content.holding;
  if (!holding.in_store()) return 0;
  return content.has_damaged ? 2 * holding.bytes : holding.bytes;
}

std::vector<Kept> Agent::kept(const ContentId* without) const {
  std::vector<Kept> all;
  for (const auto& [id, content] : contents_) {
    const Holding& holding = content.holding;
    if (!holding.in_store() || (without && id == *without)) continue;
    all.push_back(
        {id, bytes_in_store(content), holding.last_used, holding.pinned, is_in_use(content)});
  }
  return all;
}

RetentionLimits Agent::retention() const {
  const auto elsewhere = std::count_if(contents_.begin(), contents_.end(), [](const auto& each) {
    return !each.second.holding.in_store();
  });
  return {config_.policy.max_bytes, config_.policy.max_idle_seconds,
          net::kMaxHostedSwarms - static_cast<std::size_t>(elsewhere)};
}

// So that the node can host it.
Status Agent::make_room_for_one_more() {
  if (contents_.size() < net::kMaxHostedSwarms) return {};
  RetentionLimits number_alone;
  number_alone.max_contents = retention().max_contents;
  remove_all(to_remove(kept(), number_alone, wall_clock_seconds(), 0, 1), ", for another");
  if (contents_.size() < net::kMaxHostedSwarms) return {};
  return Error{ErrorCode::kLimit, absl::StrCat("the agent has ", net::kMaxHostedSwarms,
                                               " contents, as many as it may, all pinned or in "
                                               "use; unpin or remove some")};
}

void Agent::tidy(bool all) {
  RetentionLimits limits = retention();
  std::int64_t now = wall_clock_seconds();
  if (all) {  // as if nothing had been used for longer than the least time
    limits.max_idle_seconds = 1;
    now = INT64_MAX;
  }
  remove_all(to_remove(kept(), limits, now), "");
  for (auto& [id, content] : contents_)
    if (std::exchange(content.used, false)) save(content);
}

void Agent::tick() {
  const Time now = net::Loop::now();
  node_->refresh_announcers();
  std::erase_if(ending_, [](const auto& download) { return download->idle(); });
  std::vector<ContentId> ids;
  for (const auto& [id, content] : contents_)
    if (content.download && !content.orders.empty()) ids.push_back(id);
  for (const ContentId& id : ids)
    if (contents_.contains(id)) give_up(id, now);
  if (now >= next_tidy_) {
    tidy();
    next_tidy_ = now + kTidyInterval;
  }
  tick_timer_.arm(now + kTickInterval);
}

// ---- the end ----

void Agent::stop(std::function<void()> done) {
  if (stopping()) return;
  on_stopped_ = std::move(done);
  std::vector<ContentId> ids;
  for (auto& [id, content] : contents_) ids.push_back(id);
  for (const ContentId& id : ids) {
    answer(id, Error{ErrorCode::kInterrupted, "the agent is stopping"});
    Content* const each = content(id);
    if (!each) continue;
    each->stop_check.request_stop();
    if (each->download) each->download->cancel({ErrorCode::kInterrupted, "the agent is stopping"});
    if (each->swarm) each->swarm->stop_announcing();
  }
  drain_by_ = net::Loop::now() + kDrainTime;
  drain();
}

bool Agent::has_jobs() const {
  return std::any_of(ending_.begin(), ending_.end(),
                     [](const auto& each) { return !each->idle(); }) ||
         std::any_of(contents_.begin(), contents_.end(), [](const auto& each) {
           return each.second.download && !each.second.download->idle();
         });
}

void Agent::drain() {
  const Time now = net::Loop::now();
  const bool leaving = drain_by_ == kNever;
  if (leaving) return has_jobs() ? drain_timer_.arm(now + kDrainPoll) : on_stopped_();
  const bool needed = std::any_of(contents_.begin(), contents_.end(), [](const auto& each) {
    const Content& content = each.second;
    return content.activity == Activity::kServing &&
           content.swarm->session().swarm().has_incomplete_neighbour();
  });
  if (needed && now < drain_by_) return drain_timer_.arm(now + kDrainPoll);
  drain_by_ = kNever;
  tick_timer_.arm(kNever);
  node_->stop();
  drain_timer_.arm(now + (node_->quiet() ? Duration::zero() : net::kGoodbye));
}

}  // namespace p2p::agent
