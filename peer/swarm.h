// Swarm: one content's exchange of chunks with its neighbours; sans-IO. It decides what to ask of
// whom and what to send to whom. It knows chunks by index and length only: bytes, hashes and disks
// are the shell's.
//
// The policies stand in files of their own: availability.h (who has what, in buckets),
// chunk_picker.h (rarest first, random ties), request_window.h (how much to ask for, from measured
// rates), upload_queue.h (slots; who is behind, then what few have), giveaway.h (the seeder's
// choice of chunk); swarm_requests.cc (of whom), swarm_timers.cc (stragglers), swarm_partial.cc
// (chunks of which parts are known).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/cache.h"
#include "base/id.h"
#include "base/random.h"
#include "base/time.h"
#include "content/bitfield.h"
#include "content/layout.h"
#include "peer/availability.h"
#include "peer/chunk_picker.h"
#include "peer/messages.h"
#include "peer/request_window.h"
#include "peer/upload_queue.h"

namespace p2p::peer {

using ConnectionId = std::uint64_t;  // the shell's name for a connection; never reused

struct SwarmConfig {
  // One total window over all neighbours (request_window.h): this many chunks outstanding once it
  // flows (fewer at first), more where rate x (window_time + two round trips) asks for it, never
  // more bytes than the cap and never more than kMaxQueuedRequests a peer.
  std::uint32_t first_window_chunks = 2;
  std::uint32_t min_window_chunks = 8;
  Duration window_time = std::chrono::milliseconds(10);
  std::uint64_t max_window_bytes = 48 * 1024 * 1024;
  // Chunks being sent at once, over all neighbours; of a peer that is complete from the start more,
  // since everybody waits for what only its uplink can give: it must never be held up by neighbours
  // whose downlinks are busy.
  std::uint32_t first_slots = 1;
  std::uint32_t upload_slots = 8;
  std::uint32_t seeder_slots = 12;
  // A request is overdue after this multiple of the time that the peer's own rate promises, plus
  // the floor.
  double overdue_factor = 3;
  Duration overdue_floor = std::chrono::seconds(1);
  // No byte for a request in this time: the peer is dropped.
  Duration stuck_after = std::chrono::seconds(20);
  // Chunks verified within the time that a chunk takes to come in share one Have, but none waits
  // longer than this. The first after a pause goes at once.
  Duration tell_interval = std::chrono::milliseconds(50);
  Duration keep_alive = std::chrono::seconds(30);
  Duration silence = std::chrono::seconds(90);
};

struct SendMessage {
  ConnectionId connection;
  Message message;
};
// Accept this chunk's data frames from this connection. Ends in on_chunk_verified or
// on_chunk_corrupt, or by DropChunk.
struct ReceiveChunk {
  ConnectionId connection;
  ChunkIndex chunk;
};
// Free what was received; what is still on its way for it is read and thrown away (and told by
// on_dropped_data: the last byte of it ends the request). Also comes, with no ReceiveChunk before
// it, for a Give that is turned down. Not for a Reject: with that the shell expects no more of the
// chunk.
struct DropChunk {
  ConnectionId connection;
  ChunkIndex chunk;
};
// Read the chunk and send all of it. Ends in on_chunk_sent, on_chunk_unreadable or on_send_stopped.
struct SendChunk {
  ConnectionId connection;
  ChunkIndex chunk;
};
// Stop as soon as possible; answered by on_send_stopped, or by on_chunk_sent where it was too late.
struct StopSending {
  ConnectionId connection;
  ChunkIndex chunk;
};
struct Disconnect {
  ConnectionId connection;
  Bye bye;           // sent first
  bool ban = false;  // this peer is not to be met again for this content
};
enum class Problem { kCorruptChunk, kSourceChanged, kStuck };
// For the person: what went wrong with whom.
struct Report {
  ConnectionId connection;
  PeerId peer;
  Problem problem;
  ChunkIndex chunk;
};
// Every chunk is verified. Once; not for a swarm that was made complete.
struct Completed {};
using SwarmAction = std::variant<SendMessage, ReceiveChunk, DropChunk, SendChunk, StopSending,
                                 Disconnect, Report, Completed>;

// kHungry: far less comes in than once did. kStarved: chunks are missing and nothing is asked of
// anybody, since nobody has them.
enum class Hunger { kFed, kHungry, kStarved };

struct SwarmStats {
  std::uint64_t received_bytes = 0;   // payload, duplicates and corrupt ones too
  std::uint64_t sent_bytes = 0;       // whole chunks sent
  std::uint64_t duplicate_bytes = 0;  // received in vain
  std::uint32_t corrupt_chunks = 0;
  std::uint32_t misfit_chunks = 0;  // put together with what was known of them, in vain
  std::uint32_t neighbours = 0;
  std::uint32_t complete_neighbours = 0;
};

struct Ask;

class alignas(kCacheLineBytes) Swarm {
 public:
  // `partial`: chunks, in ascending order, of which the shell knows all but these ranges. They are
  // asked for like others, by neighbours who are told to send no more than that.
  Swarm(SwarmConfig config, Layout layout, Bitfield have, Random random, Time now,
        std::vector<PartialChunk> partial = {});
  ~Swarm();

