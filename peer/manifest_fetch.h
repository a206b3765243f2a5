// ManifestFetch: gets the manifest of a content from the neighbours, one at a time, and checks it
// against the id; sans-IO.
#pragma once

#include <cstdint>
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

// A neighbour that does not send its next part within this time is passed over.
inline constexpr Duration kManifestPartTimeout = std::chrono::seconds(5);

struct ManifestDone {
  Bytes encoded;  // matches the content id; not yet decoded
};
using ManifestAction = std::variant<SendMessage, Disconnect, ManifestDone>;

class ManifestFetch {
 public:
  explicit ManifestFetch(const ContentId& content);

  void on_connected(ConnectionId connection, Time now);
  // Parts that were not asked for, out of order, or over the limit disconnect; a whole that does
  // not match bans. A neighbour that has no manifest yet is asked again after kManifestPartTimeout.
  void on_part(ConnectionId connection, const ManifestPart& part, Time now);
  void on_disconnected(ConnectionId connection, Time now);

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<ManifestAction> poll_action();

 private:
  struct Neighbour {
    ConnectionId connection;
    Time not_before;
  };
  void ask_next(Time now);

  ContentId content_;
  std::vector<Neighbour> waiting_;  // not being asked
  std::optional<ConnectionId> asked_;
  Time deadline_ = kNever;
  Bytes collected_;
  std::uint32_t total_bytes_ = 0;
  bool done_ = false;
  std::vector<ManifestAction> actions_;
};

}  // namespace p2p::peer
