// OutlineFetch: gets the outline of a content from the neighbours, one at a time, and then the
// details of some of its groups; sans-IO. Nobody need have an outline, and nothing that comes is
// believed beyond its form: where there is none in time, the fetch goes on without.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/time.h"
#include "content/outline.h"
#include "peer/messages.h"
#include "peer/swarm.h"

namespace p2p::peer {

// For an answer; and longer for the first, since a neighbour may have to make the outline when it
// is asked: it reads all of the content, as fast as this at least.
inline constexpr Duration kOutlinePartTimeout = std::chrono::seconds(30);
inline constexpr double kOutlineBytesPerSecond = 200e6;
// For outline and details together, however many neighbours are asked, and as much again as the
// content's bytes at that rate (a sixteenth of what 100 Mbit/s take for them): no chunk is asked
// for meanwhile.
inline constexpr Duration kOutlineTime = std::chrono::minutes(1);
Duration outline_time(std::uint64_t total_bytes);
// One that has none is asked again after this: it may get one.
inline constexpr Duration kOutlineRetry = std::chrono::seconds(1);
// While nobody has one, or nobody is there, it is waited for so long.
inline constexpr Duration kOutlinePatience = std::chrono::seconds(5);
// Details that are asked for at once.
inline constexpr std::size_t kDetailWindow = 4;
static_assert(kDetailWindow <= kMaxQueuedDetails);

struct OutlineDone {
  std::optional<Outline> outline;  // nothing: nobody has it
};
struct DetailDone {
  std::uint32_t first, count;
  std::vector<Segment> segments;
};
// All that came has been told.
struct DetailsDone {};
using OutlineAction = std::variant<SendMessage, Disconnect, OutlineDone, DetailDone, DetailsDone>;

class OutlineFetch {
 public:
  // When `time` is over, what has not come by then is done without.
  OutlineFetch(std::uint64_t total_bytes, Duration time, Time now);

  void on_connected(ConnectionId connection, Time now);
  // What does not fit disconnects. What was not asked for, or comes late, is ignored: but a first
  // part that comes late is taken, where whoever was asked next has sent none.
  void on_part(ConnectionId connection, const OutlinePart& part, Time now);
  void on_detail(ConnectionId connection, const DetailPart& part, Time now);
  void on_disconnected(ConnectionId connection, Time now);

  // After OutlineDone, once; in ascending order. Ends in DetailsDone.
  void want_details(std::shared_ptr<const Outline> outline,
                    const std::vector<std::uint32_t>& groups, Time now);

  Time next_timeout() const;
  void on_timeout(Time now);
  std::optional<OutlineAction> poll_action();

 private:
  struct Neighbour {
    ConnectionId connection;
    Time not_before;  // kNever: until its first part comes late
  };
  struct Run {
    std::uint32_t first, count;
    bool asked = false;
  };
  bool wants_outline() const { return !outline_done_; }
  bool wants_details() const { return outline_ && !runs_.empty(); }
  void ask_next(Time now);
  void request(Time now);
  bool take_late(ConnectionId connection, const OutlinePart& part, Time now);
  void pass_over(Time again_at, Time now);
  void disconnect(ConnectionId connection, std::string text, Time now);
  void give_up();

  std::uint64_t total_bytes_;
  Time deadline_;  // of all
  std::vector<Neighbour> waiting_;
  std::optional<ConnectionId> asked_;
  Time answer_by_ = kNever;  // of the one that is asked
  Time hope_until_;          // while nobody is
  Bytes collected_;
  std::uint32_t outline_bytes_ = 0;
  bool outline_done_ = false;
  std::shared_ptr<const Outline> outline_;
  std::deque<Run> runs_;
  std::deque<OutlineAction> actions_;
};

}  // namespace p2p::peer