  // A neighbour that has said Join and been admitted. We have the manifest (or there would be no
  // Swarm): Chunks is sent.
  void on_connected(ConnectionId connection, const PeerId& peer, Time now);
  // Chunks, Have, Lost, Request, Give, Cancel, Reject. The node keeps the other messages; where it
  // passes them on all the same, they are a sign of life and no more.
  void on_message(ConnectionId connection, const Message& message, Time now);
  void on_disconnected(ConnectionId connection, Time now);

  // Payload bytes of a chunk came in: for the rates and the deadlines. Any number of them may be
  // told at once, but before the messages that came after them.
  void on_data(ConnectionId connection, ChunkIndex chunk, std::uint32_t bytes, Time now);
  // The same of bytes that were thrown away, as DropChunk asked for. They fulfil no request.
  void on_dropped_data(ConnectionId connection, ChunkIndex chunk, std::uint32_t bytes, Time now);
  // So many whole chunks, of whatever connection, wait for their verdict: no more is asked for
  // while they fill the window, so that a disk that hangs does not fill the memory.
  void set_unwritten(std::size_t chunks) { unwritten_ = static_cast<std::uint32_t>(chunks); }
  // A chunk came in whole, matched its hash and is on disk; also when it was dropped since, or its
  // connection is gone.
  void on_chunk_verified(ConnectionId connection, ChunkIndex chunk, Time now);
  void on_chunk_corrupt(ConnectionId connection, ChunkIndex chunk, Time now);
  // The same where what was known of the chunk may be at fault: nobody is. It is asked for again,
  // whole.
  void on_chunk_misfit(ConnectionId connection, ChunkIndex chunk, Time now);

  // Somebody reads the content in order, from these chunks on (several read at several places):
  // what comes next for them is asked for before what is rare. It costs the swarm some of its
  // variety, so only while somebody reads; with none everything is as before.
  void set_reading(std::vector<ChunkIndex> from, Time now);

  void on_chunk_sent(ConnectionId connection, ChunkIndex chunk, Time now);
  void on_send_stopped(ConnectionId connection, ChunkIndex chunk, Time now);
  // The source changed or cannot be read: the chunk is given up and the neighbours are told.
  void on_chunk_unreadable(ConnectionId connection, ChunkIndex chunk, Time now);

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<SwarmAction> poll_action();

  // Hints for who drives so many swarms that none is in the cache: fetch what an input of this
  // connection, about this chunk, needs; each after the one before it. They change nothing.
  void fetch() const;
  void fetch_index(ConnectionId connection) const;
  void fetch_neighbour(ConnectionId connection, ChunkIndex chunk) const;
  void fetch_bits(ConnectionId connection, ChunkIndex chunk) const;

