// Chunks on the links, and what hosts do with them.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "tools/sim/world.h"

namespace p2p::sim {
namespace {

// A receiver is told of a chunk's first bytes, of its last, and this often in between.
constexpr std::uint32_t kFirstBytes = 1448;
constexpr Duration kProgressInterval = std::chrono::milliseconds(200);
// Less than this is rounding.
constexpr double kRoundingBytes = 0.5;
// A disk that loses chunks loses this share of what it is to read.
constexpr double kLostReads = 0.02;

bool contains(const ChunkList& list, ChunkIndex chunk) {
  return std::find(list.begin(), list.end(), chunk) != list.end();
}

// Returns whether it was there.
bool erase(ChunkList& list, ChunkIndex chunk) {
  const auto found = std::find(list.begin(), list.end(), chunk);
  if (found == list.end()) return false;
  list.erase(found);
  return true;
}

}  // namespace

void World::begin_send(EndIndex index, ChunkIndex chunk) {
  End& end = ends_[index];
  if (!end.open) return;
  if (hosts_[end.host].loses_chunks && loss_random_.chance(kLostReads)) {
    events_.push(now_, EventKind::kUnreadable, index, chunk);
    return;
  }
  end.queue.push_back({chunk, layout_.length_of(chunk)});
  check_cap(end.host, "sends on a connection", end.queue.size(), peer::kMaxQueuedRequests);
  if (end.queue.size() == 1) start_flow(index);
}

// The first of the queue goes on the links, where the flow may stand already.
void World::start_flow(EndIndex index) {
  End& end = ends_[index];
  const Send& send = end.queue.front();
  end.left = send.length;
  end.updated = now_;
  end.told = std::min(send.length, kFirstBytes);
  events_.push(arrival(index ^ 1), EventKind::kData, index ^ 1, send.chunk, end.told);
  if (links_.flows(index)) return schedule_end(index);
  end.rate = 0;
  const Host& from = hosts_[end.host];
  const Host& to = hosts_[ends_[index ^ 1].host];
  if (from.rack == to.rack) {
    links_.start(index, std::array{from.up, to.down});
  } else {
    links_.start(index, std::array{from.up, rack_up_[from.rack], rack_down_[to.rack], to.down});
  }
}

void World::next_send(EndIndex index) {
  End& end = ends_[index];
  end.queue.erase(end.queue.begin());
  if (!end.queue.empty()) return start_flow(index);
  links_.stop(index);
  end.rate = 0;
}

void World::drop_queue(EndIndex index) {
  End& end = ends_[index];
  if (end.queue.empty()) return;
  advance(index);
  end.queue.clear();
  links_.stop(index);
  end.rate = 0;
}

// What went out since it was last asked.
void World::advance(EndIndex index) {
  End& end = ends_[index];
  const double bytes = std::min(end.rate * to_seconds(now_ - end.updated), end.left);
  end.left -= bytes;
  HostReport& report = hosts_[end.host].report;
  report.sent_bytes += bytes;
  while (now_ >= slice_end_) {
    slice_end_ += bucket_width_;
    ++slice_;
  }
  const std::size_t last = slice_;
  if (last >= sent_over_time_.size()) {
    sent_over_time_.resize(last + 1);
    seeders_sent_over_time_.resize(last + 1);
  }
  std::vector<double>& sent = report.seeder ? seeders_sent_over_time_ : sent_over_time_;
  // Evenly over the slices that it took.
  Time from = end.updated;
  const double rate = now_ > from ? bytes / to_seconds(now_ - from) : 0;
  std::size_t at = last;
  if (from < slice_end_ - bucket_width_)
    at = static_cast<std::size_t>(from.time_since_epoch() / bucket_width_);
  for (; at < last; ++at) {
    const Time next = Time{} + (static_cast<std::int64_t>(at) + 1) * bucket_width_;
    sent[at] += rate * to_seconds(next - from);
    from = next;
  }
  sent[last] += rate * to_seconds(now_ - from);
  end.updated = now_;
  if (scenario_.racks > 1 && hosts_[end.host].rack != hosts_[ends_[index ^ 1].host].rack)
    cross_rack_bytes_ += bytes;
}

// An event that turns out to be too early looks again; so a later end needs no new one.
void World::schedule_end(EndIndex index) {
  End& end = ends_[index];
  if (end.rate <= 0) return;
  const double seconds = end.left / end.rate;
  const Time at = now_ + Duration{static_cast<Duration::rep>(std::ceil(seconds * 1e9))};
  if (at - now_ > kProgressInterval && end.progress_at == kNever) {
    end.progress_at = now_ + kProgressInterval;
    events_.push(end.progress_at, EventKind::kProgress, index);
  }
  if (end.scheduled <= at) return;
  end.scheduled = at;
  events_.push(at, EventKind::kFlowEnd, index);
}

// What the flows after the first few need.
void World::fetch_changed(std::span<const FlowId> flows) const {
  constexpr std::size_t kEnd = 6;
  constexpr std::size_t kHost = 3;
  if (flows.size() > kEnd) fetch_into_cache(&ends_[flows[kEnd]], 2 * kCacheLineBytes);
  if (flows.size() > kHost)
    fetch_into_cache(&hosts_[ends_[flows[kHost]].host].report, sizeof(HostReport));
}

void World::settle_flows() {
  links_.settle();
  const std::span<const FlowId> changed = links_.changed();
  for (std::size_t i = 0; i < changed.size(); ++i) {
    fetch_changed(changed.subspan(i));
    const FlowId flow = changed[i];
    advance(flow);
    ends_[flow].rate = links_.rate(flow);
    schedule_end(flow);
  }
}

void World::on_flow_end(EndIndex index) {
  End& end = ends_[index];
  if (end.scheduled != now_) return;
  end.scheduled = kNever;
  if (end.queue.empty()) return;
  advance(index);
  if (end.left > kRoundingBytes) return schedule_end(index);
  const Send send = end.queue.front();
  events_.push(arrival(index ^ 1), EventKind::kChunkArrived, index ^ 1, send.chunk,
               send.length - end.told);
  next_send(index);
  tell_swarm(end.host, &peer::Swarm::on_chunk_sent, index + 1, send.chunk);
  drain(end.host);
}

void World::on_progress(EndIndex index) {
  End& end = ends_[index];
  end.progress_at = kNever;
  if (end.queue.empty()) return;
  advance(index);
  const Send& send = end.queue.front();
  const auto out = static_cast<std::uint32_t>(send.length - end.left);
  if (out > end.told) {
    events_.push(arrival(index ^ 1), EventKind::kData, index ^ 1, send.chunk, out - end.told);
    end.told = out;
  }
  schedule_end(index);
}

void World::stop_send(EndIndex index, ChunkIndex chunk) {
  End& end = ends_[index];
  if (!end.open) return;
  const auto found = std::find_if(end.queue.begin(), end.queue.end(),
                                  [&](const Send& send) { return send.chunk == chunk; });
  if (found == end.queue.end()) return;  // it is out, and was told to be
  if (found == end.queue.begin()) {
    advance(index);
    const auto out = static_cast<std::uint32_t>(found->length - end.left);
    if (out > end.told)
      events_.push(arrival(index ^ 1), EventKind::kData, index ^ 1, chunk, out - end.told);
    next_send(index);
  } else {
    end.queue.erase(found);
  }
  events_.push(now_, EventKind::kSendStopped, index, chunk);
}

void World::note_data(EndIndex to, ChunkIndex chunk, std::uint32_t bytes) {
  const End& end = ends_[to];
  const bool dropped =
      std::find(end.dropped.begin(), end.dropped.end(), chunk) != end.dropped.end();
  tell_swarm(end.host, dropped ? &peer::Swarm::on_dropped_data : &peer::Swarm::on_data, to + 1,
             chunk, bytes);
}

void World::deliver_data(EndIndex to, ChunkIndex chunk, std::uint32_t bytes) {
  const End& end = ends_[to];
  if (!end.open || !is_alive(to)) return;
  note_data(to, chunk, bytes);
  drain(end.host);
}

void World::on_chunk_arrived(EndIndex to, ChunkIndex chunk, std::uint32_t bytes) {
  End& end = ends_[to];
  if (!end.open || !is_alive(to)) return;
  Host& host = hosts_[end.host];
  note_data(to, chunk, bytes);
  drain(end.host);
  if (!end.open || !is_alive(to)) return;
  if (!expect_no_more(to, chunk)) {
    if (!erase(end.dropped, chunk))
      broken(ends_[to ^ 1].host, absl::StrCat("it sends chunk ", chunk, ", not asked for"));
    return;
  }
  const Host& from = hosts_[ends_[to ^ 1].host];
  if (trace_file_ != nullptr && !from.report.liar)
    std::fprintf(trace_file_, "chunk %.9f %u %u %u\n", to_seconds(now_.time_since_epoch()),
                 end.host, chunk, ends_[to ^ 1].host);
  if (from.report.liar) {
    tell_swarm(end.host, &peer::Swarm::on_chunk_corrupt, to + 1, chunk);
    return drain(end.host);
  }
  if (scenario_.disk == 0) return on_verified(to, chunk, end.life);
  host.disk_free_at =
      std::max(host.disk_free_at, now_) + from_seconds(layout_.length_of(chunk) / scenario_.disk);
  events_.push(host.disk_free_at, EventKind::kVerified, to, chunk, end.life);
  drain(end.host);
}

void World::on_verified(EndIndex to, ChunkIndex chunk, std::uint32_t life) {
  const End& end = ends_[to];
  Host& host = hosts_[end.host];
  if (!host.core || host.core->life != life) return;
  host.verified.set(chunk);
  tell_swarm(end.host, &peer::Swarm::on_chunk_verified, to + 1, chunk);
  drain(end.host);
}

// --- what was asked for, as net/chunk_inbox.cc and the window see it

void World::expect(EndIndex index, ChunkIndex chunk) {
  End& end = ends_[index];
  if (!end.open || contains(end.expected, chunk)) return;  // named by a Give already
  end.expected.push_back(chunk);
  ++hosts_[end.host].core->on_way;
  check_window(end.host);
}

// Returns whether it was expected.
bool World::expect_no_more(EndIndex index, ChunkIndex chunk) {
  End& end = ends_[index];
  if (!erase(end.expected, chunk)) return false;
  --hosts_[end.host].core->on_way;
  return true;
}

void World::drop_expected(EndIndex index, ChunkIndex chunk) {
  if (ends_[index].open && expect_no_more(index, chunk)) ends_[index].dropped.push_back(chunk);
}

void World::note_asked(EndIndex index, const peer::Message& message) {
  End& end = ends_[index];
  if (!end.open) return;
  Core& core = *hosts_[end.host].core;
  const auto* request = std::get_if<peer::Request>(&message);
  const auto* cancel = std::get_if<peer::Cancel>(&message);
  if (request != nullptr && request->chunk == peer::kAnyChunk) {
    ++end.anys;
    ++core.on_way;
    check_window(end.host);
  } else if (cancel != nullptr && cancel->chunk == peer::kAnyChunk &&
             end.cancelled_anys < end.anys) {
    ++end.cancelled_anys;
    --core.on_way;
  }
}

void World::note_answer(EndIndex index, const peer::Message& message) {
  End& end = ends_[index];
  Core& core = *hosts_[end.host].core;
  const auto any_answered = [&](bool prefers_cancelled) {
    if (end.anys == 0) return;
    const bool cancelled =
        end.cancelled_anys == end.anys || (prefers_cancelled && end.cancelled_anys > 0);
    --end.anys;
    --(cancelled ? end.cancelled_anys : core.on_way);
  };
  if (const auto* give = std::get_if<peer::Give>(&message)) {
    any_answered(false);
    expect(index, give->chunk);
  } else if (const auto* reject = std::get_if<peer::Reject>(&message)) {
    if (reject->chunk == peer::kAnyChunk)
      return any_answered(reject->reason == peer::RejectReason::kCancelled);
    expect_no_more(index, reject->chunk);
    erase(end.dropped, reject->chunk);
  }
}

void World::forget_asked(EndIndex index) {
  End& end = ends_[index];
  Core& core = *hosts_[end.host].core;
  core.on_way -= static_cast<std::uint32_t>(end.expected.size()) + end.anys - end.cancelled_anys;
  end.expected.clear();
  end.dropped.clear();
  end.anys = end.cancelled_anys = 0;
}

void World::check_window(HostIndex host) const {
  const std::size_t most =
      std::max<std::size_t>(scenario_.schedule.max_window_bytes / layout_.chunk_bytes, 1);
  // One that is overdue counts in the window no longer, and may be asked of one more.
  check_cap(host, "chunks on their way", hosts_[host].core->on_way, 2 * most);
}

}  // namespace p2p::sim
