// A member of a cluster, to which bytes say what happens: packets of made-up senders, time that
// passes, answers to its own questions, orders of its shell.
//
// Input: steps, each an op and its operands.
//   0..3 packet    u8 sender, u16 length, the packet's bytes
//   4    time      u16 milliseconds; its timers run when they are due
//   5    stall     u16 milliseconds; its timers run late
//   6    answer    u8 what its last ping, relay or greeting is answered with
//   7    order     u8 which, u8 of whom
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "base/check.h"
#include "gossip/membership.h"

namespace {

using namespace p2p;
using namespace p2p::gossip;

constexpr std::uint8_t kOps = 8;
// More than any one call may lead to: all relay jobs and last calls end at one time.
constexpr std::size_t kMaxActions = 2 * kMaxRelayJobs + 64;

Endpoint address(std::uint8_t number) {
  const std::uint8_t bytes[4] = {10, 0, 0, number};
  return {IpAddress::from_bytes(bytes).value(), 7946};
}

PeerId id_of(std::uint8_t fill) { return *PeerId::from_bytes(Bytes(PeerId::kSize, fill)); }

class Driver {
 public:
  Driver(const std::uint8_t* data, std::size_t size, bool observer)
      : rest_(data, size), core_(config(observer), Random(1), now_) {
    drain();
  }

  void run() {
    while (!rest_.empty()) {
      step(byte() % kOps);
      drain();
      check();
    }
  }

 private:
  static MembershipConfig config(bool observer) {
    MembershipConfig config;
    config.id = id_of(1);
    config.epoch = 1000;
    config.endpoint = observer ? Endpoint{} : address(1);
    config.service_port = 7000;
    config.observer = observer;
    return config;
  }

  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_[0];
    rest_ = rest_.subspan(1);
    return value;
  }
  std::uint16_t number() {
    const std::uint8_t high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }

  // One of 16, now and then in another life or elsewhere.
  static Sender sender(std::uint8_t which, bool greeting) {
    const auto who = static_cast<std::uint8_t>(which & 0x0f);
    const auto where = static_cast<std::uint8_t>(which & 0x20 ? who + 100 : who);
    return {address(where), id_of(who), which & 0x10 ? 1001u : 1000u, greeting};
  }

  void step(std::uint8_t op) {
    if (op < 4) {
      const std::uint8_t which = byte();
      const std::size_t said = number();
      const std::size_t length = std::min(said, rest_.size());
      const auto packet = decode_packet(rest_.first(length));
      rest_ = rest_.subspan(length);
      if (!packet) return;
      const bool greeting = std::holds_alternative<Greet>(*packet) != ((which & 0x40) != 0);
      core_.on_packet(sender(which, greeting), *packet, now_);
    } else if (op == 4) {
      pass(std::chrono::milliseconds(number()));
    } else if (op == 5) {
      now_ += std::chrono::milliseconds(number());
      if (core_.next_timeout() <= now_) core_.on_timeout(now_);
    } else if (op == 6) {
      answer(byte());
    } else {
      order(byte());
    }
  }

  void pass(Duration duration) {
    const Time end = now_ + duration;
    // Time passes in few steps, and then at once: an input is to be quick.
    for (int i = 0; i < 100 && core_.next_timeout() <= end; ++i) {
      now_ = std::max(now_, core_.next_timeout());
      core_.on_timeout(now_);
      drain();
    }
    now_ = end;
  }

  void answer(std::uint8_t how) {
    if (!asked_ || !asked_->to) {
      if (!asked_) return;
      const auto& greet = std::get<Greet>(asked_->packet);
      const Sender from{asked_->where, id_of(how & 0x0f), 1000, false};
      core_.on_packet(from, Welcome{greet.number, {0, asked_->where, 7000}, address(1), {}}, now_);
      return;
    }
    const Sender from{asked_->where, asked_->to->id, asked_->to->epoch, false};
    if (const auto* ping = std::get_if<Ping>(&asked_->packet)) {
      const YouAre you{how & 0x30u, static_cast<MemberStatus>(how & 0x03)};
      const SelfClaim self{ping->you.incarnation + (how >> 7), asked_->where, 7000};
      core_.on_packet(from, Ack{ping->number, how, self, you, address(how & 0x0f), {how, 3}}, now_);
    } else if (const auto* relay = std::get_if<Relay>(&asked_->packet)) {
      core_.on_packet(from, RelayAnswer{relay->number, (how & 1) != 0}, now_);
    }
  }

  void order(std::uint8_t which) {
    const std::uint8_t of = byte();
    switch (which % 7) {
      case 0:
        return core_.doubt(id_of(of & 0x0f), now_);
      case 1:
        return core_.reach(id_of(of & 0x0f), now_);
      case 2:
        return core_.set_endpoint(address(of), now_);
      case 3:
        return core_.set_service_port(of, now_);
      case 4:
        return core_.set_seeds({address(of), address(2)}, now_);
      case 5:
        return core_.set_seeds({}, now_);
      default:
        return core_.leave(now_);
    }
  }

  void drain() {
    std::size_t actions = 0;
    while (auto action = core_.poll_action()) {
      P2P_CHECK(++actions <= kMaxActions);
      auto* sent = std::get_if<SendPacket>(&*action);
      if (!sent) continue;
      const Bytes bytes = encode_packet(sent->packet);
      P2P_CHECK(bytes.size() == encoded_bytes(sent->packet) && bytes.size() <= kMaxPacketBytes);
      P2P_CHECK(decode_packet(bytes).has_value() && sent->where.is_dialable());
      P2P_CHECK(sent->to.has_value() != std::holds_alternative<Greet>(sent->packet));
      if (std::holds_alternative<Ping>(sent->packet) ||
          std::holds_alternative<Relay>(sent->packet) ||
          std::holds_alternative<Greet>(sent->packet))
        asked_ = std::move(*sent);
    }
  }

  void check() const {
    const MemberTable& table = core_.table();
    std::size_t live = 0;
    for (const MemberTable::Member& member : table.members()) live += is_live(member.status);
    P2P_CHECK(live == table.live() && core_.penalty() <= kMaxPenalty);
    P2P_CHECK(!core_.left() || core_.next_timeout() == kNever);
    const MemberTable::Member* self = table.find(id_of(1));
    P2P_CHECK(!self || *self->claim == core_.self() || self->status == MemberStatus::kLeft);
  }

  ByteView rest_;
  Time now_{std::chrono::seconds(1000)};
  Membership core_;
  std::optional<SendPacket> asked_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // Long inputs say nothing that shorter ones do not.
  Driver(data + 1, std::min<std::size_t>(size - 1, 20'000), data[0] % 4 == 3).run();
  return 0;
}
