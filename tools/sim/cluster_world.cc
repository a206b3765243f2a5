#include "tools/sim/cluster_world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace p2p::sim {
namespace {

using gossip::Membership;
using gossip::MemberStatus;
using gossip::MemberTable;

constexpr std::uint16_t kPort = 7946;
// What a blocked host keeps for a process; more is lost.
constexpr std::size_t kSocketPackets = 200;
// After a partition is healed a verdict from before it may still be on its way.
constexpr Duration kHealing = std::chrono::seconds(30);

std::uint32_t number_of(const Endpoint& endpoint) {
  return get_u32(endpoint.address.wire_bytes().data()) & 0xffffff;
}

}  // namespace

ClusterWorld::ClusterWorld(ClusterConfig config)
    : config_(config), random_(Random(config.seed).fork("cluster")) {}
ClusterWorld::~ClusterWorld() = default;

void ClusterWorld::broken(const std::string& what) const {
  throw ClusterBroken(absl::StrCat(what, ", at ", to_seconds(now_.time_since_epoch()), " s"));
}

// ---- members ----

Endpoint ClusterWorld::fresh_endpoint(NodeNumber node) {
  std::uint8_t bytes[4];
  put_u32(bytes, 10u << 24 | static_cast<std::uint32_t>(by_address_.size()));
  by_address_.push_back(node);
  return {IpAddress::from_bytes(bytes).value(), kPort};
}

NodeNumber ClusterWorld::add_node() {
  const auto number = static_cast<NodeNumber>(nodes_.size());
  auto node = std::make_unique<Node>();
  Random random = Random(config_.seed).fork(absl::StrCat("id ", number));
  for (std::uint8_t& byte : node->id.bytes) byte = static_cast<std::uint8_t>(random.next());
  node->endpoint = fresh_endpoint(number);
  by_id_[node->id] = number;
  nodes_.push_back(std::move(node));
  return number;
}

void ClusterWorld::launch(NodeNumber number) {
  Node& node = *nodes_[number];
  node.epoch = std::max<std::uint64_t>(
      node.epoch + 1, 1'000'000 + static_cast<std::uint64_t>(now_.time_since_epoch() /
                                                             std::chrono::milliseconds(1)));
  node.crashed = false;
  node.inbox.clear();
  node.blocked_until = node.starved_until = {};
  gossip::MembershipConfig config{node.id, node.epoch, node.endpoint, config_.guessed_endpoints,
                                  7000,    false};
  node.core = std::make_unique<Membership>(
      config, Random(config_.seed).fork(absl::StrCat("node ", number, " ", node.epoch)), now_);
  node.core->set_trace([this, number](const MemberTable::Member* before,
                                      const gossip::News& after) { check(number, before, after); });
  std::vector<Endpoint> seeds;
  for (NodeNumber seed = 0; seed < std::min(config_.seeds, nodes_.size()); ++seed)
    if (seed != number) seeds.push_back(nodes_[seed]->endpoint);
  node.core->set_seeds(std::move(seeds), now_);
  ++up_;
  drain(number);
}

void ClusterWorld::add_acquainted(std::size_t members) {
  const NodeNumber first = static_cast<NodeNumber>(nodes_.size());
  for (std::size_t i = 0; i < members; ++i) add_node();
  for (NodeNumber node = first; node < nodes_.size(); ++node) launch(node);
  std::vector<gossip::ClaimPtr> claims;
  for (NodeNumber node = first; node < nodes_.size(); ++node)
    claims.push_back(core(node).table().find(id(node))->claim);
  for (NodeNumber node = first; node < nodes_.size(); ++node) {
    nodes_[node]->core->adopt(claims, now_);
    drain(node);
  }
}

NodeNumber ClusterWorld::join() {
  const NodeNumber node = add_node();
  launch(node);
  return node;
}

NodeNumber ClusterWorld::join_behind_mapping() {
  const NodeNumber node = add_node();
  nodes_[node]->source = fresh_endpoint(node);
  launch(node);
  return node;
}

void ClusterWorld::move(NodeNumber node) { nodes_[node]->endpoint = fresh_endpoint(node); }

void ClusterWorld::crash(NodeNumber number) {
  Node& node = *nodes_[number];
  P2P_CHECK(node.core != nullptr);
  node.core.reset();
  node.crashed = true;
  node.wake = kNever;
  --up_;
}

void ClusterWorld::leave(NodeNumber number) {
  nodes_[number]->core->leave(now_);
  drain(number);
}

void ClusterWorld::restart(NodeNumber number, bool new_address) {
  P2P_CHECK(!is_up(number));
  if (new_address) nodes_[number]->endpoint = fresh_endpoint(number);
  launch(number);
}

