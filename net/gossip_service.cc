#include "net/gossip_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "net/address.h"
#include "net/log.h"

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
      keep_timer_(loop, [this] { keep_members(); }),
      alone_timer_(loop, [this] { warn_if_alone(); }) {}

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
  config.endpoint = config_.advertised.value_or(local);
  if (config.endpoint.address.is_any()) config.endpoint.address = main_address();
  if (config.endpoint.port == 0) config.endpoint.port = local.port;
  membership_.emplace(config, random_.fork("gossip"), Loop::now());
  tell_seeds();
  resolve();
  if (!config_.join.empty()) alone_timer_.arm(Loop::now() + kAloneTooLong);
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
  change_is_due_ = true;  // changes are nobody's business from here on
  keep_timer_.arm(kNever);
  alone_timer_.arm(kNever);
  membership_->leave(Loop::now());
  drain();
}

// ---- where others may be ----

bool GossipService::is_alone() const {
  return membership_->table().live() <= (config_.observer ? 0 : 1);
}

void GossipService::resolve() {
  for (const HostPort& name : config_.join) {
    Target& target = targets_[name];
    if (std::exchange(target.resolving, true)) continue;  // a slow name server
    loop_.resolve(name, [this, name,
                         alive = std::weak_ptr<bool>(alive_)](Result<std::vector<Endpoint>> found) {
      if (alive.expired()) return;
      Target& resolved = targets_[name];
      resolved.resolving = false;
      resolved.failure = found ? "" : found.error().message;
      // A name that cannot be looked up for a while keeps what it had.
      if (left() || !found || std::exchange(resolved.endpoints, *found) == *found) return;
      tell_seeds();
    });
  }
  resolve_timer_.arm(Loop::now() + (is_alone() ? kResolveAlone : kResolveInCompany));
}

void GossipService::warn_if_alone() {
  if (!is_alone()) return;
  std::vector<std::string> texts;
  for (const auto& [name, target] : targets_)
    texts.push_back(target.failure.empty() ? name.to_string() + " does not answer"
                                           : target.failure);
  log_warn(absl::StrCat("no other member of the cluster was found so far, and the search goes on: ",
                        absl::StrJoin(texts, "; "),
                        ". Is one running there, can UDP reach it, and has it the same "
                        "--cluster-key?"));
}

void GossipService::tell_seeds() {
  std::vector<Endpoint> seeds;
  for (const auto& [name, target] : targets_)
    seeds.insert(seeds.end(), target.endpoints.begin(), target.endpoints.end());
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
      log_error(
          "another process has the identity of this member of the cluster, which leaves it. Was a "
          "disk or a folder copied? Then remove members/ in the state folder of one of them");
      loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        leave();
        if (handlers_.on_superseded) handlers_.on_superseded();
      });
    }
  }
  const std::uint64_t version = membership_->table().version();
  if (version != std::exchange(told_version_, version) && !std::exchange(change_is_due_, true))
    change_timer_.arm(Loop::now() + kMembersSettle);
  timer_.arm(membership_->next_timeout());
}

}  // namespace p2p::net
