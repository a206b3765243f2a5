#include "net/gossip_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/log.h"
#include "net/node.h"

namespace p2p::net {

static_assert(gossip::kMaxPacketBytes <= p2p::kMaxPacketBytes);

GossipService::GossipService(Loop& loop, GossipConfig config, const PeerId& self, Random random,
                             GossipHandlers handlers)
    : loop_(loop),
      config_(std::move(config)),
      self_(self),
      random_(random),
      handlers_(std::move(handlers)),
      sealer_(self, config_.epoch, config_.keys),
      opener_(self, config_.epoch, config_.keys),
      socket_(loop,
              [this](const Endpoint& from, MutableBytes datagram) { on_datagram(from, datagram); }),
      timer_(loop,
             [this] {
               membership_->on_timeout(Loop::now());
               drain();
             }),
      resolve_timer_(loop, [this] { resolve(); }),
      change_timer_(loop, [this] { tell_change(); }),
      keep_timer_(loop, [this] { keep_members(); }) {}

Result<Endpoint> GossipService::start(std::uint16_t service_port) {
  P2P_TRY(socket_.bind(config_.listen));
  const Endpoint local = socket_.local();
  gossip::MembershipConfig config;
  config.id = self_;
  config.epoch = config_.epoch;
  config.service_port = service_port;
  config.observer = config_.observer;
  // Of several addresses of this host others may see another one.
  config.endpoint_is_guess = !config_.advertised && local.address.is_any();
  config.endpoint = config_.advertised.value_or(reachable_endpoints(local).front());
  if (config.endpoint.port == 0) config.endpoint.port = local.port;
  membership_.emplace(config, random_.fork("gossip"), Loop::now());
  tell_seeds();
  resolve();
  if (config_.keep) keep_timer_.arm(Loop::now() + kKeepFirstMembers);
  drain();
  return local;
}

void GossipService::set_keys(const Keyring& keys) {
  sealer_.set_keyring(keys);
  opener_.set_keyring(keys);
  warned_of_key_ = false;
}

void GossipService::doubt(const PeerId& id) {
  membership_->doubt(id, Loop::now());
  drain();
}

void GossipService::reach(const PeerId& id) {
  membership_->reach(id, Loop::now());
  drain();
}

void GossipService::ask_absent() {
  membership_->ask_absent(Loop::now());
  drain();
}

void GossipService::leave() {
  if (!membership_) return;
  resolve_timer_.arm(kNever);
  change_timer_.arm(kNever);
  keep_timer_.arm(kNever);
  membership_->leave(Loop::now());
  drain();
}

// ---- where others may be ----

void GossipService::resolve() {
  for (const HostPort& target : config_.join)
    loop_.resolve(target, [this, target, alive = std::weak_ptr<bool>(alive_)](
                              Result<std::vector<Endpoint>> found) {
      if (alive.expired() || left()) return;
      if (!found) return log_debug("join: " + found.error().message);
      // A name that cannot be looked up for a while keeps what it had.
      if (std::exchange(resolved_[target], *found) != *found) tell_seeds();
    });
  const bool alone = membership_->table().live() <= 1;
  resolve_timer_.arm(Loop::now() + (alone ? kResolveAlone : kResolveInCompany));
}

void GossipService::tell_seeds() {
  std::vector<Endpoint> seeds;
  for (const auto& [name, endpoints] : resolved_)
    seeds.insert(seeds.end(), endpoints.begin(), endpoints.end());
  seeds.insert(seeds.end(), config_.known.begin(),
               config_.known.begin() +
                   static_cast<std::ptrdiff_t>(std::min(config_.known.size(), kMaxKnownMembers)));
  std::sort(seeds.begin(), seeds.end());
  seeds.erase(std::unique(seeds.begin(), seeds.end()), seeds.end());
  membership_->set_seeds(std::move(seeds), Loop::now());
  drain();
}

void GossipService::keep_members() {
  std::vector<Endpoint> members;
  for (const auto& member : membership_->table().members())
    if (gossip::is_live(member.status) && member.claim->id != self_)
      members.push_back(member.claim->endpoint);
  kept_members_ |= !members.empty();
  keep_timer_.arm(Loop::now() + (kept_members_ ? kKeepMembers : kKeepFirstMembers));
  if (members.empty()) return;  // those of earlier times are better than none
  random_.shuffle(members);
  if (members.size() > kMaxKnownMembers) members.resize(kMaxKnownMembers);
  std::sort(members.begin(), members.end());
  loop_.work([keep = config_.keep, members = std::move(members)] { keep(members); }, [] {});
}

// ---- packets ----

void GossipService::on_datagram(const Endpoint& from, MutableBytes datagram) {
  if (left()) return;
  const auto opened = opener_.open(datagram);
  if (const auto* why = std::get_if<DatagramRefusal>(&opened)) return note_refusal(from, *why);
  const auto& good = std::get<OpenedDatagram>(opened);
  const Result<gossip::Packet> packet = gossip::decode_packet(good.packet);
  if (!packet)
    return log_debug(absl::StrCat("gossip of ", from.to_string(), ": ", packet.error().message));
  membership_->on_packet({from, good.sender, good.epoch, good.greeting}, *packet, Loop::now());
  drain();
}

void GossipService::note_refusal(const Endpoint& from, DatagramRefusal why) {
  ++refusals_[static_cast<std::size_t>(why)];
  if (why != DatagramRefusal::kUnknownKey || std::exchange(warned_of_key_, true)) return;
  log_warn(absl::StrCat("a datagram of ", from.to_string(),
                        " is sealed with another cluster key, or is none of p2p; such ones are "
                        "dropped. Has every host the same --cluster-key?"));
}

void GossipService::tell_change() {
  change_is_due_ = false;
  if (handlers_.on_change) handlers_.on_change();
}

void GossipService::drain() {
  while (auto action = membership_->poll_action()) {
    if (const auto* send = std::get_if<gossip::SendPacket>(&*action)) {
      const Bytes packet = gossip::encode_packet(send->packet);
      socket_.send(send->where,
                   send->to ? sealer_.seal(packet, session_tag_of(send->to->id, send->to->epoch))
                            : sealer_.seal_greeting(packet));
    } else if (const auto* reached = std::get_if<gossip::Reached>(&*action)) {
      if (handlers_.on_reached) handlers_.on_reached(reached->id);
    } else if (const auto* known = std::get_if<gossip::AbsentKnown>(&*action)) {
      if (handlers_.on_absent_known) handlers_.on_absent_known(known->answers);
    } else {
      log_error("another process has the identity of this member of the cluster");
      if (handlers_.on_superseded) loop_.post(handlers_.on_superseded);
    }
  }
  const std::uint64_t version = membership_->table().version();
  if (version != std::exchange(told_version_, version) && !std::exchange(change_is_due_, true))
    change_timer_.arm(Loop::now() + kMembersSettle);
  timer_.arm(membership_->next_timeout());
}

}  // namespace p2p::net
