// The swarm's asking side: one window over all neighbours, spent on the least loaded one that has
// something useful; the endgame; and what the answers do.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "peer/neighbour.h"
#include "peer/swarm.h"

namespace p2p::peer {
namespace {

// A neighbour this much slower than the mean is as good as any: measured speeds scatter that much
// among equals, and following them would send everybody to the same one.
constexpr double kSameSpeed = 0.5;
constexpr double kSpeedWeight = 0.25;  // of the newest measurement in the mean

// A request behind fewer than this at a neighbour has a slot at once.
constexpr float kServedAtOnce = 4;
// A request of our own in a neighbour's queue counts as much as so many of others: two chunks from
// one neighbour share its connection and come in no faster than one, so that links ran half empty
// beside long queues. (100 equal links in the simulator: 96.2 % used with 1, 97.4 % from 5 on.)
constexpr double kOwnWeight = 5;
// The queue of a complete neighbour counts this much: it must never run empty, for a seeder's
// uplink is what everybody waits for, and news of its load is as late as the path is long.
constexpr double kSeederDiscount = 0.5;
// Rejects of chunks it had advertised, with no chunk in between, before a neighbour is dropped.
constexpr std::uint32_t kMaxIdleRejects = 32;
constexpr Duration kBusyPause = std::chrono::seconds(1);
// A Cancel must be answered within this many times stuck_after.
constexpr int kCancelPatience = 3;
// With this many windows of chunks left or fewer, chunks are asked for by name: two givers that
// choose would choose the same.
constexpr std::uint32_t kFewWindows = 2;
constexpr std::uint32_t kReadAheadWindows = 2;

}  // namespace

// --- bookkeeping of asks

void Swarm::ask(Neighbour& neighbour, ChunkIndex chunk, Time now) {
  P2P_CHECK(outstanding() < window());
  P2P_CHECK(neighbour.asks.size() < kMaxQueuedRequests);
  if (neighbour.live + neighbour.overdue == 0) neighbour.last_gain = now;
  const double expected = expected_seconds(neighbour);
  if (partial_changes_ > 0) tell_partial(neighbour, chunk, now);
  Ask ask;
  ask.chunk = chunk;
  if (chunk != kAnyChunk) ask.bytes = length_from(neighbour, chunk);
  ask.asked_at = now;
  ask.queue = static_cast<float>(neighbour.asks.size() + neighbour.load + 1.0);
  ask.expected_at = now + from_seconds(expected);
  ask.overdue_at = now + from_seconds(expected * config_.overdue_factor) + config_.overdue_floor;
  neighbour.asks.push_back(ask);
  ++neighbour.live;
  ++live_;
  wake_by(ask.overdue_at);
  if (chunk == kAnyChunk) {
    if (!neighbour.untold.empty()) tell(neighbour, now);  // so that it chooses well
    ++neighbour.unanswered_anys;
    ++anys_;
  } else {
    P2P_CHECK(neighbour.have.test(chunk) && !have_.test(chunk));
    ++times_asked_[chunk];
    close_chunk(chunk);
    actions_.push_back(ReceiveChunk{neighbour.connection, chunk});
  }
  send(neighbour, Request{chunk}, now);
}

// Takes a live ask out of the counts, before it is cancelled or erased.
void Swarm::retire_ask(Neighbour& neighbour, const Ask& ask) {
  if (ask.chunk != kAnyChunk) --times_asked_[ask.chunk];
  if (ask.overdue) {
    --neighbour.overdue;
    --overdue_;
    return;
  }
  --neighbour.live;
  --live_;
  if (ask.chunk == kAnyChunk) {
    --anys_;
    ++openings_;  // what was promised is to be had again
  }
}

void Swarm::erase_ask(Neighbour& neighbour, const Ask& ask) {
  if (!ask.cancelled) retire_ask(neighbour, ask);
  if (ask.chunk == kAnyChunk) --neighbour.unanswered_anys;
  stats_.duplicate_bytes += ask.received_bytes;
  neighbour.asks.erase(neighbour.asks.begin() + (&ask - neighbour.asks.data()));
}

// Does not open the chunk. The ask goes on counting as the neighbour's work until it is answered.
void Swarm::cancel(Neighbour& neighbour, Ask& ask, Time now) {
  P2P_CHECK(!ask.cancelled);
  if (ask.chunk != kAnyChunk) {
    actions_.push_back(DropChunk{neighbour.connection, ask.chunk});
    if (ask.received_bytes >= ask.bytes) return erase_ask(neighbour, ask);
  }
  retire_ask(neighbour, ask);
  ask.cancelled = true;
  ask.overdue_at = now + kCancelPatience * config_.stuck_after;
  wake_by(ask.overdue_at);
  send(neighbour, Cancel{ask.chunk}, now);
}

void Swarm::cancel_elsewhere(const Neighbour* winner, ChunkIndex chunk, Time now) {
  for (const auto& neighbour : neighbours_) {
    if (neighbour.get() == winner) continue;
    for (std::size_t i = neighbour->asks.size(); i-- > 0;) {
      Ask& ask = neighbour->asks[i];
      if (ask.chunk != chunk || ask.cancelled) continue;
      learn_speed(*neighbour, ask, now, true);
      cancel(*neighbour, ask, now);
    }
  }
}

// Choices left to givers beyond what there is to choose: the latest ones are taken back.
void Swarm::cancel_spare_anys(Time now) {
  for (std::size_t n = neighbours_.size(); n-- > 0 && anys_ > availability_.open_count();) {
    Neighbour& neighbour = *neighbours_[n];
    for (std::size_t i = neighbour.asks.size(); i-- > 0 && anys_ > availability_.open_count();) {
      Ask& ask = neighbour.asks[i];
      if (ask.chunk == kAnyChunk && !ask.cancelled && !ask.overdue) cancel(neighbour, ask, now);
    }
  }
}

void Swarm::return_chunk(ChunkIndex chunk) {
  if (!have_.test(chunk) && times_asked_[chunk] == 0) open_chunk(chunk);
}

// --- speeds

double Swarm::mean_speed() const { return speed_count_ == 0 ? 0 : speed_sum_ / speed_count_; }

// `at_most`: it did not finish, so that its speed is known to be no more than that. The mean is of
// times, not of speeds: one lucky answer must not outweigh many slow ones.
void Swarm::learn_speed(Neighbour& neighbour, const Ask& ask, Time now, bool at_most) {
  double& speed = neighbour.speed;
  const double sample = std::max(to_seconds(now - ask.asked_at), 1e-6) / ask.queue;
  double seconds = sample;
  if (speed > 0) {
    if (at_most && sample <= 1 / speed) return;
    speed_sum_ -= speed;
    if (!at_most) seconds = 1 / speed + kSpeedWeight * (sample - 1 / speed);
  } else {
    ++speed_count_;
  }
  speed = 1 / seconds;
  speed_sum_ += speed;
}

// How long a new request would take, from what the neighbour has to do before it.
double Swarm::expected_seconds(const Neighbour& neighbour) const {
  const double queue = static_cast<double>(neighbour.asks.size()) + neighbour.load + 1;
  const double speed = neighbour.speed > 0 ? neighbour.speed : mean_speed();
  // Capped: the load is the neighbour's own word.
  constexpr double kMostSeconds = 3600;
  return std::min(speed > 0 ? queue / speed : to_seconds(config_.overdue_floor), kMostSeconds);
}

double Swarm::score(const Neighbour& neighbour) const {
  double queue = kOwnWeight * static_cast<double>(neighbour.asks.size()) + neighbour.load + 1;
  if (neighbour.have.all()) queue *= kSeederDiscount;
  const double same = kSameSpeed * mean_speed();
  if (neighbour.speed == 0 || neighbour.speed >= same) return queue;
  return queue * same / neighbour.speed;
}

Time Swarm::expected_end(const Ask& ask, Time now) const {
  if (ask.chunk != kAnyChunk && ask.received_bytes > 0) {
    const double left = ask.bytes - std::min(ask.received_bytes, ask.bytes);
    // Told in one lump, there is no time to measure over: then the expectation stands.
    const double flowing = to_seconds(now - ask.first_byte_at);
    if (flowing > 0) {
      constexpr double kMostSeconds = 86400;
      return now + from_seconds(std::min(left * flowing / ask.received_bytes, kMostSeconds));
    }
  }
  // Late already: the longer it was, the longer it is going to be.
  return ask.expected_at > now ? ask.expected_at : now + (now - ask.asked_at) / 2;
}

// --- whom to ask

bool Swarm::may_ask(const Neighbour& neighbour, Time now) const {
  return neighbour.ready && neighbour.not_before <= now &&
         neighbour.asks.size() < kMaxQueuedRequests;
}

// The least loaded of those that may have something open; ties by lot.
Swarm::Neighbour* Swarm::least_loaded(bool overdue_too, Time now) {
  Neighbour* best = nullptr;
  double best_score = 0;
  std::uint32_t ties = 0;
  for (const auto& neighbour : neighbours_) {
    if (neighbour->nothing_at == openings_ || !may_ask(*neighbour, now)) continue;
    if (neighbour->overdue > 0 && !overdue_too) continue;
    const double its_score = score(*neighbour);
    if (best != nullptr && its_score > best_score) continue;
    if (best == nullptr || its_score < best_score) ties = 0;
    if (++ties > 1 && random_.below(ties) != 0) continue;
    best = neighbour.get();
    best_score = its_score;
  }
  return best;
}

// May a chunk that somebody else owes be asked of it? A named request must not cross with a Give of
// the same chunk.
bool Swarm::may_be_second(const Neighbour& neighbour, Time now) const {
  return may_ask(neighbour, now) && neighbour.overdue == 0 && neighbour.unanswered_anys == 0;
}

// Who else could give a chunk that `first` was asked for; the least loaded, no ties by lot.
Swarm::Neighbour* Swarm::other_source(const Neighbour& first, ChunkIndex chunk, Time now) {
  Neighbour* best = nullptr;
  for (const auto& neighbour : neighbours_) {
    if (neighbour.get() == &first || !may_be_second(*neighbour, now)) continue;
    if (!neighbour->have.test(chunk) || neighbour->find_ask(chunk)) continue;
    if (best == nullptr || expected_seconds(*neighbour) < expected_seconds(*best))
      best = neighbour.get();
  }
  return best;
}

void Swarm::set_reading(std::vector<ChunkIndex> from, Time now) {
  if (reading_ == from) return;
  reading_ = std::move(from);
  ++openings_;  // what was not to be had by name may be now
  finish_input(now);
}

// What comes next for those who read, as far ahead as is on its way at once anyway.
std::optional<ChunkIndex> Swarm::next_to_read(Neighbour& neighbour) {
  const std::uint32_t ahead = kReadAheadWindows * window();
  for (const ChunkIndex from : reading_) {
    const std::uint32_t left = from < have_.size() ? have_.size() - from : 0;
    for (ChunkIndex chunk = from; chunk < from + std::min(ahead, left); ++chunk)
      if (!taken_.test(chunk) && neighbour.have.test(chunk) && !neighbour.find_ask(chunk))
        return chunk;
  }
  return std::nullopt;
}

// By name, since what others choose is in no order. A named request must not cross with a Give.
std::optional<ChunkIndex> Swarm::pick_for_readers(Neighbour& neighbour) {
  if (neighbour.unanswered_anys > 0) return std::nullopt;
  if (const auto next = next_to_read(neighbour)) return next;
  return neighbour.have.all()
             ? picker_.pick(availability_)
             : picker_.pick(availability_, neighbour.have, taken_, neighbour.cursor);
}

// Returns whether it was asked for something; if not, it has nothing until a chunk opens or it
// tells of more.
bool Swarm::ask_something(Neighbour& neighbour, Time now) {
  const std::uint32_t open = availability_.open_count();
  std::optional<ChunkIndex> chunk;
  if (open > 0 && !reading_.empty()) {
    chunk = pick_for_readers(neighbour);
  } else if (open > 0 && neighbour.have.all()) {
    const std::uint32_t unpromised = open > anys_ ? open - anys_ : 0;
    const bool few = unpromised <= kFewWindows * window();
    if (unpromised > 0 && !neighbour.any_refused && (!few || neighbour.unanswered_anys > 0)) {
      chunk = kAnyChunk;
    } else if (unpromised > 0 && neighbour.unanswered_anys == 0) {
      chunk = picker_.pick(availability_);
    }
  } else if (open > 0 && neighbour.unanswered_anys == 0) {
    chunk = picker_.pick(availability_, neighbour.have, taken_, neighbour.cursor);
  }
  // An unanswered Cancel of it stands in the way of asking again.
  if (chunk && *chunk != kAnyChunk && neighbour.find_ask(*chunk)) chunk.reset();
  if (!chunk) {
    neighbour.nothing_at = openings_;
    return false;
  }
  ask(neighbour, *chunk, now);
  return true;
}

void Swarm::fill_window(Time now) {
  cancel_spare_anys(now);
  while (outstanding() < window() && availability_.open_count() > 0) {
    Neighbour* neighbour = least_loaded(false, now);
    // Those who are late already are asked for more only while what they owe leaves room.
    if (neighbour == nullptr && live_ + overdue_ < window()) neighbour = least_loaded(true, now);
    if (neighbour == nullptr) break;
    if (ask_something(*neighbour, now)) cancel_spare_anys(now);
  }
  if (availability_.open_count() == 0) ask_twice_at_the_end(now);
}

// Nothing is left to ask for: the request expected to end last is made a second time, where
// somebody else would end it sooner.
void Swarm::ask_twice_at_the_end(Time now) {
  while (outstanding() < window()) {
    const Neighbour* slowest = nullptr;
    ChunkIndex chunk = kAnyChunk;
    // Nobody would end sooner what ends before this.
    Time latest = kNever;
    for (const auto& neighbour : neighbours_)
      if (may_be_second(*neighbour, now))
        latest = std::min(latest, now + from_seconds(expected_seconds(*neighbour)));
    for (const auto& neighbour : neighbours_) {
      for (const Ask& ask : neighbour->asks) {
        if (ask.chunk == kAnyChunk || !is_waiting(ask)) continue;
        const Time end = expected_end(ask, now);
        if (end <= latest || times_asked_[ask.chunk] > 1) continue;
        const Neighbour* other = other_source(*neighbour, ask.chunk, now);
        if (other == nullptr || now + from_seconds(expected_seconds(*other)) >= end) continue;
        slowest = neighbour.get();
        chunk = ask.chunk;
        latest = end;
      }
    }
    if (slowest == nullptr) return;
    ask(*other_source(*slowest, chunk, now), chunk, now);
  }
}

// --- answers

void Swarm::handle(Neighbour& neighbour, const Give& give, Time now) {
  if (!in_range(neighbour, give.chunk, now)) return;
  // The oldest live one; of those taken back only when there is no other.
  Ask* const answered = neighbour.find_ask(kAnyChunk);
  if (answered == nullptr)
    return violation(neighbour, absl::StrCat("chunk ", give.chunk, " was not asked for"), now);
  // Of two asks for one chunk, the data of one would be taken for the other's.
  if (neighbour.find_ask(give.chunk))
    return violation(neighbour, absl::StrCat("chunk ", give.chunk, " is given already"), now);
  neighbour.load = give.load;
  note_has(neighbour, give.chunk);
  neighbour.nothing_at = 0;
  --neighbour.unanswered_anys;
  const bool taken_back = answered->cancelled;
  answered->chunk = give.chunk;
  answered->bytes = length_from(neighbour, give.chunk);
  if (!taken_back) ++times_asked_[give.chunk];
  if (!taken_back && !answered->overdue) --anys_;
  if (!taken_back && !taken_.test(give.chunk) && !is_stale(neighbour, give.chunk)) {
    close_chunk(give.chunk);
    actions_.push_back(ReceiveChunk{neighbour.connection, give.chunk});
    return;
  }
  if (!taken_back) {
    ++openings_;
    return cancel(neighbour, *answered, now);
  }
  actions_.push_back(DropChunk{neighbour.connection, give.chunk});
  send(neighbour, Cancel{give.chunk}, now);
}

void Swarm::handle(Neighbour& neighbour, const Reject& reject, Time now) {
  const ChunkIndex chunk = reject.chunk;
  if (chunk != kAnyChunk && !in_range(neighbour, chunk, now)) return;
  // Of several for kAnyChunk, kCancelled answers one that was cancelled, all else one that was not.
  const bool prefers_cancelled = reject.reason == RejectReason::kCancelled;
  const Ask* const found = neighbour.find_ask(chunk, prefers_cancelled);
  if (found == nullptr) return;
  const bool was_live = !found->cancelled;
  erase_ask(neighbour, *found);
  neighbour.last_gain = now;  // it answers
  if (was_live && (reject.reason == RejectReason::kBusy || prefers_cancelled)) {
    neighbour.not_before = now + kBusyPause;
    wake_by(neighbour.not_before);
  } else if (chunk == kAnyChunk) {
    neighbour.any_refused = true;
  } else if (!prefers_cancelled && reject.reason != RejectReason::kBusy) {
    note_lacks(neighbour, chunk);
    if (reject.reason == RejectReason::kSourceChanged && !neighbour.source_reported) {
      neighbour.source_reported = true;
      actions_.push_back(
          Report{neighbour.connection, neighbour.peer, Problem::kSourceChanged, chunk});
    }
    if (++neighbour.idle_rejects > kMaxIdleRejects) {
      violation(neighbour, "it does not give what it advertises", now);
      if (was_live) return_chunk(chunk);
      return;
    }
  }
  if (was_live && chunk != kAnyChunk) return_chunk(chunk);
  neighbour.nothing_at = 0;
}

void Swarm::on_data(ConnectionId connection, ChunkIndex chunk, std::uint32_t bytes, Time now) {
  note_data(connection, chunk, bytes, true, now);
}

void Swarm::on_dropped_data(ConnectionId connection, ChunkIndex chunk, std::uint32_t bytes,
                            Time now) {
  note_data(connection, chunk, bytes, false, now);
}

void Swarm::note_data(ConnectionId connection, ChunkIndex chunk, std::uint32_t bytes, bool kept,
                      Time now) {
  stats_.received_bytes += bytes;
  window_.on_data(bytes, now);
  Neighbour* neighbour = find(connection);
  if (neighbour == nullptr) return;
  neighbour->last_heard = now;
  Ask* const ask = neighbour->find_ask(chunk);
  // Dropped bytes of a live ask: it was given, rejected and given again while our DropChunk was on
  // its way. It gets nothing, and so is overdue in time, and stuck.
  if (ask == nullptr || (!kept && !ask->cancelled)) {
    stats_.duplicate_bytes += bytes;
    return finish_input(now);
  }
  if (ask->received_bytes == 0) {
    ask->first_byte_at = now;
    if (ask->queue <= kServedAtOnce) window_.on_first_byte(now - ask->asked_at);
  }
  ask->received_bytes += bytes;
  ask->last_byte_at = now;
  if (!ask->cancelled) {
    neighbour->last_gain = now;
  } else if (ask->received_bytes >= ask->bytes) {
    erase_ask(*neighbour, *ask);
    neighbour->nothing_at = 0;
  }
  finish_input(now);
}

void Swarm::on_whole_chunk(Neighbour& neighbour, ChunkIndex chunk, Time now) {
  Ask* const found = neighbour.find_ask(chunk);
  neighbour.last_heard = neighbour.last_gain = now;
  neighbour.idle_rejects = 0;
  if (found == nullptr) return;
  learn_speed(neighbour, *found, now, false);
  if (!have_.test(chunk)) found->received_bytes = 0;  // not in vain
  erase_ask(neighbour, *found);
}

}  // namespace p2p::peer