void ClusterWorld::change_service_port(NodeNumber number) {
  Membership& core = *nodes_[number]->core;
  core.set_service_port(static_cast<std::uint16_t>(core.self().service_port % 60'000 + 1), now_);
  drain(number);
}

void ClusterWorld::set_group(NodeNumber node, int group) {
  nodes_[node]->group = group;
  parted_ = std::any_of(nodes_.begin(), nodes_.end(), [](const auto& n) { return n->group != 0; });
  whole_since_ = now_;
}

void ClusterWorld::starve(NodeNumber number, Duration most, Time until) {
  Node& node = *nodes_[number];
  node.starved_until = until;
  node.most_blocked = most;
  push(now_, Kind::kBlock, number);
}

// ---- what must always be true ----

void ClusterWorld::check(NodeNumber viewer, const MemberTable::Member* before,
                         const gossip::News& after) {
  const auto found = by_id_.find(after.id());
  if (found == by_id_.end()) broken("a member that never was is in a view");
  const NodeNumber number = found->second;
  const Node& node = *nodes_[number];
  if (before && after.rank() < before->rank()) broken("a view went back");
  if (before && after.claim->epoch == before->claim->epoch) {
    if (after.claim->incarnation < before->claim->incarnation) broken("an incarnation fell");
    if (!gossip::is_live(before->status) && gossip::is_live(after.status) &&
        after.claim->incarnation == before->claim->incarnation)
      broken("a dead member lives again without a higher incarnation");
    if (before->status == MemberStatus::kLeft && after.status != MemberStatus::kLeft)
      broken("a member that left is back without a new start");
  }
  if (after.claim->epoch > node.epoch) broken("an epoch was made up");
  if (!node.core || after.claim->epoch != node.epoch) return;
  if (viewer != number && after.claim->incarnation > node.core->self().incarnation)
    broken("somebody else raised an incarnation");
  const bool is_well = node.starved_until <= now_ && !parted_ && whole_since_ + kHealing <= now_ &&
                       !node.core->left();
  if (after.status == MemberStatus::kDead && is_well &&
      after.claim->incarnation == node.core->self().incarnation &&
      after.accuser == gossip::tag_of(id(viewer)))
    ++wrongly_dead_;
}

std::size_t ClusterWorld::count_views(
    NodeNumber of, const std::function<bool(const MemberTable::Member*)>& holds) const {
  std::size_t views = 0;
  for (const auto& node : nodes_)
    if (node->core) views += holds(node->core->table().find(id(of)));
  return views;
}

bool ClusterWorld::views_equal() const {
  const Membership* first = nullptr;
  for (const auto& node : nodes_) {
    if (!node->core) continue;
    if (!first) first = node->core.get();
    const gossip::ViewSummary view = node->core->table().summary();
    if (view.live != up_ || view != first->table().summary()) return false;
    // Its own claim, as the first one holds it.
    const MemberTable::Member* held = first->table().find(node->id);
    if (!held || *held->claim != node->core->self()) return false;
  }
  return true;
}

// ---- the network ----

void ClusterWorld::push(Time at, Kind kind, std::uint32_t what) {
  events_.push({at, orders_++, what, kind});
}

void ClusterWorld::count(Node& node, std::size_t bytes, bool sent) {
  const std::int64_t second = now_.time_since_epoch() / std::chrono::seconds(1);
  if (second != node.second) {
    node.second = second;
    node.second_sent = node.second_received = 0;
  }
  (sent ? node.sent : node.received) += bytes;
  (sent ? node.second_sent : node.second_received) += bytes;
  node.peak = std::max({node.peak, node.second_sent, node.second_received});
}

void ClusterWorld::send(NodeNumber from, gossip::SendPacket action) {
  Node& node = *nodes_[from];
  const std::size_t bytes = gossip::encoded_bytes(action.packet) + gossip::kDatagramBytes;
  P2P_CHECK(bytes <= gossip::kMaxPacketBytes + gossip::kDatagramBytes);
  count(node, bytes, true);
  ++packets_;
  const std::uint32_t address = number_of(action.where);
  if (address >= by_address_.size() || random_.chance(config_.loss)) return;
  const NodeNumber to = by_address_[address];
  if (nodes_[to]->endpoint != action.where && nodes_[to]->source != action.where) return;
  if (nodes_[to]->group != node.group) return;
  std::uint32_t flight;
  if (free_flights_.empty()) {
    flight = static_cast<std::uint32_t>(flights_.size());
    flights_.emplace_back();
  } else {
    flight = free_flights_.back();
    free_flights_.pop_back();
  }
  const bool greeting = !action.to.has_value();
  flights_[flight] = {{node.source.value_or(node.endpoint), node.id, node.epoch, greeting},
                      from,
                      to,
                      std::move(action.to),
                      std::move(action.packet),
                      bytes};
  push(now_ + from_seconds(to_seconds(config_.latency) * (0.5 + random_.unit())), Kind::kArrive,
       flight);
}

void ClusterWorld::inject(NodeNumber from, NodeNumber to, const gossip::Packet& packet) {
  const Node& sender = *nodes_[from];
  nodes_[to]->core->on_packet({sender.endpoint, sender.id, sender.epoch, false}, packet, now_);
  drain(to);
}

void ClusterWorld::arrive(std::uint32_t flight) {
  Node& node = *nodes_[flights_[flight].to];
  if (node.core && node.blocked_until > now_ && node.inbox.size() < kSocketPackets)
    node.inbox.push_back(flight);
  else
    deliver(flight);
}

void ClusterWorld::deliver(std::uint32_t number) {
  Flight flight = std::move(flights_[number]);
  free_flights_.push_back(number);
  Node& node = *nodes_[flight.to];
  if (!node.core || node.blocked_until > now_) return;
  count(node, flight.bytes, false);
  if (flight.key && *flight.key != gossip::MemberKey{node.id, node.epoch}) return;  // cannot open
  node.core->on_packet(flight.sender, flight.packet, now_);
  drain(flight.to);
}

void ClusterWorld::drain(NodeNumber number) {
  Node& node = *nodes_[number];
  while (auto action = node.core->poll_action()) {
    if (auto* packet = std::get_if<gossip::SendPacket>(&*action))
      send(number, std::move(*packet));
    else if (std::holds_alternative<gossip::Superseded>(*action))
      broken(absl::StrCat("member ", number, " is told that another life of it runs"));
  }
  if (node.core->left()) {
    node.core.reset();
    --up_;
    return;
  }
  const Time next = std::max(node.core->next_timeout(), now_);
  if (next >= node.wake) return;
  node.wake = next;
  push(next, Kind::kWake, number);
}

void ClusterWorld::wake(NodeNumber number) {
  Node& node = *nodes_[number];
  if (node.wake > now_) return;  // replaced by a later one, or of an earlier life
  node.wake = kNever;
  if (!node.core) return;
  if (node.blocked_until > now_) {
    node.wake = node.blocked_until;
    push(node.blocked_until, Kind::kWake, number);
    return;
  }
  if (node.core->next_timeout() <= now_) node.core->on_timeout(now_);
  drain(number);
}

// A moment in which it ran is over, or its next wait is.
void ClusterWorld::block(NodeNumber number) {
  Node& node = *nodes_[number];
  if (!node.core) return;
  if (node.blocked_until != Time{} && node.blocked_until <= now_) {
    // It runs: first what was due, then what came.
    node.blocked_until = {};
    if (node.core->next_timeout() <= now_) node.core->on_timeout(now_);
    drain(number);
    for (const std::uint32_t flight : std::exchange(node.inbox, {})) deliver(flight);
    if (now_ < node.starved_until)
      push(now_ + from_seconds(0.02 * random_.unit()), Kind::kBlock, number);
    return;
  }
  if (now_ >= node.starved_until) return;
  node.blocked_until = now_ + from_seconds(to_seconds(node.most_blocked) * random_.unit());
  push(node.blocked_until, Kind::kBlock, number);
}

void ClusterWorld::step_to(Time end) {
  while (!events_.empty() && events_.top().at <= end) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.at;
    switch (event.kind) {
      case Kind::kWake:
        wake(event.what);
        break;
      case Kind::kArrive:
        arrive(event.what);
        break;
      case Kind::kBlock:
        block(event.what);
        break;
    }
  }
  now_ = end;
}

void ClusterWorld::run_for(Duration duration) { step_to(now_ + duration); }

bool ClusterWorld::run_until(const std::function<bool()>& done, Duration limit, Duration step) {
  const Time end = now_ + limit;
  while (!done()) {
    if (now_ >= end) return false;
    step_to(std::min(end, now_ + step));
  }
  return true;
}

// ---- traffic ----

void ClusterWorld::reset_traffic() {
  traffic_since_ = now_;
  for (auto& node : nodes_) node->sent = node->received = node->peak = 0;
}

double ClusterWorld::mean_bytes_per_second() const {
  double sent = 0;
  for (const auto& node : nodes_) sent += static_cast<double>(node->sent);
  return sent / static_cast<double>(nodes_.size()) / to_seconds(now_ - traffic_since_);
}

double ClusterWorld::worst_bytes_per_second() const {
  std::uint64_t most = 0;
  for (const auto& node : nodes_) most = std::max({most, node->sent, node->received});
  return static_cast<double>(most) / to_seconds(now_ - traffic_since_);
}

double ClusterWorld::peak_bytes_per_second() const {
  std::uint64_t most = 0;
  for (const auto& node : nodes_) most = std::max(most, node->peak);
  return static_cast<double>(most);
}

}  // namespace p2p::sim
