#include "tools/sim/world.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/units.h"
#include "content/manifest.h"
#include "crypto/digest.h"

namespace p2p::sim {
namespace {

constexpr std::uint16_t kFirstPort = 7000;

IpAddress address_of(HostIndex host, std::uint32_t rack) {
  // 10.rack.x.y, or 10.x.y.z where there is one rack.
  std::array<std::uint8_t, 4> bytes{10, static_cast<std::uint8_t>(host >> 16),
                                    static_cast<std::uint8_t>(host >> 8),
                                    static_cast<std::uint8_t>(host)};
  if (rack > 0) bytes[1] = static_cast<std::uint8_t>(128 + rack);
  return *IpAddress::from_bytes(bytes);
}

Manifest make_manifest(const Layout& layout, Random random) {
  Manifest manifest;
  manifest.name = "content";
  manifest.chunk_bytes = layout.chunk_bytes;
  Entry file;
  file.size_bytes = layout.total_bytes;
  manifest.entries.push_back(file);
  manifest.chunk_hashes.resize(layout.chunk_count());
  for (Digest& digest : manifest.chunk_hashes)
    for (std::uint8_t& byte : digest.bytes) byte = static_cast<std::uint8_t>(random.next());
  return manifest;
}

}  // namespace

World::World(const Scenario& scenario, Tape* tape)
    : scenario_(scenario),
      layout_(scenario.layout()),
      random_(scenario.seed),
      loss_random_(random_.fork("loss")),
      events_(scenario.latency),
      bucket_width_(from_seconds(std::max(scenario.fluid_bound_seconds() * 2 / kUseBuckets, 1e-6))),
      tape_(tape) {
  slice_end_ = Time{} + bucket_width_;
  manifest_ = encode_manifest(make_manifest(layout_, random_.fork("manifest")));
  content_ = content_id_of(manifest_);
  swarm_id_.bytes[0] = 1;
  for (std::uint32_t rack = 0; scenario_.racks > 1 && rack < scenario_.racks; ++rack) {
    rack_up_.push_back(links_.add(scenario_.rack_rate));
    rack_down_.push_back(links_.add(scenario_.rack_rate));
  }
  const HostIndex count = scenario_.peers + scenario_.seeders;
  hosts_.resize(count);
  for (HostIndex i = 0; i < count; ++i) {
    Host& host = hosts_[i];
    host.report.seeder = i >= scenario_.peers;
    host.rack = host.report.seeder ? (i - scenario_.peers) % scenario_.racks : i % scenario_.racks;
    host.report.rack = host.rack;
    host.endpoint = {address_of(i, scenario_.racks > 1 ? host.rack + 1 : 0), kFirstPort};
  }
  plan_faults();
  for (HostIndex i = 0; i < count; ++i) {
    Host& host = hosts_[i];
    const bool slow = host.report.slow;
    const double up = host.report.seeder ? scenario_.seeder_up() : scenario_.up;
    host.up = links_.add(slow ? scenario_.slow_rate : up);
    host.down = links_.add(slow ? scenario_.slow_rate : scenario_.down);
    if (host.report.seeder) {
      host.verified = Bitfield(layout_.chunk_count(), true);
    } else if (!host.report.liar) {
      ++unfinished_;
    }
  }
  start_owners();
  for (HostIndex i = scenario_.peers; i < count; ++i) start_host(i);
  Random arrivals = random_.fork("arrivals");
  double at = 0;
  // The seeders' announces are in place before anybody asks.
  const Duration ready = 10 * scenario_.latency;
  for (HostIndex i = 0; i < scenario_.peers; ++i) {
    if (scenario_.arrival == Scenario::Arrival::kPoisson)
      at += -std::log(1 - arrivals.unit()) / scenario_.arrive_rate;
    else
      at = to_seconds(scenario_.arrive_over) * i / scenario_.peers;
    events_.push(Time{} + ready + from_seconds(at), EventKind::kArrive, i);
  }
  plan_events(Time{} + ready);
}

World::~World() = default;

void World::broken(HostIndex host, const std::string& what) const {
  throw Broken(
      absl::StrCat("at ", to_seconds(now_.time_since_epoch()), " s, host ", host, ": ", what));
}

void World::run(Duration limit) {
  end_of_time_ = Time{} + limit;
  while (unfinished_ > 0) {
    if (events_.empty()) throw Broken("nothing is left to happen, and not all are complete");
    const Event event = events_.pop();
    fetch_ahead();
    if (event.at > end_of_time_)
      throw Broken(absl::StrCat(unfinished_, " peers are not complete after ",
                                format_duration(limit), "\n", describe_unfinished(2)));
    P2P_CHECK(event.at >= now_);
    now_ = event.at;
    ++events_done_;
    ++by_kind_[static_cast<std::size_t>(event.kind())];
    dispatch(event);
    if (links_.dirty()) settle_flows();
  }
  for (Host& host : hosts_)
    if (host.core) collect(*host.core);
}

void World::dispatch(const Event& event) {
  switch (event.kind()) {
    case EventKind::kMessage: {
      peer::Message message = in_flight_.take(event.b);
      return on_message(event.a, message);
    }
    case EventKind::kData:
      return deliver_data(event.a, event.b, event.c);
    case EventKind::kFlowEnd:
      return on_flow_end(event.a);
    case EventKind::kChunkArrived:
      return on_chunk_arrived(event.a, event.b, event.c);
    case EventKind::kVerified:
      return on_verified(event.a, event.b, event.c);
    case EventKind::kProgress:
      return on_progress(event.a);
    case EventKind::kClosed:
      return on_closed(event.a);
    case EventKind::kHostTimer:
      return on_host_timer(event.a);
    case EventKind::kDialArrived:
      return on_dial_arrived(event.a);
    case EventKind::kSendStopped:
      if (!is_alive(event.a) || !ends_[event.a].open) return;
      tell_swarm(ends_[event.a].host, &peer::Swarm::on_send_stopped, event.a + 1, event.b);
      return drain(ends_[event.a].host);
    case EventKind::kUnreadable:
      if (!is_alive(event.a)) return;
      hosts_[ends_[event.a].host].verified.reset(event.b);
      tell_swarm(ends_[event.a].host, &peer::Swarm::on_chunk_unreadable, event.a + 1, event.b);
      return drain(ends_[event.a].host);
    case EventKind::kArrive:
      hosts_[event.a].report.arrived = now_;
      return start_host(event.a);
    case EventKind::kKill:
      return kill(event.a);
    case EventKind::kRestart:
      return restart(event.a);
    case EventKind::kLeave:
      if (hosts_[event.a].core && hosts_[event.a].core->life == event.c) leave(event.a);
      return;
    case EventKind::kOwnerUp:
      return on_owner_up(event.a, event.b, event.c);
    case EventKind::kOwnerGone:
      return on_owner_gone(event.a);
    case EventKind::kOwnerLost:
      return on_owner_lost(event.a);
    case EventKind::kToOwner:
      return on_to_owner(owner_in_flight_.take(event.a));
    case EventKind::kFromOwner:
      return on_from_owner(owner_in_flight_.take(event.a));
    case EventKind::kOwnerTimer:
      return on_owner_timer(event.a);
    case EventKind::kTrackerDown:
      return on_tracker_down();
    case EventKind::kTrackerUp:
      return on_tracker_up();
    case EventKind::kListed:
      return on_listed(scenario_.events[event.a]);
    case EventKind::kCount:
      break;
  }
}

// --- hosts

void World::start_host(HostIndex index) {
  Host& host = hosts_[index];
  P2P_CHECK(!host.core);
  host.core = std::make_unique<Core>();
  Core& core = *host.core;
  core.life = ++host.lives;
  Random random = random_.fork(absl::StrCat("host ", index, " life ", core.life));
  for (std::uint8_t& byte : core.id.bytes) byte = static_cast<std::uint8_t>(random.next());
  // A process that starts again listens on another port.
  host.endpoint.port = static_cast<std::uint16_t>(kFirstPort + core.life % 10'000);
  peer::PeerBookConfig config;
  config.self = core.id;
  config.degree = scenario_.degree;
  config.max_neighbours = scenario_.max_neighbours;
  config.zone = zone_of(index);
  core.book = std::make_unique<peer::PeerBook>(config, random.fork("peer book"), now_);
  core.book->set_busy_test([this, &core](peer::ConnectionId connection) {
    return core.swarm && core.swarm->is_busy_with(connection, now_);
  });
  if (host.verified.size() > 0) {
    start_swarm(index, host.verified);
  } else {
    core.manifest = std::make_unique<peer::ManifestFetch>(content_);
  }
  start_announcer(index);
  if (scenario_.direct && !host.report.seeder) {
    std::vector<Endpoint> seeders;
    for (HostIndex i = scenario_.peers; i < hosts_.size(); ++i)
      seeders.push_back(hosts_[i].endpoint);
    core.book->on_candidates(seeders, true, now_);
  }
  core.book_dirty = true;
  drain(index);
}

void World::start_swarm(HostIndex index, Bitfield have) {
  Host& host = hosts_[index];
  Core& core = *host.core;
  Random random = random_.fork(absl::StrCat("swarm ", index, " life ", core.life));
  const bool complete = have.all();
  const auto make = [config = scenario_.schedule, layout = layout_, have = std::move(have), random,
                     now = now_] {
    return std::make_unique<peer::Swarm>(config, layout, have, random, now);
  };
  core.swarm = make();
  if (Tape* tape = tape_of(index)) tape->start(make);
  core.manifest.reset();
  if (complete) core.book->set_complete(now_);
  core.book_dirty = true;
  const std::vector<EndIndex> ends = core.ends;
  for (EndIndex end : ends)
    if (ends_[end].joined) enter_swarm(end);
}

void World::drain(HostIndex index) {
  Host& host = hosts_[index];
  if (!host.core) return;
  Core& core = *host.core;
  bool again = true;
  while (again) {
    again = false;
    if (core.swarm) {
      while (auto action = core.swarm->poll_action()) {
        if (Tape* tape = tape_of(index)) tape->note(*action);
        if (!tamper_) {
          act(index, *action);
          continue;
        }
        for (peer::SwarmAction& instead : tamper_(index, std::move(*action))) act(index, instead);
      }
    } else if (core.manifest) {
      again |= drain_manifest(index);
    }
    // Without the manifest as well: those around may be waiting for it themselves.
    const peer::Hunger hunger = core.swarm ? core.swarm->hunger() : peer::Hunger::kStarved;
    if (hunger != core.hunger) {
      core.hunger = hunger;
      core.book->set_hunger(hunger, now_);
      core.announcer->set_starving(hunger == peer::Hunger::kStarved, now_);
      core.book_dirty = true;
    }
    if (core.book_dirty) {
      core.book_dirty = false;
      again = drain_book(index) || again;
      announcer_of(core).set_wanted(core.book->wanted(), now_);
    }
    if (core.announcer_dirty) {
      again |= drain_announcer(index);
      core.announcer_dirty = false;
      core.outer_wake = std::min(core.book->next_timeout(), core.announcer->next_timeout());
    }
  }
  Time wake = core.outer_wake;
  if (core.swarm) wake = std::min(wake, core.swarm->next_timeout());
  if (core.manifest) wake = std::min(wake, core.manifest->next_timeout());
  if (wake >= core.wake_at) return;
  core.wake_at = std::max(wake, now_);
  events_.push(core.wake_at, EventKind::kHostTimer, index);
}

void World::on_host_timer(HostIndex index) {
  Host& host = hosts_[index];
  if (!host.core || host.core->wake_at != now_) return;  // of an earlier life, or moved
  Core& core = *host.core;
  core.wake_at = kNever;
  if (core.book->next_timeout() <= now_) {
    core.book->on_timeout(now_);
    core.book_dirty = true;
  }
  if (core.announcer->next_timeout() <= now_) announcer_of(core).on_timeout(now_);
  if (core.swarm) tell_swarm(index, &peer::Swarm::on_timeout);
  if (core.manifest) core.manifest->on_timeout(now_);
  drain(index);
}

bool World::drain_book(HostIndex index) {
  bool any = false;
  while (auto action = hosts_[index].core->book->poll_action()) {
    any = true;
    if (auto* call = std::get_if<peer::Dial>(&*action)) {
      dial(index, call->endpoint);
    } else if (auto* close = std::get_if<peer::Close>(&*action)) {
      const auto end = static_cast<EndIndex>(close->connection - 1);
      if (ends_[end].open && !close->known.empty()) send(end, peer::Peers{std::move(close->known)});
      say_bye(end, std::move(close->bye));
    } else if (auto* peers = std::get_if<peer::SendPeers>(&*action)) {
      send(static_cast<EndIndex>(peers->connection - 1), peer::Peers{std::move(peers->endpoints)});
    }
  }
  return any;
}

bool World::drain_manifest(HostIndex index) {
  bool any = false;
  Core& core = *hosts_[index].core;
  while (core.manifest) {
    auto action = core.manifest->poll_action();
    if (!action) break;
    any = true;
    if (auto* message = std::get_if<peer::SendMessage>(&*action)) {
      send(static_cast<EndIndex>(message->connection - 1), std::move(message->message));
    } else if (auto* disconnect = std::get_if<peer::Disconnect>(&*action)) {
      broken(index, absl::StrCat("a manifest was refused: ", disconnect->bye.text));
    } else {
      if (std::get<peer::ManifestDone>(*action).encoded != manifest_)
        broken(index, "another manifest than the seeder's");
      hosts_[index].verified = Bitfield(layout_.chunk_count());
      start_swarm(index, hosts_[index].verified);
    }
  }
  return any;
}

void World::act(HostIndex index, peer::SwarmAction& action) {
  Host& host = hosts_[index];
  note(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
  note((std::uint64_t{index} << 8) + action.index());
  const auto note_chunk = [this](const auto& of) { note(of.connection << 32 | of.chunk); };
  if (auto* message = std::get_if<peer::SendMessage>(&action)) {
    const auto end = static_cast<EndIndex>(message->connection - 1);
    note(end);
    check_sent(end, message->message);
    note_asked(end, message->message);
    send(end, std::move(message->message));
  } else if (auto* receive = std::get_if<peer::ReceiveChunk>(&action)) {
    note_chunk(*receive);
    if (has(index, receive->chunk)) broken(index, "it asked for a chunk that it has");
    expect(static_cast<EndIndex>(receive->connection - 1), receive->chunk);
  } else if (auto* drop = std::get_if<peer::DropChunk>(&action)) {
    note_chunk(*drop);
    drop_expected(static_cast<EndIndex>(drop->connection - 1), drop->chunk);
  } else if (auto* send = std::get_if<peer::SendChunk>(&action)) {
    note_chunk(*send);
    if (!has(index, send->chunk)) broken(index, "it sends a chunk that is not verified");
    begin_send(static_cast<EndIndex>(send->connection - 1), send->chunk);
  } else if (auto* stop = std::get_if<peer::StopSending>(&action)) {
    note_chunk(*stop);
    stop_send(static_cast<EndIndex>(stop->connection - 1), stop->chunk);
  } else if (auto* disconnect = std::get_if<peer::Disconnect>(&action)) {
    const auto end = static_cast<EndIndex>(disconnect->connection - 1);
    note(end);
    const Host& other = hosts_[ends_[end ^ 1].host];
    if (disconnect->bye.reason == peer::ByeReason::kViolation)
      broken(index, absl::StrCat("it says that host ", ends_[end ^ 1].host,
                                 " broke the protocol: ", disconnect->bye.text));
    if (disconnect->ban) {
      if (!other.report.liar) broken(index, "it bans an honest peer");
      if (other.core) host.core->book->ban(other.core->id);
    }
    say_bye(end, std::move(disconnect->bye));
  } else if (std::holds_alternative<peer::Completed>(action)) {
    completed(index);
  }
}

void World::completed(HostIndex index) {
  Host& host = hosts_[index];
  if (!host.verified.all()) broken(index, "it says that it is complete, and is not");
  if (host.report.completed != kNever) return;
  host.report.completed = now_;
  if (trace_file_ != nullptr)
    std::fprintf(trace_file_, "done %.9f %u\n", to_seconds(now_.time_since_epoch()), index);
  if (!host.report.liar) --unfinished_;
  host.core->book->set_complete(now_);
  host.core->book_dirty = true;
  announcer_of(*host.core).set_progress(tracker::kFullPermille, true, now_);
  const Duration stays =
      host.core->swarm->has_incomplete_neighbour() ? scenario_.linger : Duration{};
  events_.push(now_ + stays, EventKind::kLeave, index, 0, host.core->life);
}

// The process ends as it should.
void World::leave(HostIndex index) {
  Core& core = *hosts_[index].core;
  announcer_of(core).stop(now_);
  drain(index);
  const std::vector<EndIndex> ends = core.ends;
  for (EndIndex end : ends) say_bye(end, {peer::ByeReason::kStopping, ""});
  for (std::uint32_t connection : core.owner_connections)
    if (connection != 0) drop_owner_connection(connection);
  collect(core);
  hosts_[index].core.reset();
}

std::string World::describe_unfinished(std::size_t most) const {
  std::string text;
  for (HostIndex i = 0; i < scenario_.peers && most > 0; ++i) {
    const Host& host = hosts_[i];
    if (host.report.completed != kNever || host.report.liar) continue;
    --most;
    absl::StrAppend(&text, "host ", i, host.report.slow ? " (slow)" : "", " has ",
                    host.verified.count(), " of ", layout_.chunk_count(), " chunks");
    if (!host.core) {
      absl::StrAppend(&text, " and does not run\n");
      continue;
    }
    const Core& core = *host.core;
    absl::StrAppend(&text, "; dials ", core.book->dialing(),
                    core.hunger == peer::Hunger::kFed      ? ""
                    : core.hunger == peer::Hunger::kHungry ? "; hungry"
                                                           : "; starved",
                    core.book->has_candidates() ? "" : "; knows nobody else", "\n");
    for (EndIndex end : core.ends) {
      const End& theirs = ends_[end ^ 1];
      absl::StrAppend(&text, "  ", ends_[end].joined ? "neighbour " : "dialled ", theirs.host,
                      hosts_[theirs.host].report.slow ? " (slow)" : "", " has ",
                      hosts_[theirs.host].verified.count(), ", sends ", theirs.queue.size(),
                      " chunks at ", format_rate(theirs.rate), ", is sent ",
                      ends_[end].queue.size(), ", asked for ", ends_[end].expected.size(), "\n");
    }
  }
  return text;
}

std::vector<HostReport> World::hosts() const {
  std::vector<HostReport> reports;
  for (const Host& host : hosts_) reports.push_back(host.report);
  return reports;
}

}  // namespace p2p::sim
