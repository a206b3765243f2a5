#include "peer/swarm.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/cache.h"
#include "base/check.h"
#include "peer/neighbour.h"

namespace p2p::peer {
namespace {

// A chunk's time moves by this part with each.
constexpr int kChunkTimeParts = 8;
// A neighbour that has what we tell of hears of it with what it lacks, or when there are so many.
constexpr std::size_t kMostUntold = 8;
// So many chunks may a neighbour have been sent that it does not say it has: its Haves are late,
// and some it has lost. Who got more is not thought to be in the middle of anything.
constexpr std::uint32_t kMostUnsaid = 32;
// And one chunk may be so long in coming.
constexpr Duration kMostFlow = std::chrono::minutes(10);

Bitfield all_lacking(const Bitfield& have) {
  Bitfield lacking(have.size());
  for (ChunkIndex chunk = have.next_clear(0); chunk < have.size();
       chunk = have.next_clear(chunk + 1))
    lacking.set(chunk);
  return lacking;
}

}  // namespace

Swarm::Swarm(SwarmConfig config, Layout layout, Bitfield have, Random random, Time now,
             std::vector<PartialChunk> partial)
    : have_(std::move(have)),
      most_unwritten_(static_cast<std::uint32_t>(
          std::max<std::uint64_t>(config.max_window_bytes / layout.chunk_bytes, 1))),
      completed_(have_.all()),
      window_({config.first_window_chunks, config.min_window_chunks, config.window_time,
               config.max_window_bytes},
              usual_length(layout, have_, partial), now),
      availability_(layout.chunk_count()),
      uploads_({config.first_slots, have_.all() ? config.seeder_slots : config.upload_slots},
               config.stuck_after, have_, random.fork("uploads")),
      layout_(layout),
      partial_(std::move(partial)),
      taken_(have_),
      times_asked_(layout_.chunk_count()),
      random_(random.fork("swarm")),
      picker_(random.fork("picker")),
      config_(config) {
  P2P_CHECK(have_.size() == layout_.chunk_count());
  const Bitfield lacking = all_lacking(have_);
  for (ChunkIndex chunk = lacking.next_set(0); chunk < lacking.size();
       chunk = lacking.next_set(chunk + 1))
    availability_.open(chunk);
  note_partial();
}

Swarm::~Swarm() = default;

Swarm::Neighbour* Swarm::find(ConnectionId connection) {
  const auto found = by_connection_.find(connection);
  return found == by_connection_.end() ? nullptr : found->second;
}

void Swarm::fetch() const { fetch_into_cache(this, offsetof(Swarm, stats_)); }

void Swarm::fetch_index(ConnectionId connection) const {
  by_connection_.prefetch(connection);
  fetch_into_cache(actions_.data(), sizeof(SwarmAction));
  availability_.fetch();
  uploads_.fetch();
  if (is_to_ask())
    fetch_into_cache(neighbours_.data(), neighbours_.size() * sizeof(neighbours_[0]));
}

void Swarm::fetch_neighbour(ConnectionId connection, ChunkIndex chunk) const {
  availability_.fetch(chunk);
  const auto found = by_connection_.find(connection);
  if (found != by_connection_.end()) fetch_into_cache(found->second, offsetof(Neighbour, untold));
  if (!is_to_ask()) return;
  for (const auto& neighbour : neighbours_)
    fetch_into_cache(neighbour.get(), offsetof(Neighbour, uploads));
}

void Swarm::fetch_bits(ConnectionId connection, ChunkIndex chunk) const {
  const auto found = by_connection_.find(connection);
  if (found == by_connection_.end()) return;
  found->second->have.fetch(chunk);
  found->second->uploads.settled.fetch(chunk);
}

void Swarm::send(Neighbour& neighbour, Message&& message, Time now) {
  neighbour.last_said = now;
  actions_.emplace_back(SendMessage{neighbour.connection, std::move(message)});
}

void Swarm::on_connected(ConnectionId connection, const PeerId& peer, Time now) {
  auto neighbour = std::make_unique<Neighbour>(connection, peer, now);
  const bool is_new = by_connection_.emplace(connection, neighbour.get()).second;
  P2P_CHECK(is_new);
  send(*neighbour, Chunks{have_}, now);
  neighbours_.push_back(std::move(neighbour));
  wake_by(now + std::min(config_.keep_alive, config_.silence));
  finish_input(now);
}

void Swarm::on_disconnected(ConnectionId connection, Time now) {
  Neighbour* neighbour = find(connection);
  if (neighbour == nullptr) return;
  forget(*neighbour, now);
  finish_input(now);
}

// The neighbour is gone afterwards; what was asked of it is open again.
void Swarm::forget(Neighbour& neighbour, Time) {
  uploads_.remove(neighbour.uploads);
  if (neighbour.counted) {
    held_sum_ -= neighbour.have.count();
    --held_count_;
    const Bitfield& had = neighbour.have;
    for (ChunkIndex chunk = had.next_set(0); chunk < had.size(); chunk = had.next_set(chunk + 1))
      availability_.remove(chunk);
  }
  if (neighbour.speed > 0) {
    speed_sum_ -= neighbour.speed;
    --speed_count_;
  }
  std::vector<ChunkIndex> asked;
  while (!neighbour.asks.empty()) {
    const Ask& last = neighbour.asks.back();
    if (!last.cancelled && last.chunk != kAnyChunk) asked.push_back(last.chunk);
    erase_ask(neighbour, neighbour.asks.back());
  }
  by_connection_.erase(neighbour.connection);
  const auto found = std::find_if(neighbours_.begin(), neighbours_.end(),
                                  [&](const auto& other) { return other.get() == &neighbour; });
  P2P_CHECK(found != neighbours_.end());
  neighbours_.erase(found);
  for (ChunkIndex chunk : asked) return_chunk(chunk);
}

// The neighbour is gone afterwards.
void Swarm::disconnect(Neighbour& neighbour, ByeReason reason, std::string text, bool ban,
                       Time now) {
  actions_.push_back(Disconnect{neighbour.connection, Bye{reason, std::move(text)}, ban});
  forget(neighbour, now);
}

void Swarm::violation(Neighbour& neighbour, std::string text, Time now) {
  disconnect(neighbour, ByeReason::kViolation, std::move(text), false, now);
}

void Swarm::on_message(ConnectionId connection, const Message& message, Time now) {
  Neighbour* neighbour = find(connection);
  if (neighbour == nullptr) return;  // it crossed with our Disconnect
  neighbour->last_heard = now;
  std::visit(
      [&]<typename T>(const T& value) {
        if constexpr (std::is_same_v<T, Chunks>) {
          neighbour->ready ? violation(*neighbour, "a second Chunks", now)
                           : handle(*neighbour, value, now);
        } else if constexpr (requires { handle(*neighbour, value, now); }) {
          neighbour->ready ? handle(*neighbour, value, now)
                           : violation(*neighbour, "a chunk message before Chunks", now);
        }
      },
      message);
  finish_input(now);
}

bool Swarm::in_range(Neighbour& neighbour, ChunkIndex chunk, Time now) {
  if (chunk < layout_.chunk_count()) return true;
  violation(neighbour, absl::StrCat("chunk ", chunk, " is out of range"), now);
  return false;
}

void Swarm::handle(Neighbour& neighbour, const Chunks& chunks, Time now) {
  if (chunks.have.size() != layout_.chunk_count()) {
    violation(neighbour, "Chunks of another chunk count", now);
    return;
  }
  neighbour.ready = true;
  neighbour.have = chunks.have;
  neighbour.uploads.held = neighbour.have.count();
  if (part_if_both_complete(neighbour, now)) return;
  if (!neighbour.have.all()) count_neighbour(neighbour);
  // What happened since our own Chunks could not be told before.
  if (!neighbour.untold.empty()) tell(neighbour, now);
  Lost lost;
  for (ChunkIndex chunk = lost_.next_set(0); chunk < lost_.size();
       chunk = lost_.next_set(chunk + 1)) {
    lost.chunks.push_back(chunk);
    if (lost.chunks.size() == kMaxChunksInHave) send(neighbour, std::exchange(lost, {}), now);
  }
  if (!lost.chunks.empty()) send(neighbour, std::move(lost), now);
}

void Swarm::handle(Neighbour& neighbour, const Have& have, Time now) {
  neighbour.load = have.load;
  for (ChunkIndex chunk : have.chunks) {
    if (!in_range(neighbour, chunk, now)) return;
    note_has(neighbour, chunk);
  }
  if (!have.chunks.empty()) part_if_both_complete(neighbour, now);
}

void Swarm::handle(Neighbour& neighbour, const Lost& lost, Time now) {
  for (ChunkIndex chunk : lost.chunks) {
    if (!in_range(neighbour, chunk, now)) return;
    note_lacks(neighbour, chunk);
    uploads_.on_lost(neighbour.uploads, chunk);
  }
}

void Swarm::note_has(Neighbour& neighbour, ChunkIndex chunk) {
  if (!neighbour.have.set(chunk)) return;
  neighbour.uploads.held = neighbour.have.count();
  if (neighbour.counted) {
    ++held_sum_;
    availability_.add(chunk);
  }
  uploads_.on_has(neighbour.uploads, chunk);
  neighbour.nothing_at = 0;
  neighbour.any_refused = false;
}

void Swarm::note_lacks(Neighbour& neighbour, ChunkIndex chunk) {
  if (!neighbour.have.reset(chunk)) return;
  neighbour.uploads.held = neighbour.have.count();
  if (neighbour.counted) {
    --held_sum_;
    availability_.remove(chunk);
    return;
  }
  // It came complete, and so was not counted; from now on it is. At most once a neighbour.
  count_neighbour(neighbour);
}

void Swarm::count_neighbour(Neighbour& neighbour) {
  neighbour.counted = true;
  held_sum_ += neighbour.have.count();
  ++held_count_;
  const Bitfield& theirs = neighbour.have;
  for (ChunkIndex chunk = theirs.next_set(0); chunk < theirs.size();
       chunk = theirs.next_set(chunk + 1))
    availability_.add(chunk);
}

// How many chunks we have less than our incomplete neighbours in the mean.
std::uint32_t Swarm::behind() const {
  if (held_count_ == 0) return 0;
  const std::uint64_t mean = held_sum_ / held_count_;
  return mean > have_.count() ? static_cast<std::uint32_t>(mean - have_.count()) : 0;
}

// Returns whether the neighbour is gone.
bool Swarm::part_if_both_complete(Neighbour& neighbour, Time now) {
  if (!neighbour.ready || !neighbour.have.all() || !have_.all()) return false;
  disconnect(neighbour, ByeReason::kBothComplete, "both have everything", false, now);
  return true;
}

void Swarm::open_chunk(ChunkIndex chunk) {
  taken_.reset(chunk);
  availability_.open(chunk);
  ++openings_;
}

void Swarm::close_chunk(ChunkIndex chunk) {
  taken_.set(chunk);
  availability_.close(chunk);
}

void Swarm::on_chunk_verified(ConnectionId connection, ChunkIndex chunk, Time now) {
  Neighbour* winner = find(connection);
  if (winner != nullptr) on_whole_chunk(*winner, chunk, now);
  if (!have_.set(chunk)) return finish_input(now);
  if (lost_.size() > 0) lost_.reset(chunk);
  note_chunk_time(now);
  close_chunk(chunk);
  uploads_.on_verified(chunk);
  untold_.push_back(chunk);
  cancel_elsewhere(winner, chunk, now);
  if (have_.all() && !completed_) {
    completed_ = true;
    actions_.emplace_back(std::in_place_type<Completed>);
    cancel_spare_anys(now);
    flush_haves(now);
    for (std::size_t i = neighbours_.size(); i-- > 0;) part_if_both_complete(*neighbours_[i], now);
  }
  finish_input(now);
}

// The window's meter takes a tenth of a second to know a rate: by then a fast swarm is past its
// start, where every wait for news counts.
void Swarm::note_chunk_time(Time now) {
  if (last_verified_ != Time::min()) {
    const Duration gap = std::min(now - last_verified_, config_.tell_interval);
    chunk_time_ += (gap - chunk_time_) / kChunkTimeParts;
  }
  last_verified_ = now;
}

void Swarm::on_chunk_corrupt(ConnectionId connection, ChunkIndex chunk, Time now) {
  ++stats_.corrupt_chunks;
  Neighbour* neighbour = find(connection);
  if (neighbour == nullptr) return;
  actions_.push_back(Report{connection, neighbour->peer, Problem::kCorruptChunk, chunk});
  disconnect(*neighbour, ByeReason::kBanned, absl::StrCat("chunk ", chunk, " was corrupt"), true,
             now);
  finish_input(now);
}

// What the neighbour has not heard of, and our load; that alone where there is nothing else.
void Swarm::tell(Neighbour& neighbour, Time now) {
  std::vector<ChunkIndex> untold = std::exchange(neighbour.untold, {});
  const std::uint32_t load = load_for(neighbour, now);
  while (untold.size() > kMaxChunksInHave) {
    const auto rest = untold.begin() + kMaxChunksInHave;
    send(neighbour, Have{{untold.begin(), rest}, load}, now);
    untold.erase(untold.begin(), rest);
  }
  send(neighbour, Have{std::move(untold), load}, now);
}

// Who lacks one of them hears at once. Everybody else hears soon: a giver must know what we lack,
// and who is complete that we are; but it need not cost a message each.
void Swarm::flush_haves(Time now) {
  for (const auto& neighbour : neighbours_) {
    auto& untold = neighbour->untold;
    untold.insert(untold.end(), untold_.begin(), untold_.end());
    if (!neighbour->ready) continue;
    const bool lacks = std::any_of(untold_.begin(), untold_.end(),
                                   [&](ChunkIndex chunk) { return !neighbour->have.test(chunk); });
    if (lacks || completed_ || untold.size() >= kMostUntold) tell(*neighbour, now);
  }
  untold_.clear();
  tell_at_ = now + chunk_time_;
}

// What every input ends with.
void Swarm::finish_input(Time now) {
  if (!completed_) fill_window(now);
  start_uploads(now);
  if (!untold_.empty() && now >= tell_at_) flush_haves(now);
  tell_load(now);
}

Time Swarm::next_timeout() const {
  return untold_.empty() ? wake_at_ : std::min(wake_at_, tell_at_);
}

std::optional<SwarmAction> Swarm::poll_action() {
  if (next_action_ == actions_.size()) {
    actions_.clear();
    next_action_ = 0;
    return std::nullopt;
  }
  return std::move(actions_[next_action_++]);
}

const Bitfield& Swarm::have() const { return have_; }

bool Swarm::complete() const { return have_.all(); }

bool Swarm::has_incomplete_neighbour() const {
  return std::any_of(neighbours_.begin(), neighbours_.end(), [](const auto& neighbour) {
    return !neighbour->ready || !neighbour->have.all();
  });
}

bool Swarm::is_busy_with(ConnectionId connection, Time now) const {
  const auto found = by_connection_.find(connection);
  if (found == by_connection_.end()) return false;
  const Neighbour& neighbour = *found->second;
  const UploadClient& client = neighbour.uploads;
  const bool is_honest = client.got <= neighbour.have.count() + kMostUnsaid;
  if (!client.sends.empty() && !client.blocked && is_honest) return true;
  const auto flows = [&](const Ask& ask) {
    return !ask.cancelled && ask.received_bytes > 0 &&
           now - ask.last_byte_at < config_.overdue_floor && now - ask.first_byte_at < kMostFlow;
  };
  return std::any_of(neighbour.asks.begin(), neighbour.asks.end(), flows);
}

bool Swarm::has_useful_neighbour() const {
  return std::any_of(neighbours_.begin(), neighbours_.end(), [&](const auto& neighbour) {
    return neighbour->ready && neighbour->have.has_any_not_in(have_);
  });
}

SwarmStats Swarm::stats() const {
  SwarmStats stats = stats_;
  stats.neighbours = static_cast<std::uint32_t>(neighbours_.size());
  for (const auto& neighbour : neighbours_)
    stats.complete_neighbours += neighbour->ready && neighbour->have.all();
  return stats;
}

}  // namespace p2p::peer
