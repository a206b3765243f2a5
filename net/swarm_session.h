// SwarmSession: one content's life among its peers. Composes the peer book, the manifest fetch and
// the swarm core with the transport; decides nothing itself.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/loop.h"
#include "net/outline_service.h"
#include "net/transport.h"
#include "peer/manifest_fetch.h"
#include "peer/outline_fetch.h"
#include "peer/peer_book.h"
#include "peer/swarm.h"

namespace p2p::net {

struct SessionConfig {
  ContentId content;
  SwarmId swarm;
  Secret psk;
  std::uint16_t listen_port = 0;  // 0: we do not listen
  // How others reach this host, for those who are announced to; empty: as it knows itself.
  std::vector<Endpoint> advertised;
  peer::PeerBookConfig book;  // `self` is filled in; its zone is what Join says
  peer::SwarmConfig schedule;
};

struct SessionHandlers {
  // The encoded manifest, checked against the content id and nothing else. Answered by start(),
  // some time.
  std::function<void(Bytes encoded)> on_manifest;
  std::function<void()> on_completed;
  // Where not null: a chunk is verified and on disk.
  std::function<void(ChunkIndex)> on_chunk = nullptr;
  // A chunk could not be written: the fetch cannot go on.
  std::function<void(const Error&)> on_store_failed;
  // `who` is the other side's address.
  std::function<void(const std::string& who, peer::Problem problem, ChunkIndex chunk)> on_problem;
  // A source of ours changed under us.
  std::function<void(const Error&)> on_source_failed;
};

// For who has an older version.
struct OutlineHandlers {
  std::function<void(std::optional<Outline>)> on_outline;  // nothing: nobody has it
  // Of consecutive groups.
  std::function<void(std::uint32_t first, std::vector<Segment> segments)> on_detail;
  std::function<void()> on_details_done;
};

// To one who joins in another version of the protocol.
peer::Bye other_version_bye();

class SwarmSession {
 public:
  // Dials with the transport's psk of the config. Fetches the manifest unless start() is called
  // right away.
  SwarmSession(Loop& loop, Transport& transport, SessionConfig config, SessionHandlers handlers,
               Random random);

  void add_candidates(const std::vector<Endpoint>& endpoints, bool lasting);
  // As Swarm::set_reading(); nothing before start().
  void set_reading(std::vector<ChunkIndex> from);
  void add_far_candidates(const std::vector<Endpoint>& endpoints);
  void start(std::shared_ptr<const ContentIo> io, Bitfield have);

  // At once, where the manifest need not be fetched: handlers.on_manifest is not called.
  void set_manifest_known() { manifest_fetch_.set_known(); }
  // Before start(), once: asks the neighbours for the outline of the content; after it has come,
  // for the segments of these groups of it.
  void fetch_outline(std::uint64_t total_bytes, Duration time, OutlineHandlers handlers);
  void want_details(std::shared_ptr<const Outline> outline,
                    const std::vector<std::uint32_t>& groups);

  // Events of our own dials, and of connections that speak the swarm family.
  bool owns(ConnectionId id) const { return dials_.contains(id) || neighbours_.contains(id); }
  void on_opened(ConnectionId id, const Opened& opened);
  void on_message(ConnectionId id, const Opened& from, const peer::Message& message);
  void on_transfer(const Event& event);
  void on_closed(ConnectionId id, const Error& why);

  // Says Bye to everybody.
  void stop();

  bool running() const { return swarm_.has_value(); }
  // What start() was given; null before.
  const ContentIo* content() const { return io_.get(); }
  const peer::Swarm& swarm() const { return *swarm_; }
  std::size_t neighbours() const { return book_.neighbours(); }
  std::size_t wanted() const { return book_.wanted(); }
  // Starved without the manifest as well: those around may be waiting for it themselves.
  peer::Hunger hunger() const { return swarm_ ? swarm_->hunger() : peer::Hunger::kStarved; }
  // Payload bytes of chunks that came in so far; and of the manifest.
  std::uint64_t received_bytes() const { return received_bytes_; }

  std::uint64_t manifest_bytes() const { return manifest_bytes_; }
  // Of outlines and details.
  std::uint64_t outline_bytes() const { return outline_bytes_; }
  // Of the chunks that came in, what was not sent since older contents had it.
  std::uint64_t known_bytes() const { return known_bytes_; }

  bool ever_joined() const { return !met_.empty(); }
  // How many different peers were neighbours at some time.
  std::size_t peers_met() const { return met_.size(); }
  bool dialing() const { return !dials_.empty(); }
  // The last failure of each address, for the person.
  const std::map<Endpoint, std::string>& failures() const { return failures_; }

 private:
  struct Neighbour {
    Opened opened;
    std::optional<Endpoint> dialled;
    bool joined = false;   // it has said Join, and was admitted
    bool closing = false;  // we have said Bye
    // What it has, until we have the manifest and can understand it. Nobody may say more to us
    // before we have sent our own Chunks.
    std::optional<peer::Chunks> early;
    Time next_peers = Time::min();  // Peers before it are skipped
  };

  peer::Join our_join() const {
    return {peer::kProtocolVersion, config_.swarm, config_.listen_port, config_.book.zone};
  }
  void on_join(ConnectionId id, Neighbour& neighbour, const peer::Join& join);
  void on_bye(ConnectionId id, Neighbour& neighbour, const peer::Bye& bye);
  void on_early(ConnectionId id, Neighbour& neighbour, const peer::Message& message);
  void enter_swarm(ConnectionId id, Neighbour& neighbour);
  void say_bye(ConnectionId id, peer::Bye bye);
  void send(ConnectionId id, peer::Message message) {
    transport_.send(id, WireMessage(std::move(message)));
  }
  std::string who(ConnectionId id) const;

  void drain();
  bool drain_swarm();
  bool drain_book();
  bool drain_manifest();
  bool drain_outline();
  void on_verdict(const Event& event, bool closing);
  bool on_outline_message(ConnectionId id, const peer::Message& message);
  void leave_cores(ConnectionId id, Time now);
  void act(peer::SwarmAction action);

  Transport& transport_;
  SessionConfig config_;
  SessionHandlers handlers_;
  Random random_;
  peer::PeerBook book_;
  peer::ManifestFetch manifest_fetch_;
  OutlineService outlines_;
  std::optional<peer::OutlineFetch> outline_fetch_;  // from fetch_outline() on
  OutlineHandlers outline_handlers_;
  std::optional<peer::Swarm> swarm_;
  std::shared_ptr<const ContentIo> io_;
  Timer timer_;

  std::map<ConnectionId, Endpoint> dials_;  // not opened yet
  std::map<ConnectionId, Neighbour> neighbours_;
  std::map<Endpoint, std::string> failures_;
  std::uint64_t received_bytes_ = 0, manifest_bytes_ = 0, outline_bytes_ = 0, known_bytes_ = 0;
  std::size_t unwritten_ = 0;  // whole chunks that wait for their verdict
  std::set<PeerId> met_;
  bool draining_ = false;
  bool stopped_ = false;
};

}  // namespace p2p::net
