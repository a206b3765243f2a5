// GossipService: a member of the cluster on a UDP socket. The shell around gossip::Membership:
// seals and opens datagrams, looks up names, and tells when the members have changed.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "crypto/datagram.h"
#include "crypto/keyring.h"
#include "gossip/membership.h"
#include "net/loop.h"
#include "net/udp_socket.h"

namespace p2p::net {

// The names of --join are looked up anew after so long: while nobody is found, and in company.
inline constexpr Duration kResolveAlone = std::chrono::seconds(3);
inline constexpr Duration kResolveInCompany = std::chrono::seconds(30);
// Changes of the members are told together.
inline constexpr Duration kMembersSettle = std::chrono::milliseconds(200);
// Members of earlier times that are greeted besides.
inline constexpr std::size_t kMaxKnownMembers = 64;
// One who is alone for so long says whom it looks for.
inline constexpr Duration kAloneTooLong = std::chrono::seconds(10);
inline constexpr Duration kKeepMembers = std::chrono::seconds(30);
// While none were kept: a cluster that is young can fall down too.
inline constexpr Duration kKeepFirstMembers = std::chrono::seconds(2);

struct GossipConfig {
  Endpoint listen;
  std::optional<Endpoint>
      advertised;  // where others reach it, when that is not `listen`; port 0: that one
  std::vector<HostPort> join;
  std::vector<Endpoint> known;  // of earlier times, see `keep`
  Keyring keys;                 // not empty
  std::uint64_t epoch = 0;      // crypto/datagram.h, fresh_epoch()
  bool is_closed = false;       // the keys are a cluster's, not the open one
  bool observer = false;        // looks on, and is no member
  // Gets where the members are, now and then, for `known` of the next time. Runs on libuv's pool.
  std::function<void(const std::vector<Endpoint>&)> keep;
};

struct GossipHandlers {
  std::function<void()> on_change;  // members came, went or moved
  // Another process has this identity. This one has left the cluster, and is of no use any more.
  std::function<void()> on_superseded;
  std::function<void(const PeerId&)> on_reached;             // gossip::Reached
  std::function<void(std::size_t answers)> on_absent_known;  // gossip::AbsentKnown
};

class GossipService {
 public:
  GossipService(Loop& loop, GossipConfig config, const PeerId& self, Random random,
                GossipHandlers handlers);

  // Binds, and begins to look for others. `service_port` as in gossip::Claim. The endpoint it
  // listens on.
  Result<Endpoint> start(std::uint16_t service_port);
  void set_keys(const Keyring& keys);
  void doubt(const PeerId& id);
  void reach(const PeerId& id);
  void ask_absent();
  bool is_alone() const;  // knows of no other live member
  // Tells the others; the loop must run until left().
  void leave();
  bool left() const { return !membership_ || membership_->left(); }

  // After start().
  const gossip::Membership& membership() const { return *membership_; }
  Endpoint local() const { return socket_.local(); }
  const UdpCounts& counts() const { return socket_.counts(); }
  // Datagrams that did not open, by DatagramRefusal.
  const std::array<std::uint64_t, kDatagramRefusals>& refusals() const { return refusals_; }

 private:
  void on_datagram(const Endpoint& from, MutableBytes datagram);
  void note_refusal(const Endpoint& from, DatagramRefusal why);
  void resolve();
  void tell_seeds();
  void tell_change();
  void keep_members();
  void warn_if_alone();
  void drain();

  Loop& loop_;
  GossipConfig config_;
  PeerId self_;
  Random random_;
  GossipHandlers handlers_;
  DatagramSealer sealer_;
  DatagramOpener opener_;
  UdpSocket socket_;
  std::optional<gossip::Membership> membership_;
  Timer timer_, resolve_timer_, change_timer_, keep_timer_, alone_timer_;
  struct Target {
    std::vector<Endpoint> endpoints;
    std::string failure;     // of the last lookup, when there was none since that did not fail
    bool resolving = false;  // one lookup at a time
  };
  std::map<HostPort, Target> targets_;
  std::uint64_t told_version_ = 0;
  bool change_is_due_ = false, warned_of_key_ = false, kept_members_ = false;
  std::array<std::uint64_t, kDatagramRefusals> refusals_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p::net
