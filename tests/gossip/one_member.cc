#include "tests/gossip/one_member.h"

#include <algorithm>

#include "base/check.h"

namespace p2p::gossip::test {

ClaimPtr Friend::claim() const {
  return std::make_shared<Claim>(Claim{id, epoch, incarnation, endpoint, 7000});
}

Ping Friend::ping(const YouAre& you) const {
  return {0x80000001, false, self(), you, OneMember::kEndpoint, {~std::uint64_t{0}, 200}};
}

Friend make_friend(Random& random, std::uint32_t number) {
  Friend made;
  made.id = random_id(random);
  made.endpoint = address(number);
  return made;
}

MembershipConfig OneMember::config_at(const Endpoint& endpoint, const PeerId& id) {
  MembershipConfig config;
  config.id = id;
  config.epoch = kEpoch;
  config.endpoint = endpoint;
  config.service_port = 7000;
  return config;
}

std::vector<Friend>& OneMember::know(std::size_t count, Random& random) {
  std::vector<ClaimPtr> claims;
  for (std::size_t i = 0; i < count; ++i) {
    friends_.push_back(make_friend(random, static_cast<std::uint32_t>(100 + friends_.size())));
    claims.push_back(friends_.back().claim());
  }
  core_.adopt(claims, now_);
  return friends_;
}

void OneMember::drain() {
  while (auto action = core_.poll_action()) {
    if (const auto* superseded = std::get_if<Superseded>(&*action)) {
      superseded_.push_back(*superseded);
      continue;
    }
    if (const auto* reached = std::get_if<Reached>(&*action)) {
      reached_.push_back(*reached);
      continue;
    }
    const auto& packet = std::get<SendPacket>(*action);
    P2P_CHECK(encode_packet(packet.packet).size() <= kMaxPacketBytes);
    sent_.push_back({now_, packet});
    const auto who = std::find_if(friends_.begin(), friends_.end(), [&](const Friend& candidate) {
      return candidate.endpoint == packet.where && packet.to == candidate.key();
    });
    if (who != friends_.end()) answer(*who, packet.packet);
  }
}

void OneMember::answer(Friend& who, const Packet& packet) {
  if (const auto* ping = std::get_if<Ping>(&packet)) {
    if (who.refutes && ping->you.status == MemberStatus::kSuspect)
      who.incarnation = ping->you.incarnation + 1;
    // Its view is always the same as the core's: nothing is to be synchronised.
    if (who.answers)
      core_.on_packet(who.sender(),
                      Ack{ping->number, 0, who.self(), {}, {}, core_.table().summary()}, now_);
  } else if (const auto* relay = std::get_if<Relay>(&packet); relay && who.relays) {
    core_.on_packet(who.sender(), RelayAnswer{relay->number, *who.relays}, now_);
  }
}

void OneMember::run_for(Duration duration) {
  const Time end = now_ + duration;
  while (core_.next_timeout() <= end) {
    now_ = std::max(now_, core_.next_timeout());
    core_.on_timeout(now_);
    drain();
  }
  now_ = end;
}

}  // namespace p2p::gossip::test
