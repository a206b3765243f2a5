// ManifestFetch: gets the manifest of a content from the neighbours, one at a time, and checks it
// against the id; sans-IO.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/time.h"
#include "peer/messages.h"
#include "peer/swarm.h"

namespace p2p::peer {

// A neighbour that does not send its next part within this time is passed over, and what it sent is
// forgotten: a whole made of parts of two could not be held against either.
inline constexpr Duration kManifestPartTimeout = std::chrono::seconds(5);
// It may be slow, or limited: each time that it is passed over it gets twice the time, up to this.
// But before its first part it has no longer than the others while there is one that was never
// asked, or that has got the manifest since.
inline constexpr Duration kLongestManifestPart = std::chrono::minutes(5);

struct ManifestDone {
  Bytes encoded;  // matches the content id; not yet decoded
};
using ManifestAction = std::variant<SendMessage, Disconnect, ManifestDone>;

class ManifestFetch {
 public:
  explicit ManifestFetch(const ContentId& content);

  // It is here already: nobody is asked. Before anything else.
  void set_known() { done_ = true; }
  void on_connected(ConnectionId connection, Time now);
  // Parts that were not asked for, out of order, too short (only the last may be less than
  // kMaxManifestPartBytes), or over the limit disconnect; a whole that does not match bans. The
  // late part of a neighbour that was passed over is ignored, where another is asked by then or it
  // is not the first. A neighbour that has no manifest yet is asked again after
  // kManifestPartTimeout.
  void on_part(ConnectionId connection, const ManifestPart& part, Time now);
  // It has sent Chunks, so it has the manifest: it is asked next. (Where a whole group starts at
  // once, most of those asked first have none yet.)
  void on_has_manifest(ConnectionId connection, Time now);
  void on_disconnected(ConnectionId connection, Time now);

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<ManifestAction> poll_action();

 private:
  struct Neighbour {
    ConnectionId connection;
    Time not_before;
    unsigned owes = 0;  // parts that may still come, since it was passed over
    Duration patience = kManifestPartTimeout;
    bool untried = true;  // or has said since that it has the manifest
  };
  void ask_next(Time now);
  // From now on it is the one that is asked.
  void take_up(std::vector<Neighbour>::iterator next);
  void request(Time now);
  void disconnect(ConnectionId connection, ByeReason reason, std::string text, bool ban, Time now);
  void pass_over(unsigned owes, Duration patience, Time now);

  ContentId content_;
  std::vector<Neighbour> waiting_;  // not being asked; the one to ask first is at the front
  std::optional<ConnectionId> asked_;
  unsigned owes_ = 0;                         // parts that the one asked owes from before
  Duration patience_ = kManifestPartTimeout;  // with it
  Time deadline_ = kNever;
  Bytes collected_;
  std::uint32_t total_bytes_ = 0;
  bool done_ = false;
  std::deque<ManifestAction> actions_;
};

}  // namespace p2p::peer
