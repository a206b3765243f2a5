// One Membership in a made-up world: friends that the test makes up answer it as the test says, in
// no time; time is the test's own.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "gossip/membership.h"
#include "tests/gossip/support.h"

namespace p2p::gossip::test {

struct Friend {
  PeerId id;
  Endpoint endpoint;
  std::uint64_t epoch = kEpoch;
  Incarnation incarnation = 0;
  bool answers = true;         // pings
  bool refutes = false;        // when a ping says that it is suspected
  std::optional<bool> relays;  // what it says when it is asked to ping another; empty: nothing

  MemberKey key() const { return {id, epoch}; }
  Sender sender() const { return {endpoint, id, epoch, false}; }
  SelfClaim self() const { return {incarnation, endpoint, 7000}; }
  ClaimPtr claim() const;
  // As members send it: long enough that an answer may be sent.
  Ping ping(const YouAre& you = {}) const;
  News news(MemberStatus status, std::uint64_t accuser = 0) const {
    return {claim(), status, accuser};
  }
};

// A friend of random id at address(number).
Friend make_friend(Random& random, std::uint32_t number);

struct Sent {
  Time at;
  SendPacket what;
};

class OneMember {
 public:
  static inline const PeerId kId = id_of(0x80);
  static inline const Endpoint kEndpoint = address(1);

  // A member at this address; with none it is to learn it.
  static MembershipConfig config_at(const Endpoint& endpoint, const PeerId& id = kId);

  explicit OneMember(MembershipConfig config = config_at(kEndpoint), std::uint64_t seed = kSeed)
      : now_(std::chrono::seconds(1000)), core_(std::move(config), Random(seed), now_) {
    drain();
  }

  Membership& core() { return core_; }
  Time now() const { return now_; }
  MemberKey key() const { return {core_.self().id, core_.self().epoch}; }
  // Members that it knows from the start. References stay valid until the next call.
  std::vector<Friend>& know(std::size_t count, Random& random);
  Friend& friend_at(std::size_t index) { return friends_[index]; }
  std::vector<Friend>& friends() { return friends_; }

  void hear(const Sender& sender, const Packet& packet) {
    core_.on_packet(sender, packet, now_);
    drain();
  }
  void call(const std::function<void(Membership&, Time)>& what) {
    what(core_, now_);
    drain();
  }
  void run_for(Duration duration);
  // Time goes on, and it does not get to run.
  void stall(Duration duration) { now_ += duration; }

  // What it sent since the last forget().
  const std::vector<Sent>& sent() const { return sent_; }
  void forget() { sent_.clear(); }
  template <typename T>
  std::vector<T> sent_of_kind() const {
    std::vector<T> packets;
    for (const Sent& sent : sent_)
      if (const T* packet = std::get_if<T>(&sent.what.packet)) packets.push_back(*packet);
    return packets;
  }
  template <typename T>
  std::vector<T> sent_to(const Endpoint& where) const {
    std::vector<T> packets;
    for (const Sent& sent : sent_)
      if (const T* packet = std::get_if<T>(&sent.what.packet); packet && sent.what.where == where)
        packets.push_back(*packet);
    return packets;
  }
  const std::vector<Superseded>& superseded() const { return superseded_; }
  const std::vector<Reached>& reached() const { return reached_; }

  const MemberTable::Member* find(const PeerId& id) const { return core_.table().find(id); }
  // How it thinks of one that it knows.
  MemberStatus status(const PeerId& id) const { return core_.table().find(id)->status; }

 private:
  void drain();
  void answer(Friend& who, const Packet& packet);

  Time now_;
  Membership core_;
  std::vector<Friend> friends_;
  std::vector<Sent> sent_;
  std::vector<Superseded> superseded_;
  std::vector<Reached> reached_;
};

}  // namespace p2p::gossip::test