  const Bitfield& have() const;
  bool complete() const;
  // How well the neighbours serve us.
  Hunger hunger() const {
    if (completed_ || have_.all()) return Hunger::kFed;
    if (live_ + overdue_ == 0) return Hunger::kStarved;
    return window_.has_slowed() ? Hunger::kHungry : Hunger::kFed;
  }
  // Is there a neighbour that lacks something, so that we may be of use?
  bool has_incomplete_neighbour() const;
  // Is a chunk on its way from or to the neighbour? Not one that is read so slowly that it has lost
  // its slot, nor one that does not flow or has for ten minutes, nor to who never says what it got.
  bool is_busy_with(ConnectionId connection, Time now) const;
  // Is there a neighbour that has a chunk we lack?
  bool has_useful_neighbour() const;
  SwarmStats stats() const;

 private:
  struct Neighbour;

  // swarm.cc: neighbours, what they have, and what we have.
  Neighbour* find(ConnectionId connection);
  void send(Neighbour& neighbour, Message&& message, Time now);
  void disconnect(Neighbour& neighbour, ByeReason reason, std::string text, bool ban, Time now);
  void violation(Neighbour& neighbour, std::string text, Time now);
  void forget(Neighbour& neighbour, Time now);
  void handle(Neighbour& neighbour, const Chunks& chunks, Time now);
  void handle(Neighbour& neighbour, const Have& have, Time now);
  void handle(Neighbour& neighbour, const Lost& lost, Time now);
  bool in_range(Neighbour& neighbour, ChunkIndex chunk, Time now);
  void note_has(Neighbour& neighbour, ChunkIndex chunk);
  void note_lacks(Neighbour& neighbour, ChunkIndex chunk);
  void count_neighbour(Neighbour& neighbour);
  std::uint32_t behind() const;
  bool part_if_both_complete(Neighbour& neighbour, Time now);
  void open_chunk(ChunkIndex chunk);
  void close_chunk(ChunkIndex chunk);
  void finish_input(Time now);
  void tell(Neighbour& neighbour, Time now);
  void flush_haves(Time now);
  void note_chunk_time(Time now);

  // swarm_requests.cc: what to ask of whom.
  void handle(Neighbour& neighbour, const Give& give, Time now);
  void handle(Neighbour& neighbour, const Reject& reject, Time now);
  void ask(Neighbour& neighbour, ChunkIndex chunk, Time now);
  void cancel(Neighbour& neighbour, Ask& ask, Time now);
  void erase_ask(Neighbour& neighbour, const Ask& ask);
  void retire_ask(Neighbour& neighbour, const Ask& ask);
  void return_chunk(ChunkIndex chunk);
  bool may_ask(const Neighbour& neighbour, Time now) const;
  double mean_speed() const;
  double expected_seconds(const Neighbour& neighbour) const;
  double score(const Neighbour& neighbour) const;
  Neighbour* least_loaded(bool overdue_too, Time now);
  bool may_be_second(const Neighbour& neighbour, Time now) const;
  Neighbour* other_source(const Neighbour& first, ChunkIndex chunk, Time now);
  bool ask_something(Neighbour& neighbour, Time now);
  std::optional<ChunkIndex> next_to_read(Neighbour& neighbour);
  std::optional<ChunkIndex> pick_for_readers(Neighbour& neighbour);
  // Will the next input look through all neighbours for something to ask?
  bool is_to_ask() const { return !completed_ && outstanding() < window(); }
  // What counts in the window: asks, whose chunks may be whole already; where those that wait for
  // their verdict are more, they do.
  std::uint32_t outstanding() const {
    // Whole chunks take their whole length of memory, however little of them was asked for.
    return unwritten_ >= most_unwritten_ ? UINT32_MAX : std::max(live_, unwritten_);
  }
  void note_data(ConnectionId connection, ChunkIndex chunk, std::uint32_t bytes, bool kept,
                 Time now);
  std::uint32_t window() const { return window_.chunks(behind()); }
  void fill_window(Time now);
  void ask_twice_at_the_end(Time now);
  void cancel_spare_anys(Time now);
  void cancel_elsewhere(const Neighbour* winner, ChunkIndex chunk, Time now);
  void on_whole_chunk(Neighbour& neighbour, ChunkIndex chunk, Time now);
  Time expected_end(const Ask& ask, Time now) const;
  void learn_speed(Neighbour& neighbour, const Ask& ask, Time now, bool at_most);

