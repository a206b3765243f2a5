#include "peer/outline_fetch.h"

#include <algorithm>

#include "base/check.h"

namespace p2p::peer {

namespace {

Duration reading_time(std::uint64_t total_bytes) {
  return from_seconds(static_cast<double>(total_bytes) / kOutlineBytesPerSecond);
}

}  // namespace

Duration outline_time(std::uint64_t total_bytes) {
  return kOutlineTime + reading_time(total_bytes);
}

OutlineFetch::OutlineFetch(std::uint64_t total_bytes, Duration time, Time now)
    : total_bytes_(total_bytes), deadline_(now + time), hope_until_(now + kOutlinePatience) {}

void OutlineFetch::on_connected(ConnectionId connection, Time now) {
  waiting_.push_back({connection, now});
  ask_next(now);
}

void OutlineFetch::ask_next(Time now) {
  if (asked_ || !(wants_outline() || wants_details())) return;
  const auto next = std::find_if(waiting_.begin(), waiting_.end(), [&](const Neighbour& neighbour) {
    return neighbour.not_before <= now;
  });
  if (next == waiting_.end()) {
    answer_by_ = kNever;
    return;
  }
  asked_ = next->connection;
  waiting_.erase(next);
  collected_.clear();
  outline_bytes_ = 0;
  for (Run& run : runs_) run.asked = false;
  request(now);
}

void OutlineFetch::request(Time now) {
  answer_by_ = now + kOutlinePartTimeout;
  if (wants_outline()) {
    if (collected_.empty()) answer_by_ += reading_time(total_bytes_);
    actions_.push_back(
        SendMessage{*asked_, OutlineRequest{static_cast<std::uint32_t>(collected_.size())}});
    return;
  }
  for (std::size_t i = 0; i < std::min(runs_.size(), kDetailWindow); ++i) {
    Run& run = runs_[i];
    if (!std::exchange(run.asked, true))
      actions_.push_back(SendMessage{*asked_, DetailRequest{run.first, run.count}});
  }
}

// To the end of the line. kNever: it is not asked again, unless its answer still comes.
void OutlineFetch::pass_over(Time again_at, Time now) {
  waiting_.push_back({*asked_, again_at});
  asked_.reset();
  ask_next(now);
}

void OutlineFetch::disconnect(ConnectionId connection, std::string text, Time now) {
  actions_.push_back(Disconnect{connection, Bye{ByeReason::kViolation, std::move(text)}, false});
  on_disconnected(connection, now);
}

// True: from now on it is the one that is asked.
bool OutlineFetch::take_late(ConnectionId connection, const OutlinePart& part, Time now) {
  const auto late = std::find_if(waiting_.begin(), waiting_.end(), [&](const Neighbour& neighbour) {
    return neighbour.connection == connection && neighbour.not_before == kNever;
  });
  if (late == waiting_.end()) return false;
  late->not_before = now + kOutlineRetry;  // it owes nothing any more
  if (part.offset != 0 || part.data.empty() || (asked_ && !collected_.empty())) return false;
  waiting_.erase(late);
  if (asked_) waiting_.push_back({*asked_, kNever});
  asked_ = connection;
  collected_.clear();
  outline_bytes_ = 0;
  return true;
}

void OutlineFetch::on_part(ConnectionId connection, const OutlinePart& part, Time now) {
  if (!wants_outline()) return;
  if (asked_ != connection && !take_late(connection, part, now)) return;
  const std::size_t had = collected_.size();
  // An empty content's outline is empty, and so is the answer of who has none: it needs neither.
  if (part.total_bytes == 0) return pass_over(now + kOutlineRetry, now);
  const bool fits = part.offset == had && (had == 0 || part.total_bytes == outline_bytes_) &&
                    part.total_bytes <= kMaxOutlineBytes && !part.data.empty() &&
                    part.data.size() == std::min(part.total_bytes - had, kMaxOutlinePartBytes);
  if (!fits) return disconnect(connection, "an outline part that does not fit", now);
  outline_bytes_ = part.total_bytes;
  collected_.insert(collected_.end(), part.data.begin(), part.data.end());
  if (collected_.size() < outline_bytes_) return request(now);
  auto outline = decode_outline(collected_, total_bytes_);
  collected_ = {};
  if (!outline) return disconnect(connection, "an outline of another content, or of none", now);
  outline_done_ = true;
  answer_by_ = kNever;
  // Who gave it is asked for details first.
  waiting_.insert(waiting_.begin(), {connection, now});
  asked_.reset();
  actions_.push_back(OutlineDone{*std::move(outline)});
}

void OutlineFetch::want_details(std::shared_ptr<const Outline> outline,
                                const std::vector<std::uint32_t>& groups, Time now) {
  P2P_CHECK(outline_done_ && !outline_);
  outline_ = std::move(outline);
  for (const std::uint32_t group : groups) {
    if (!runs_.empty() && runs_.back().first + runs_.back().count == group &&
        runs_.back().count < kMaxGroupsInDetail)
      ++runs_.back().count;
    else
      runs_.push_back({group, 1});
  }
  if (runs_.empty()) actions_.emplace_back(DetailsDone{});
  hope_until_ = now + kOutlinePatience;
  std::erase_if(waiting_,
                [](const Neighbour& neighbour) { return neighbour.not_before == kNever; });
  for (Neighbour& neighbour : waiting_) neighbour.not_before = now;
  if (now >= deadline_ && wants_details()) return give_up();
  ask_next(now);
}

void OutlineFetch::on_detail(ConnectionId connection, const DetailPart& part, Time now) {
  if (!wants_details() || asked_ != connection) return;
  const auto run = std::find_if(runs_.begin(), runs_.end(), [&](const Run& one) {
    return one.asked && one.first == part.first && one.count == part.count;
  });
  if (run == runs_.end()) return;
  if (part.data.empty()) return pass_over(now + kOutlineRetry, now);
  auto segments = decode_detail(part.data, *outline_, part.first, part.count);
  if (!segments) return disconnect(connection, "a detail that does not fit", now);
  runs_.erase(run);
  hope_until_ = now + kOutlinePatience;
  actions_.push_back(DetailDone{part.first, part.count, *std::move(segments)});
  if (!runs_.empty()) return request(now);
  give_up();
}

void OutlineFetch::on_disconnected(ConnectionId connection, Time now) {
  std::erase_if(waiting_,
                [&](const Neighbour& neighbour) { return neighbour.connection == connection; });
  if (asked_ != connection) return;
  asked_.reset();
  ask_next(now);
}

// What has not come is done without.
void OutlineFetch::give_up() {
  runs_.clear();
  asked_.reset();
  answer_by_ = kNever;
  if (wants_outline()) {
    outline_done_ = true;
    actions_.push_back(OutlineDone{std::nullopt});
  } else {
    actions_.emplace_back(DetailsDone{});
  }
}

Time OutlineFetch::next_timeout() const {
  if (!wants_outline() && !wants_details()) return kNever;
  if (asked_) return std::min(answer_by_, deadline_);
  Time next = std::min(hope_until_, deadline_);
  for (const Neighbour& neighbour : waiting_) next = std::min(next, neighbour.not_before);
  return next;
}

void OutlineFetch::on_timeout(Time now) {
  if (now < next_timeout()) return;
  if (now >= deadline_) return give_up();
  if (asked_) {
    hope_until_ = now + kOutlinePatience;
    return pass_over(kNever, now);
  }
  ask_next(now);
  if (!asked_ && now >= hope_until_) give_up();
}

std::optional<OutlineAction> OutlineFetch::poll_action() {
  if (actions_.empty()) return std::nullopt;
  OutlineAction action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

}  // namespace p2p::peer
