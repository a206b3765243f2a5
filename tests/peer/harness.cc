#include "tests/peer/harness.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace p2p::peer {
namespace {

// The shell tells of data that often.
constexpr Duration kProgressInterval = std::chrono::milliseconds(200);
// Less than this of a chunk is rounding.
constexpr double kRounding = 1e-3;

}  // namespace

World::World(WorldOptions options) : options_(std::move(options)), random_(options_.seed) {}

World::PeerNumber World::add_seeder(Rates rates, Behaviour behaviour) {
  return add_peer(Bitfield(options_.layout.chunk_count(), true), rates, std::move(behaviour));
}

World::PeerNumber World::add_fetcher(Rates rates, Behaviour behaviour) {
  return add_peer(Bitfield(options_.layout.chunk_count()), rates, std::move(behaviour));
}

World::PeerNumber World::add_peer(Bitfield have, Rates rates, Behaviour behaviour,
                                  std::vector<PartialChunk> partial) {
  Peer peer;
  peer.swarm = std::make_unique<Swarm>(options_.swarm, options_.layout, std::move(have),
                                       Random(random_.next()), now_, std::move(partial));
  peer.rates = rates;
  peer.behaviour = std::move(behaviour);
  peers_.push_back(std::move(peer));
  return peers_.size() - 1;
}

void World::at(Time when, std::function<void()> what) {
  events_.push({when, orders_++, std::move(what)});
}

void World::after(Duration delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }

void World::note(std::uint64_t value) { trace_ = (trace_ ^ value) * 0x100000001b3u; }

void World::connect(PeerNumber a, PeerNumber b) {
  for (PeerNumber owner : {a, b}) {
    auto end = std::make_unique<End>();
    end->id = ends_.size() + 1;
    end->owner = owner;
    end->other_owner = owner == a ? b : a;
    end->told = Bitfield(options_.layout.chunk_count());
    ends_.push_back(std::move(end));
  }
  End* first = ends_[ends_.size() - 2].get();
  End* second = ends_.back().get();
  first->other = second;
  second->other = first;
  for (End* end : {first, second}) {
    peers_[end->owner].ends.push_back(end);
    PeerId id;
    put_u64(id.bytes.data(), end->other_owner);
    peers_[end->owner].swarm->on_connected(end->id, id, now_);
  }
  drain(a);
  drain(b);
}

void World::connect_all() {
  for (PeerNumber a = 0; a < peers_.size(); ++a)
    for (PeerNumber b = a + 1; b < peers_.size(); ++b) connect(a, b);
}

bool World::connected(PeerNumber a, PeerNumber b) const {
  return std::any_of(peers_[a].ends.begin(), peers_[a].ends.end(),
                     [&](const End* end) { return end->open && end->other_owner == b; });
}

void World::connect_randomly(std::size_t degree) {
  for (PeerNumber peer = 0; peer < peers_.size(); ++peer) {
    std::vector<PeerNumber> others;
    for (PeerNumber other = 0; other < peers_.size(); ++other)
      if (other != peer && !connected(peer, other)) others.push_back(other);
    random_.shuffle(others);
    for (PeerNumber other : others) {
      if (peers_[peer].ends.size() >= degree) break;
      if (peers_[other].ends.size() < degree + degree / 2) connect(peer, other);
    }
  }
}

void World::kill(PeerNumber peer) {
  peers_[peer].alive = false;
  for (End* end : peers_[peer].ends)
    if (end->open) close_end(*end);
}

// The other side hears of it after the latency.
void World::close_end(End& end) {
  end.open = false;
  end.queue.clear();
  flows_changed_ = true;
  End* other = end.other;
  at(now_ + options_.latency, [this, other] {
    if (!other->open) return;
    other->open = false;
    other->queue.clear();
    flows_changed_ = true;
    if (!peers_[other->owner].alive) return;
    peers_[other->owner].swarm->on_disconnected(other->id, now_);
    drain(other->owner);
  });
}

World::End* World::find_end(PeerNumber peer, ConnectionId id) {
  P2P_CHECK(id >= 1 && id <= ends_.size());
  End* end = ends_[id - 1].get();
  P2P_CHECK(end->owner == peer);
  return end;
}

std::optional<Bye> World::said_bye(PeerNumber who, PeerNumber whom) const {
  std::optional<Bye> last;
  for (const auto& [other, bye] : peers_[who].byes)
    if (other == whom) last = bye;
  return last;
}

double World::copies_sent(PeerNumber peer) const {
  return static_cast<double>(peers_[peer].chunks_sent) / options_.layout.chunk_count();
}

