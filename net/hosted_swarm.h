// HostedSwarm: one content of a node: its life among its peers, and where it is announced.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/announce_client.h"
#include "net/gossip_service.h"
#include "net/owner_service.h"
#include "net/swarm_report.h"
#include "net/swarm_session.h"

namespace p2p::net {

// Of chunks, since the start: what came in, in vain too, and what went out in whole ones.
struct PayloadBytes {
  std::uint64_t received = 0, sent = 0;

  PayloadBytes& operator+=(const PayloadBytes& other) {
    received += other.received;
    sent += other.sent;
    return *this;
  }
};

class HostedSwarm {
 public:
  HostedSwarm(Loop& loop, Transport& transport, SessionConfig config, SessionHandlers handlers,
              Random random);

  const SwarmId& id() const { return id_; }
  const Secret& psk() const { return psk_; }
  SwarmSession& session() { return session_; }
  const SwarmSession& session() const { return session_; }
  PayloadBytes payload() const;

  // Once for each list of owners, which is ranked for itself and has a spread of its own. What they
  // all find goes to the one swarm. The client lives as long as the swarm; set_owners() on it when
  // the list changes.
  AnnounceClient& announce_to(const std::vector<OwnerAddress>& ranked,
                              tracker::AnnouncerConfig config);
  // The owners are the members that the hash table names, as they come and go. `gossip` must
  // outlive this. Once.
  void announce_to_table(tracker::AnnouncerConfig config, GossipService& gossip,
                         const Secret& table_psk);
  // What each owner is to be told of this host.
  tracker::AnnouncerConfig announcer_config() const;
  // The members or the key of the table have changed.
  void rank_members(const Secret& table_psk);
  // In the order of the calls.
  const std::deque<AnnounceClient>& announcers() const { return announcers_; }

  // Brings the announcers and the node's own table, if it has one, up to date: progress, and how
  // many peers are wanted.
  void refresh(OwnerService* own_table);
  void stop();
  // Owners are told good-bye; peers are served on.
  void stop_announcing();

  // Whose dial this connection is, if it is one of ours.
  AnnounceClient* announcer_of(ConnectionId id);
  void on_closed(ConnectionId id, const Error& why);

 private:
  void doubt_owner(const HostPort& where);
  void add_candidates(const std::vector<tracker::PeerRecord>& found);
  void tell_own_table(OwnerService& table);
  tracker::Report report(bool with_name);

  Loop& loop_;
  Transport& transport_;
  SwarmId id_;
  Secret psk_;
  std::uint16_t listen_port_;
  std::vector<Endpoint> advertised_;
  std::string zone_;
  Random random_;
  SwarmSession session_;
  std::deque<AnnounceClient> announcers_;  // which stay where they are
  SwarmReport report_;
  GossipService* gossip_ = nullptr;
  AnnounceClient* table_announcer_ = nullptr;  // of announcers_
  // Complete, and percent, as our own table knows it.
  std::optional<std::pair<bool, int>> own_entry_;
  std::map<HostPort, PeerId> table_owners_;
};

}  // namespace p2p::net
