// AnnounceClient: keeps in touch with the owners of a swarm. The shell around tracker::Announcer.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "net/loop.h"
#include "net/transport.h"
#include "tracker/announcer.h"

namespace p2p::net {

// Where an owner is, and with which secret it is met.
struct OwnerAddress {
  HostPort where;
  Secret psk;
};

class AnnounceClient {
 public:
  // `on_found` gets the peers of every handout.
  AnnounceClient(Loop& loop, Transport& transport, std::vector<OwnerAddress> owners,
                 tracker::AnnouncerConfig config, Random random,
                 std::function<void(const std::vector<tracker::PeerRecord>&)> on_found);

  // Is this one of our connections to an owner?
  bool owns(ConnectionId id) const { return by_connection_.contains(id); }
  void on_opened(ConnectionId id);
  void on_message(ConnectionId id, const tracker::Message& message);
  void on_closed(ConnectionId id, const Error& why);

  void set_progress(std::uint16_t have_permille, bool complete);
  void set_wanted(std::size_t peers, bool starving);
  void stop();

  // How each owner stands, for the person: the last failure, or that it knows of nobody; empty
  // while it is well.
  std::vector<std::string> failures() const;
  // Have all owners failed to answer at least once, and none answered yet?
  bool all_failed() const;
  bool any_refused() const;

 private:
  struct OwnerState {
    OwnerAddress address;
    ConnectionId connection = 0;
    std::size_t attempts = 0;  // turns through the addresses of a name
    bool failed = false, answered = false, refused = false, named_peers = false;
    std::string last_failure;
  };

  void connect(tracker::OwnerIndex owner);
  void lost(tracker::OwnerIndex owner, const Error& why);
  void drain();

  Loop& loop_;
  Transport& transport_;
  std::vector<OwnerState> owners_;
  std::map<ConnectionId, tracker::OwnerIndex> by_connection_;
  tracker::Announcer announcer_;
  Timer timer_;
  std::function<void(const std::vector<tracker::PeerRecord>&)> on_found_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p::net
