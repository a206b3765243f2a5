// The swarm's deadlines: stragglers, neighbours that are stuck or silent, keep-alives.
#include <algorithm>

#include "peer/neighbour.h"
#include "peer/swarm.h"

namespace p2p::peer {
namespace {

// How often a download looks at its own rate.
constexpr Duration kRateInterval = std::chrono::milliseconds(200);
// Deadlines this close together share a wake-up.
constexpr Duration kWakeStep = std::chrono::milliseconds(20);
// A neighbour whose queue is long may be silent for longer, up to this many times stuck_after.
constexpr int kMostStuck = 10;
// And one that is still to send Chunks, up to this many times the silence allowed to others.
constexpr int kManifestPatience = 4;

}  // namespace

void Swarm::wake_by(Time at) { wake_at_ = std::min(wake_at_, at); }

void Swarm::on_timeout(Time now) {
  if (now >= wake_at_) {
    wake_at_ = kNever;
    if (!completed_) {
      window_.on_time(now);
      wake_by(now + kRateInterval);
    }
    // From the last to the first: a check may take its neighbour out.
    for (std::size_t i = neighbours_.size(); i-- > 0;) {
      Neighbour& neighbour = *neighbours_[i];
      if (check_silence(neighbour, now) || check_stuck(neighbour, now)) continue;
      check_asks(neighbour, now);
    }
    uploads_.on_timeout(now);
    if (wake_at_ != kNever) wake_at_ = std::max(wake_at_, now + kWakeStep);
  }
  finish_input(now);
}

// Both return whether the neighbour is gone.
bool Swarm::check_silence(Neighbour& neighbour, Time now) {
  // Without the manifest it has nothing to say to us yet.
  const Duration limit = neighbour.ready ? config_.silence : kManifestPatience * config_.silence;
  if (now - neighbour.last_heard >= limit) {
    disconnect(neighbour, ByeReason::kTimeout, "silent", false, now);
    return true;
  }
  wake_by(neighbour.last_heard + limit);
  if (!neighbour.ready) return false;  // it may not be sent a Have yet
  const bool queues = !neighbour.uploads.queue.empty();
  if (now - neighbour.last_said >= config_.keep_alive ||
      (queues && now - neighbour.told_at >= kLoadInterval)) {
    tell(neighbour, now);
  }
  wake_by(neighbour.last_said + config_.keep_alive);
  if (queues) wake_by(neighbour.told_at + kLoadInterval);
  return false;
}

bool Swarm::check_stuck(Neighbour& neighbour, Time now) {
  for (const Ask& ask : neighbour.asks) {
    if (!ask.cancelled) continue;
    if (now >= ask.overdue_at) {
      disconnect(neighbour, ByeReason::kTimeout, "a Cancel was not answered", false, now);
      return true;
    }
    wake_by(ask.overdue_at);
  }
  const auto first = std::find_if(neighbour.asks.begin(), neighbour.asks.end(),
                                  [&](const Ask& ask) { return is_waiting(ask); });
  if (first == neighbour.asks.end()) return false;
  // To wait in a long queue is not to be stuck: it may take what the neighbour's own load and speed
  // promise, within reason.
  Duration limit = config_.stuck_after;
  if (neighbour.load > 0) {
    const double seconds = config_.overdue_factor * expected_seconds(neighbour);
    const Duration most = kMostStuck * config_.stuck_after;
    limit = seconds < to_seconds(most) ? std::max(limit, from_seconds(seconds)) : most;
  }
  if (now - neighbour.last_gain < limit) {
    wake_by(neighbour.last_gain + limit);
    return false;
  }
  actions_.push_back(Report{neighbour.connection, neighbour.peer, Problem::kStuck, first->chunk});
  disconnect(neighbour, ByeReason::kTimeout, "no byte of what was requested", false, now);
  return true;
}

// Is it the neighbour's turn? Not when it was cancelled, nor when all of it is here and only our
// own hash and disk are still to come.
bool Swarm::is_waiting(const Ask& ask) const {
  if (ask.cancelled) return false;
  return ask.chunk == kAnyChunk || ask.received_bytes < ask.bytes;
}

void Swarm::check_asks(Neighbour& neighbour, Time now) {
  for (Ask& ask : neighbour.asks) {
    if (!is_waiting(ask)) continue;
    if (now >= ask.overdue_at) check_overdue(neighbour, ask, now);
    wake_by(ask.overdue_at);
  }
}

// The ask is past what the neighbour's own speed promised: it leaves the window, and somebody else
// is asked too.
void Swarm::check_overdue(Neighbour& neighbour, Ask& ask, Time now) {
  // Asked in vain: look again after this time.
  ask.overdue_at = now + std::max(config_.overdue_floor, kWakeStep);
  const bool flows = ask.received_bytes > 0 && now - ask.last_byte_at < config_.overdue_floor;
  if (flows && !ask.overdue) {
    // What comes in steadily, and would not end sooner elsewhere, is left alone.
    const double left = to_seconds(expected_end(ask, now) - now);
    const double another = mean_speed() > 0 ? 1 / mean_speed() : to_seconds(config_.overdue_floor);
    if (left <= config_.overdue_factor * another) return;
  }
  if (!ask.overdue) {
    ask.overdue = true;
    --neighbour.live;
    --live_;
    ++neighbour.overdue;
    ++overdue_;
    if (ask.chunk == kAnyChunk) {  // a promise no more: what it stood for is open to others
      --anys_;
      ++openings_;
    }
  }
  learn_speed(neighbour, ask, now, true);
  if (ask.chunk == kAnyChunk || outstanding() >= window() || times_asked_[ask.chunk] > 1) return;
  Neighbour* other = other_source(neighbour, ask.chunk, now);
  if (other != nullptr) this->ask(*other, ask.chunk, now);
}

}  // namespace p2p::peer