Time World::last_completion() const {
  Time last{};
  for (const Peer& peer : peers_)
    if (peer.completed_at) last = std::max(last, *peer.completed_at);
  return last;
}

// --- what swarms do

void World::drain(PeerNumber number) {
  Peer& peer = peers_[number];
  while (auto action = peer.swarm->poll_action()) act(number, *action);
  const Time wake = peer.swarm->next_timeout();
  if (wake >= peer.wake_at) return;
  peer.wake_at = wake;
  at(std::max(wake, now_), [this, number, wake] {
    Peer& sleeper = peers_[number];
    if (sleeper.wake_at != wake) return;
    sleeper.wake_at = kNever;
    if (!sleeper.alive) return;
    sleeper.swarm->on_timeout(now_);
    drain(number);
  });
}

void World::act(PeerNumber number, const SwarmAction& action) {
  Peer& peer = peers_[number];
  note(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
  note(number * 16 + action.index());
  if (const auto* message = std::get_if<SendMessage>(&action)) {
    End* end = find_end(number, message->connection);
    P2P_CHECK(end->open);
    for (std::uint8_t byte : encode(message->message)) note(byte);
    check_message(*end, message->message);
    deliver_message(*end, message->message);
  } else if (const auto* receive = std::get_if<ReceiveChunk>(&action)) {
    End* end = find_end(number, receive->connection);
    P2P_CHECK(!peer.swarm->have().test(receive->chunk));
    end->expected.insert(receive->chunk);
    end->dropped.erase(receive->chunk);
  } else if (const auto* drop = std::get_if<DropChunk>(&action)) {
    End* end = find_end(number, drop->connection);
    end->expected.erase(drop->chunk);
    end->dropped.insert(drop->chunk);
  } else if (const auto* send = std::get_if<SendChunk>(&action)) {
    P2P_CHECK(peer.swarm->have().test(send->chunk));
    peer.sends.push_back(send->chunk);
    begin_send(*find_end(number, send->connection), send->chunk);
  } else if (const auto* stop = std::get_if<StopSending>(&action)) {
    ++peer.stops;
    stop_send(*find_end(number, stop->connection), stop->chunk);
  } else if (const auto* disconnect = std::get_if<Disconnect>(&action)) {
    End* end = find_end(number, disconnect->connection);
    P2P_CHECK(end->open);
    P2P_CHECK(disconnect->bye.text.size() <= kMaxByeTextBytes);
    peer.byes.emplace_back(end->other_owner, disconnect->bye);
    if (disconnect->ban) peer.banned.insert(end->other_owner);
    close_end(*end);
  } else if (const auto* report = std::get_if<Report>(&action)) {
    peer.reports.push_back(*report);
  } else {
    P2P_CHECK(!peer.completed_at && peer.swarm->complete());
    peer.completed_at = now_;
  }
}

// Only what is verified is advertised; only what was advertised is asked for.
void World::check_message(End& end, const Message& message) {
  const Bitfield& have = peers_[end.owner].swarm->have();
  if (const auto* chunks = std::get_if<Chunks>(&message)) {
    P2P_CHECK(!chunks->have.has_any_not_in(have));
  } else if (const auto* more = std::get_if<Have>(&message)) {
    for (ChunkIndex chunk : more->chunks) P2P_CHECK(have.test(chunk));
  } else if (const auto* give = std::get_if<Give>(&message)) {
    P2P_CHECK(have.test(give->chunk));
  } else if (const auto* request = std::get_if<Request>(&message)) {
    if (request->chunk == kAnyChunk) return;
    P2P_CHECK(end.told.test(request->chunk));
    P2P_CHECK(!have.test(request->chunk));
  }
}

void World::deliver_message(End& from, const Message& message) {
  End* to = from.other;
  at(now_ + options_.latency, [this, to, message] {
    if (!to->open || !peers_[to->owner].alive) return;
    if (const auto* chunks = std::get_if<Chunks>(&message)) {
      to->told = chunks->have;
    } else if (const auto* have = std::get_if<Have>(&message)) {
      for (ChunkIndex chunk : have->chunks) to->told.set(chunk);
    } else if (const auto* lost = std::get_if<Lost>(&message)) {
      for (ChunkIndex chunk : lost->chunks) to->told.reset(chunk);
    } else if (const auto* give = std::get_if<Give>(&message)) {
      to->told.set(give->chunk);
    } else if (const auto* partial = std::get_if<Partial>(&message)) {
      for (const PartialChunk& chunk : partial->chunks) {
        to->partial.erase(chunk.chunk);
        const std::uint64_t bytes = bytes_of_ranges(chunk.missing);
        if (bytes > 0) to->partial[chunk.chunk] = static_cast<std::uint32_t>(bytes);
      }
    } else if (const auto* reject = std::get_if<Reject>(&message)) {
      to->dropped.erase(reject->chunk);
    } else if (const auto* request = std::get_if<Request>(&message)) {
      if (peers_[to->owner].behaviour.rejects_all)
        return deliver_message(*to, Reject{request->chunk, RejectReason::kNotHere});
    }
    Swarm& swarm = *peers_[to->owner].swarm;
    swarm.on_message(to->id, message, now_);
    drain(to->owner);
  });
}

// --- data

void World::begin_send(End& end, ChunkIndex chunk) {
  const Behaviour& behaviour = peers_[end.owner].behaviour;
  if (behaviour.never_sends) return;
  if (behaviour.trickles) return trickle(end, chunk, 0);
  const auto partial = end.partial.find(chunk);
  const std::uint32_t bytes =
      partial == end.partial.end() ? options_.layout.length_of(chunk) : partial->second;
  end.queue.push_back({chunk, bytes, static_cast<double>(bytes)});
  flows_changed_ = true;
}

void World::trickle(End& end, ChunkIndex chunk, std::uint32_t sent) {
  at(now_ + std::chrono::seconds(10), [this, &end, chunk, sent] {
    if (!end.open || !end.other->open || sent + 1 >= options_.layout.length_of(chunk)) return;
    deliver_data(*end.other, chunk, 1, false, false);
    trickle(end, chunk, sent + 1);
  });
}

void World::stop_send(End& end, ChunkIndex chunk) {
  advance_flows();
  const auto found =
      std::find_if(end.queue.begin(), end.queue.end(),
                   [&](const Transfer& transfer) { return transfer.chunk == chunk; });
  if (found == end.queue.end()) return;
  const double gone = options_.layout.length_of(chunk) - found->left;
  const auto bytes = static_cast<std::uint32_t>(gone) - found->reported;
  if (bytes > 0) {
    End* to = end.other;
    at(now_ + options_.latency,
       [this, to, chunk, bytes] { deliver_data(*to, chunk, bytes, false, false); });
  }
  end.queue.erase(found);
  flows_changed_ = true;
  at(now_, [this, &end, chunk] {
    if (!end.open || !peers_[end.owner].alive) return;
    peers_[end.owner].swarm->on_send_stopped(end.id, chunk, now_);
    drain(end.owner);
  });
}

void World::end_send(End& end) {
  const Transfer transfer = end.queue.front();
  end.queue.pop_front();
  flows_changed_ = true;
  Peer& peer = peers_[end.owner];
  ++peer.chunks_sent;
  End* to = end.other;
  const ChunkIndex chunk = transfer.chunk;
  const std::uint32_t rest = transfer.bytes - transfer.reported;
  const bool partial = transfer.bytes < options_.layout.length_of(chunk);
  peer.bytes_sent += transfer.bytes;
  const bool corrupt = peer.behaviour.corrupts && peer.behaviour.corrupts(chunk);
  at(now_ + options_.latency, [this, to, chunk, rest, corrupt, partial] {
    deliver_data(*to, chunk, rest, true, corrupt, partial);
  });
  peer.swarm->on_chunk_sent(end.id, chunk, now_);
  drain(end.owner);
}

void World::deliver_data(End& to, ChunkIndex chunk, std::uint32_t bytes, bool last, bool corrupt,
                         bool partial) {
  if (!to.open || !peers_[to.owner].alive) return;
  const bool wanted = to.expected.contains(chunk);
  P2P_CHECK(wanted || to.dropped.contains(chunk));
  Swarm& swarm = *peers_[to.owner].swarm;
  if (wanted)
    swarm.on_data(to.id, chunk, bytes, now_);
  else
    swarm.on_dropped_data(to.id, chunk, bytes, now_);
  drain(to.owner);
  if (!last || !to.open) return;
  to.expected.erase(chunk);
  to.dropped.erase(chunk);
  if (!wanted) return;
  const auto& misknows = peers_[to.owner].behaviour.misknows;
  if (partial && (corrupt || (misknows && misknows(chunk)))) {
    swarm.on_chunk_misfit(to.id, chunk, now_);
  } else if (corrupt) {
    swarm.on_chunk_corrupt(to.id, chunk, now_);
  } else {
    swarm.on_chunk_verified(to.id, chunk, now_);
  }
  drain(to.owner);
}

// --- links

bool World::flows(const End& end) const {
  return end.open && !end.queue.empty() && peers_[end.owner].alive &&
         !peers_[end.other_owner].behaviour.never_reads;
}

void World::advance_flows() {
  for (End* end : flowing_) {
    if (!end->queue.empty())
      end->queue.front().left =
          std::max(end->queue.front().left - end->rate * to_seconds(now_ - end->updated), 0.0);
    end->updated = now_;
  }
}

// Max-min fair shares by progressive filling: the link that gives its transfers least is settled
// first, and what they do not use elsewhere is shared by the others.
void World::share_links() {
  flows_changed_ = false;
  flowing_.clear();
  struct Link {
    double left;
    unsigned open = 0;
  };
  std::vector<Link> links(peers_.size() * 2);
  for (PeerNumber i = 0; i < peers_.size(); ++i) {
    links[2 * i].left = peers_[i].rates.up;
    links[2 * i + 1].left = peers_[i].rates.down;
  }
  for (const auto& end : ends_) {
    if (!flows(*end)) continue;
    if (end->updated < now_) end->updated = now_;
    flowing_.push_back(end.get());
    ++links[2 * end->owner].open;
    ++links[2 * end->other_owner + 1].open;
  }
  std::vector<End*> unsettled = flowing_;
  while (!unsettled.empty()) {
    double least = 1e300;
    for (const Link& link : links)
      if (link.open > 0) least = std::min(least, link.left / link.open);
    const double limit = least * (1 + 1e-9);
    std::vector<bool> full(links.size());
    for (std::size_t i = 0; i < links.size(); ++i)
      full[i] = links[i].open > 0 && links[i].left / links[i].open <= limit;
    std::erase_if(unsettled, [&](End* end) {
      const std::size_t up = 2 * end->owner;
      const std::size_t down = 2 * end->other_owner + 1;
      if (!full[up] && !full[down]) return false;
      end->rate = least;
      for (std::size_t link : {up, down}) {
        links[link].left = std::max(links[link].left - least, 0.0);
        --links[link].open;
      }
      return true;
    });
  }
  next_flow_end_ = kNever;
  for (const End* end : flowing_) {
    const double seconds = end->queue.front().left / end->rate;
    // Rounded up: at that moment nothing is left.
    const Time ends = now_ + from_seconds(std::min(seconds, 1e6)) + Duration(1);
    next_flow_end_ = std::min(next_flow_end_, ends);
  }
}

void World::report_progress() {
  advance_flows();
  next_progress_ = now_ + kProgressInterval;
  for (End* end : flowing_) {
    if (end->queue.empty()) continue;
    Transfer& transfer = end->queue.front();
    const auto gone = static_cast<std::uint32_t>(transfer.bytes - transfer.left);
    if (gone <= transfer.reported) continue;
    const std::uint32_t bytes = gone - transfer.reported;
    transfer.reported = gone;
    End* to = end->other;
    const ChunkIndex chunk = transfer.chunk;
    at(now_ + options_.latency,
       [this, to, chunk, bytes] { deliver_data(*to, chunk, bytes, false, false); });
  }
}

void World::run(Duration limit, const std::function<bool()>& done) {
  const Time end = now_ + limit;
  while (!done()) {
    if (flows_changed_) {
      advance_flows();
      share_links();
    }
    Time next = std::min(events_.empty() ? kNever : events_.top().at, next_flow_end_);
    if (!flowing_.empty()) next = std::min(next, std::max(next_progress_, now_));
    if (next > end) {
      now_ = end;
      advance_flows();
      return;
    }
    now_ = std::max(now_, next);
    ++events_done_;
    if (next_flow_end_ <= now_) {
      advance_flows();
      next_flow_end_ = kNever;
      flows_changed_ = true;
      const std::vector<End*> flowing = flowing_;
      for (End* flow : flowing)
        if (flows(*flow) && flow->queue.front().left <= kRounding) end_send(*flow);
    } else if (!events_.empty() && events_.top().at <= now_) {
      const Event event = events_.top();
      events_.pop();
      event.what();
    } else {
      report_progress();
    }
  }
}

bool World::run_to_completion(Duration limit, const std::set<PeerNumber>& but) {
  const auto all_complete = [&] {
    for (PeerNumber i = 0; i < peers_.size(); ++i)
      if (peers_[i].alive && !but.contains(i) && !peers_[i].swarm->complete()) return false;
    return true;
  };
  run(limit, all_complete);
  return all_complete();
}

}  // namespace p2p::peer
