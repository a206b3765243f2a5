// Node: one process's parts, composed. A transport, and on it any of: answering announces, swarms
// that are announced; beside it a membership of the cluster, whose members own the hash table. It
// hands each event to the part it is for.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "net/gossip_service.h"
#include "net/hosted_swarm.h"
#include "net/loop.h"
#include "net/owner_service.h"
#include "net/transport.h"

namespace p2p::net {

struct LinkOwners;

// Past their handshake: of a tracker or a member that holds no content, and of a member that does.
inline constexpr std::size_t kMaxTrackerConnections = 50'000;
inline constexpr std::size_t kMaxMemberConnections = 10'000;
// Of one address, of those who answer announces for a whole cluster: room for a site of some
// thousands of hosts behind address translation, and a tenth of a tracker's.
inline constexpr std::size_t kMaxConnectionsOfAddress = 5000;
// Of one node: each may have a secret that every handshake is tried with (crypto/psk_list.h).
inline constexpr std::size_t kMaxHostedSwarms = 1000;
// After stop(), for a daemon that others have connections with: how long good-byes may take.
inline constexpr Duration kGoodbye = std::chrono::milliseconds(300) + gossip::kLeaving;

// How a process that seeds or fetches meets others.
struct PeerConfig {
  // As a member of a cluster, whose hash table is used too.
  std::optional<GossipConfig> gossip;
  KeyPair identity = KeyPair::random();  // of the member, and of the peer
  unsigned lanes = 1;
  BandwidthLimits limits;
  ConnectionTimeouts timeouts;
};
TransportConfig transport_config(const PeerConfig& config);

class Node {
 public:
  Node(Loop& loop, TransportConfig config);

  // At most once, before or after connections come in.
  void answer_announces(tracker::OwnerConfig config, std::optional<StoreAddress> store = {});
  // A swarm from now on, before or after connections come in; of a swarm that is not there. Who
  // connects must have its psk, which is accepted beside those of the transport's config. At most
  // kMaxHostedSwarms.
  HostedSwarm& host(SessionConfig config, SessionHandlers handlers);
  // Its peers and owners are told good-bye, and it is gone. Not from within its handlers.
  void drop(const SwarmId& swarm);
  // Of all swarms, those that were dropped too.
  PayloadBytes payload() const;

  // After answer_announces() and the transport's listen(): as a member this node owns swarms that
  // others announce. `service_port`: as others dial it. At most once. Where its datagrams
  // come in.
  Result<Endpoint> join_cluster(GossipConfig config, std::uint16_t service_port,
                                std::function<void()> on_superseded);
  // Announces the swarm at the owners of its link, and, after join_cluster(), at the members that
  // the hash table names, as they come and go. Once for each swarm.
  void announce(HostedSwarm& swarm, const LinkOwners& owners);
  // Accepted from now on in place of the transport's config: of members, and of those who announce.
  void set_cluster_keys(const Keyring& keys);
  GossipService* gossip() { return gossip_ ? &*gossip_ : nullptr; }
  const GossipService* gossip() const { return gossip_ ? &*gossip_ : nullptr; }

  // Brings those who are announced to up to date with the swarms.
  void refresh_announcers();
  // Says good-bye to everybody. The loop must run until quiet() for it to be heard.
  void stop();
  bool quiet() const { return opened_.empty() && (!gossip_ || gossip_->left()); }

  Loop& loop() { return loop_; }
  Transport& transport() { return transport_; }
  OwnerService* owner_service() { return owner_service_ ? &*owner_service_ : nullptr; }

 private:
  struct OpenConnection {
    Opened opened;
    std::optional<Family> family;  // what the connection is for
    HostedSwarm* swarm = nullptr;  // whose dial it is, or that its Join named
    bool settled = false;          // it has said Join, or something to an owner
    bool announces = false;        // to us: our owner knows it
    bool closing = false;
  };

  void on_event(const Event& event);
  void on_opened(ConnectionId id, const Opened& opened);
  void on_received(ConnectionId id, const WireMessage& message);
  bool find_swarm(ConnectionId id, OpenConnection& connection, const peer::Message& first);
  void hand_on(ConnectionId id, OpenConnection& connection, const WireMessage& message);
  void close(ConnectionId id, OpenConnection& connection, const std::string& why);
  void on_closed(ConnectionId id, const Error& why);
  void close_silent();
  void rank_members();
  void accept_psks();
  HostedSwarm* dialler_of(ConnectionId id);

  Loop& loop_;
  Random random_;
  Duration first_message_timeout_;
  std::vector<Secret> cluster_psks_;  // accepted beside the swarms' own
  Transport transport_;
  std::optional<OwnerService> owner_service_;
  std::optional<GossipService> gossip_;
  Secret table_psk_;
  std::map<SwarmId, HostedSwarm> swarms_;  // which stay where they are
  PayloadBytes payload_of_dropped_;
  absl::flat_hash_map<ConnectionId, OpenConnection> opened_;
  std::deque<std::pair<Time, ConnectionId>> unheard_;  // in the order of their deadlines
  Timer silent_timer_;
};

// The endpoint to listen on when nobody says: any free port, both families where the host has IPv6.
Endpoint default_listen_endpoint();

// Where others can reach a listener: itself, or the host's addresses when it listens on all.
std::vector<Endpoint> reachable_endpoints(const Endpoint& local);

// Lets the process hold as many descriptors as the system allows.
void raise_descriptor_limit();

}  // namespace p2p::net