  // swarm_uploads.cc: what to send to whom.
  void handle(Neighbour& neighbour, const Request& request, Time now);
  void handle(Neighbour& neighbour, const Cancel& cancel, Time now);
  void start_uploads(Time now);
  std::uint32_t told_load(const Neighbour& neighbour) const;
  std::uint32_t load_for(Neighbour& neighbour, Time now);
  void tell_load(Time now);

  // swarm_partial.cc: chunks of which parts are known, and of which a neighbour lacks parts only.
  void handle(Neighbour& neighbour, const Partial& partial, Time now);
  bool is_stale(const Neighbour& neighbour, ChunkIndex chunk) const;
  void tell_partial(Neighbour& neighbour, ChunkIndex chunk, Time now);
  void tell_all_partial(Neighbour& neighbour, Time now);
  std::uint32_t length_from(const Neighbour& neighbour, ChunkIndex chunk) const;
  static bool believes_partial(const Neighbour& neighbour, ChunkIndex chunk);
  static std::uint32_t usual_length(const Layout& layout, const Bitfield& have,
                                    const std::vector<PartialChunk>& partial);
  void note_partial();

  // swarm_timers.cc
  void wake_by(Time at);
  bool is_waiting(const Ask& ask) const;
  void check_asks(Neighbour& neighbour, Time now);
  void check_overdue(Neighbour& neighbour, Ask& ask, Time now);
  bool check_stuck(Neighbour& neighbour, Time now);
  bool check_silence(Neighbour& neighbour, Time now);

  // What nearly every input needs stands first, what few do last.
  Bitfield have_;
  std::vector<std::unique_ptr<Neighbour>> neighbours_;  // in order of connecting
  absl::flat_hash_map<ConnectionId, Neighbour*> by_connection_;

  std::uint64_t held_sum_ = 0;    // chunks of the incomplete neighbours together,
  std::uint32_t held_count_ = 0;  // and how many neighbours these are
  std::uint32_t live_ = 0;        // asks that count in the window
  std::uint32_t overdue_ = 0;     // asks that did, until they were overdue
  std::uint32_t unwritten_ = 0;   // see set_unwritten()
  std::uint32_t most_unwritten_;
  std::uint32_t anys_ = 0;  // live asks for kAnyChunk
  std::uint64_t openings_ =
      1;  // moves when a closed chunk opens: "nothing to ask for" is stale then
  std::vector<ChunkIndex> reading_;  // see set_reading()
  std::vector<ChunkIndex> untold_;   // verified, and in no Have yet
  Time tell_at_ = Time::min();       // no Have with chunks before this
  Duration chunk_time_{0};           // between two verified chunks, smoothed; 0: not known
  Time last_verified_ = Time::min();
  Time wake_at_ = kNever;
  std::uint32_t checked_load_ = 0;  // our load when it was last held against what was told
  bool completed_;
  std::vector<SwarmAction> actions_;
  std::size_t next_action_ = 0;
  RequestWindow window_;
  Availability availability_;
  UploadQueue uploads_;

  SwarmStats stats_;
  double speed_sum_ = 0;  // of the neighbours whose speed is known, and their number
  std::uint32_t speed_count_ = 0;
  Layout layout_;
  std::vector<PartialChunk> partial_;  // by chunk; those that did not fit too
  Bitfield is_partial_;                // without those; of size 0 where none is
  std::uint64_t partial_changes_ = 0;  // 0: none is
  Bitfield taken_;                     // not to be asked for: verified, asked for, or lost for good
  std::vector<std::uint16_t> times_asked_;  // of each chunk: asks by name that are not cancelled
  Random random_;
  ChunkPicker picker_;
  SwarmConfig config_;
  Bitfield lost_;  // had once; of size 0 until the first
};

}  // namespace p2p::peer
