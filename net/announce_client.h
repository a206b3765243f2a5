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
  // `ranked` as in set_owners(); config.owners is not looked at. `on_found` gets the peers of every
  // handout.
  AnnounceClient(Loop& loop, Transport& transport, const std::vector<OwnerAddress>& ranked,
                 tracker::AnnouncerConfig config, Random random,
                 std::function<void(const std::vector<tracker::PeerRecord>&)> on_found);

  // Other owners than so far, best first (tracker/announcer.h says at how many it is announced).
  // One whose address stays keeps its connection; another psk counts from its next connection on.
  // An address that stands twice counts once. Nothing after stop().
  void set_owners(const std::vector<OwnerAddress>& ranked);

  // Called with an owner that could not be reached, or whose connection broke.
  void set_on_lost(std::function<void(const HostPort&)> on_lost) { on_lost_ = std::move(on_lost); }

  // Called for a Report that an owner has asked for; its swarm is filled in. `trusted`: the owner
  // is met under a key that the cluster shares, and may know names.
  void set_on_report(std::function<tracker::Report(bool trusted)> on_report) {
    on_report_ = std::move(on_report);
  }

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
  // Are there owners, and have all failed to answer at least once, and none answered yet?
  bool all_failed() const;
  bool any_refused() const;

 private:
  struct OwnerState {
    OwnerAddress address;
    ConnectionId connection = 0;
    std::size_t attempts = 0;  // turns through the addresses of a name
    bool resolving = false;    // the name, for the last attempt
    bool announced = false;    // on this connection: it has answered by a handout
    bool failed = false, answered = false, refused = false, named_peers = false;
    std::string last_failure;
  };

  void connect(tracker::OwnerNumber owner);
  void lost(tracker::OwnerNumber owner, const Error& why);
  tracker::OwnerNumber number_of(const OwnerAddress& owner);
  void close(OwnerState& owner);
  void report(tracker::OwnerNumber owner);
  void drain();

  Loop& loop_;
  Transport& transport_;
  SwarmId swarm_;
  std::map<tracker::OwnerNumber, OwnerState> owners_;
  tracker::OwnerNumber next_number_ = 0;
  std::map<ConnectionId, tracker::OwnerNumber> by_connection_;
  tracker::Announcer announcer_;
  Timer timer_;
  std::function<void(const std::vector<tracker::PeerRecord>&)> on_found_;
  std::function<void(const HostPort&)> on_lost_;
  std::function<tracker::Report(bool)> on_report_;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p::net
