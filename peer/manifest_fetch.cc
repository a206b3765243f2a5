#include "peer/manifest_fetch.h"

#include <algorithm>

#include "crypto/digest.h"

namespace p2p::peer {

ManifestFetch::ManifestFetch(const ContentId& content) : content_(content) {}

void ManifestFetch::on_connected(ConnectionId connection, Time now) {
  if (done_) return;
  waiting_.push_back({connection, now});
  ask_next(now);
  on_timeout(now);
}

void ManifestFetch::ask_next(Time now) {
  if (done_ || asked_) return;
  deadline_ = kNever;
  auto next = std::find_if(waiting_.begin(), waiting_.end(),
                           [](const Neighbour& neighbour) { return neighbour.untried; });
  if (next == waiting_.end())
    next = std::find_if(waiting_.begin(), waiting_.end(),
                        [&](const Neighbour& neighbour) { return neighbour.not_before <= now; });
  if (next == waiting_.end()) {
    for (const Neighbour& neighbour : waiting_)
      deadline_ = std::min(deadline_, neighbour.not_before);
    return;
  }
  take_up(next);
  request(now);
}

void ManifestFetch::take_up(std::vector<Neighbour>::iterator next) {
  asked_ = next->connection;
  owes_ = next->owes;
  patience_ = next->patience;
  waiting_.erase(next);
  collected_.clear();
  total_bytes_ = 0;
}

void ManifestFetch::request(Time now) {
  deadline_ = now + patience_;
  actions_.push_back(
      SendMessage{*asked_, ManifestRequest{static_cast<std::uint32_t>(collected_.size())}});
}

void ManifestFetch::disconnect(ConnectionId connection, ByeReason reason, std::string text,
                               bool ban, Time now) {
  actions_.push_back(Disconnect{connection, Bye{reason, std::move(text)}, ban});
  on_disconnected(connection, now);
}

// To the end of the line, with a pause.
void ManifestFetch::pass_over(unsigned owes, Duration patience, Time now) {
  waiting_.push_back({*asked_, now + kManifestPartTimeout, owes, patience, false});
  asked_.reset();
  ask_next(now);
}

void ManifestFetch::on_part(ConnectionId connection, const ManifestPart& part, Time now) {
  if (done_) return;
  if (asked_ != connection) {
    const auto late = std::find_if(waiting_.begin(), waiting_.end(), [&](const Neighbour& other) {
      return other.connection == connection;
    });
    if (late == waiting_.end()) return;  // it crossed with our Disconnect
    if (late->owes == 0)
      return disconnect(connection, ByeReason::kViolation, "a manifest part not asked for", false,
                        now);
    --late->owes;
    // Better late than asked for again.
    if (asked_ || part.offset != 0 || part.data.empty()) return;
    take_up(late);
  }
  const std::size_t had = collected_.size();
  if (owes_ > 0 && (part.offset != had || (had > 0 && part.total_bytes != total_bytes_))) {
    --owes_;  // the answer to what we asked before it was passed over
    return;
  }
  if (part.data.empty() && part.total_bytes == 0 && had == 0)
    return pass_over(owes_, patience_, now);
  const bool fits =
      part.total_bytes <= kMaxManifestBytes && part.offset == had &&
      (had == 0 || part.total_bytes == total_bytes_) &&
      part.data.size() == std::min(part.total_bytes - std::min<std::size_t>(had, part.total_bytes),
                                   kMaxManifestPartBytes) &&
      !part.data.empty();
  if (!fits)
    return disconnect(connection, ByeReason::kViolation, "a manifest part that does not fit", false,
                      now);
  total_bytes_ = part.total_bytes;
  collected_.insert(collected_.end(), part.data.begin(), part.data.end());
  if (collected_.size() < total_bytes_) return request(now);
  if (content_id_of(collected_) != content_)
    return disconnect(connection, ByeReason::kBanned, "the manifest does not match", true, now);
  done_ = true;
  deadline_ = kNever;
  waiting_.clear();
  actions_.push_back(ManifestDone{std::move(collected_)});
}

void ManifestFetch::on_has_manifest(ConnectionId connection, Time now) {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const Neighbour& other) {
    return other.connection == connection;
  });
  if (found == waiting_.end()) return;
  found->not_before = now;
  found->untried = true;
  std::rotate(waiting_.begin(), found, found + 1);
  ask_next(now);
  on_timeout(now);
}

void ManifestFetch::on_disconnected(ConnectionId connection, Time now) {
  std::erase_if(waiting_,
                [&](const Neighbour& neighbour) { return neighbour.connection == connection; });
  if (asked_ != connection) return;
  asked_.reset();
  ask_next(now);
}

Time ManifestFetch::next_timeout() const {
  const bool another = asked_ && collected_.empty() &&
                       std::any_of(waiting_.begin(), waiting_.end(),
                                   [](const Neighbour& neighbour) { return neighbour.untried; });
  return another ? deadline_ - patience_ + kManifestPartTimeout : deadline_;
}

void ManifestFetch::on_timeout(Time now) {
  if (now < next_timeout()) return;
  if (asked_) {
    pass_over(owes_ + 1, std::min(2 * patience_, kLongestManifestPart), now);
  } else {
    ask_next(now);
  }
}

std::optional<ManifestAction> ManifestFetch::poll_action() {
  if (actions_.empty()) return std::nullopt;
  ManifestAction action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

}  // namespace p2p::peer
