#include "net/swarm_session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "net/log.h"

namespace p2p::net {
namespace {

// Between two Peers of a neighbour that are heeded. It sends them every kPeersInterval, and before
// a Bye.
constexpr Duration kMinPeersInterval = std::chrono::seconds(5);
// Failures are kept for as many addresses as a person could want to read.
constexpr std::size_t kMaxFailures = 100;
// Peers are counted up to this many.
constexpr std::size_t kMaxMet = 100'000;

peer::PeerBookConfig with_self(peer::PeerBookConfig config, const PeerId& self) {
  config.self = self;
  return config;
}

std::string_view text_of_bye(peer::ByeReason reason) {
  switch (reason) {
    case peer::ByeReason::kStopping:
      return "is stopping";
    case peer::ByeReason::kFull:
      return "has no room for another neighbour";
    case peer::ByeReason::kDuplicate:
      return "is connected to us already";
    case peer::ByeReason::kSelf:
      return "is this very process";
    case peer::ByeReason::kNotServed:
      return "does not serve this content";
    case peer::ByeReason::kBanned:
      return "has banned us";
    case peer::ByeReason::kViolation:
      return "says that we broke the protocol";
    case peer::ByeReason::kTimeout:
      return "waited too long for us";
    case peer::ByeReason::kBothComplete:
      return "is complete, as we are";
    case peer::ByeReason::kVersion:
      return "speaks another version of the protocol";
  }
  return "closed the connection";
}

bool is_verdict(const Event& event) {
  return std::holds_alternative<ChunkVerified>(event.what) ||
         std::holds_alternative<ChunkMisfit>(event.what) ||
         std::holds_alternative<ChunkUnstored>(event.what) ||
         std::holds_alternative<ChunkCorrupt>(event.what);
}

}  // namespace

peer::Bye other_version_bye() {
  return {peer::ByeReason::kVersion,
          absl::StrCat("this side speaks version ", peer::kProtocolVersion)};
}

SwarmSession::SwarmSession(Loop& loop, Transport& transport, SessionConfig config,
                           SessionHandlers handlers, Random random)
    : transport_(transport),
      config_(std::move(config)),
      handlers_(std::move(handlers)),
      random_(random),
      book_(with_self(config_.book, transport.self()), random.fork("peer book"), Loop::now()),
      manifest_fetch_(config_.content),
      outlines_(loop, transport),
      timer_(loop, [this] {
        const Time now = Loop::now();
        book_.on_timeout(now);
        if (outline_fetch_) outline_fetch_->on_timeout(now);
        if (swarm_)
          swarm_->on_timeout(now);
        else
          manifest_fetch_.on_timeout(now);
        drain();
      }) {
  book_.set_busy_test(
      [this](ConnectionId id) { return swarm_ && swarm_->is_busy_with(id, Loop::now()); });
}

void SwarmSession::add_candidates(const std::vector<Endpoint>& endpoints, bool lasting) {
  book_.on_candidates(endpoints, lasting, Loop::now());
  drain();
}

void SwarmSession::set_reading(std::vector<ChunkIndex> from) {
  if (!swarm_) return;
  swarm_->set_reading(std::move(from), Loop::now());
  drain();
}

void SwarmSession::add_far_candidates(const std::vector<Endpoint>& endpoints) {
  book_.on_far_candidates(endpoints, Loop::now());
  drain();
}

void SwarmSession::start(std::shared_ptr<const ContentIo> io, Bitfield have) {
  io_ = std::move(io);
  const bool complete = have.all();
  swarm_.emplace(config_.schedule, io_->layout, std::move(have), random_.fork("swarm"), Loop::now(),
                 io_->reuse ? io_->reuse->partial() : std::vector<PartialChunk>());
  if (complete) {
    book_.set_complete(Loop::now());
    outlines_.set_complete(io_);
  }
  for (auto& [id, neighbour] : neighbours_)
    if (neighbour.joined && !neighbour.closing) enter_swarm(id, neighbour);
  drain();
}

void SwarmSession::fetch_outline(std::uint64_t total_bytes, Duration time,
                                 OutlineHandlers handlers) {
  outline_handlers_ = std::move(handlers);
  outline_fetch_.emplace(total_bytes, time, Loop::now());
  for (const auto& [id, neighbour] : neighbours_)
    if (neighbour.joined && !neighbour.closing) outline_fetch_->on_connected(id, Loop::now());
  drain();
}

void SwarmSession::want_details(std::shared_ptr<const Outline> outline,
                                const std::vector<std::uint32_t>& groups) {
  outlines_.keep(outline);
  outline_fetch_->want_details(std::move(outline), groups, Loop::now());
  drain();
}

// Of those who have an older version, or have something for them. False: it is another.
bool SwarmSession::on_outline_message(ConnectionId id, const peer::Message& message) {
  const Time now = Loop::now();
  if (const auto* outline = std::get_if<peer::OutlineRequest>(&message)) {
    outlines_.on_request(id, outline->offset);
  } else if (const auto* detail = std::get_if<peer::DetailRequest>(&message)) {
    if (!outlines_.on_request(id, *detail))
      say_bye(id, {peer::ByeReason::kViolation, "too many details asked for"});
  } else if (const auto* part = std::get_if<peer::OutlinePart>(&message)) {
    outline_bytes_ += part->data.size();
    if (outline_fetch_) outline_fetch_->on_part(id, *part, now);
  } else if (const auto* segments = std::get_if<peer::DetailPart>(&message)) {
    outline_bytes_ += segments->data.size();
    if (outline_fetch_) outline_fetch_->on_detail(id, *segments, now);
  } else {
    return false;
  }
  return true;
}

void SwarmSession::enter_swarm(ConnectionId id, Neighbour& neighbour) {
  transport_.attach(id, io_);
  swarm_->on_connected(id, neighbour.opened.peer, Loop::now());
  if (const auto early = std::exchange(neighbour.early, std::nullopt))
    swarm_->on_message(id, *early, Loop::now());
}

void SwarmSession::on_opened(ConnectionId id, const Opened& opened) {
  const auto dial = dials_.find(id);
  if (dial == dials_.end()) return;
  neighbours_.emplace(id, Neighbour{opened, dial->second});
  dials_.erase(dial);
  send(id, our_join());
}

void SwarmSession::on_message(ConnectionId id, const Opened& from, const peer::Message& message) {
  if (stopped_) return;
  Neighbour& neighbour = neighbours_.try_emplace(id, Neighbour{from, std::nullopt}).first->second;
  if (neighbour.closing) return;
  if (const auto* bye = std::get_if<peer::Bye>(&message)) {
    on_bye(id, neighbour, *bye);
  } else if (const auto* join = std::get_if<peer::Join>(&message)) {
    on_join(id, neighbour, *join);
  } else if (const auto* peers = std::get_if<peer::Peers>(&message)) {
    const Time now = Loop::now();
    if (now >= neighbour.next_peers) book_.on_candidates(peers->endpoints, false, now);
    neighbour.next_peers = now + kMinPeersInterval;
  } else if (!neighbour.joined) {
    say_bye(id, {peer::ByeReason::kViolation, "a message before Join"});
  } else if (const auto* request = std::get_if<peer::ManifestRequest>(&message)) {
    swarm_ ? transport_.send_manifest_part(id, request->offset) : send(id, peer::ManifestPart{});
  } else if (const auto* part = std::get_if<peer::ManifestPart>(&message)) {
    manifest_bytes_ += part->data.size();
    if (!swarm_) manifest_fetch_.on_part(id, *part, Loop::now());
  } else if (on_outline_message(id, message)) {
    // It is no message of chunks.
  } else if (swarm_) {
    swarm_->on_message(id, message, Loop::now());
  } else {
    on_early(id, neighbour, message);
  }
  drain();
}

void SwarmSession::on_early(ConnectionId id, Neighbour& neighbour, const peer::Message& message) {
  const auto* chunks = std::get_if<peer::Chunks>(&message);
  if (!chunks || neighbour.early)
    return say_bye(id,
                   {peer::ByeReason::kViolation,
                    chunks ? "a second Chunks" : "a chunk message to a side that sent no Chunks"});
  neighbour.early = *chunks;
  manifest_fetch_.on_has_manifest(id, Loop::now());
}

void SwarmSession::on_join(ConnectionId id, Neighbour& neighbour, const peer::Join& join) {
  if (neighbour.joined) return say_bye(id, {peer::ByeReason::kViolation, "a second Join"});
  if (join.version != peer::kProtocolVersion) return say_bye(id, other_version_bye());
  if (join.swarm != config_.swarm) return say_bye(id, {peer::ByeReason::kNotServed, ""});
  if (!neighbour.dialled) send(id, our_join());
  std::optional<Endpoint> listens = neighbour.dialled;
  if (!listens && join.port != 0) listens = Endpoint{neighbour.opened.remote.address, join.port};
  if (!book_.on_joined(id, neighbour.opened.peer, neighbour.dialled, listens, join.zone,
                       Loop::now()))
    return;
  neighbour.joined = true;
  if (met_.size() < kMaxMet) met_.insert(neighbour.opened.peer);
  if (neighbour.dialled) failures_.erase(*neighbour.dialled);
  log_debug(absl::StrCat("neighbour ", who(id), " (",
                         std::string(cipher_name(neighbour.opened.cipher)), ")"));
  if (outline_fetch_) outline_fetch_->on_connected(id, Loop::now());
  if (swarm_)
    enter_swarm(id, neighbour);
  else
    manifest_fetch_.on_connected(id, Loop::now());
}

// A neighbour that had joined is gone, or about to be.
void SwarmSession::leave_cores(ConnectionId id, Time now) {
  book_.on_disconnected(id, now);
  outlines_.forget(id);
  if (outline_fetch_) outline_fetch_->on_disconnected(id, now);
  swarm_ ? swarm_->on_disconnected(id, now) : manifest_fetch_.on_disconnected(id, now);
}

void SwarmSession::on_bye(ConnectionId id, Neighbour& neighbour, const peer::Bye& bye) {
  std::string text = absl::StrCat(who(id), " ", std::string(text_of_bye(bye.reason)));
  if (!bye.text.empty()) absl::StrAppend(&text, " (", bye.text, ")");
  log_debug(text);
  if (neighbour.dialled && failures_.size() < kMaxFailures) failures_[*neighbour.dialled] = text;
  const bool never_again = bye.reason == peer::ByeReason::kNotServed ||
                           bye.reason == peer::ByeReason::kSelf ||
                           bye.reason == peer::ByeReason::kVersion;
  if (neighbour.dialled && !neighbour.joined)
    book_.on_dial_failed(*neighbour.dialled, never_again, Loop::now());
  if (neighbour.joined) leave_cores(id, Loop::now());
  neighbour.closing = true;
  transport_.close(id);
}

void SwarmSession::on_transfer(const Event& event) {
  const auto found = neighbours_.find(event.connection);
  if (!swarm_ || found == neighbours_.end()) return;
  const ConnectionId id = event.connection;
  const Time now = Loop::now();
  const bool closing = found->second.closing;
  if (const auto* data = std::get_if<ChunkData>(&event.what)) {
    received_bytes_ += data->bytes;
    if (data->fate == ChunkData::Fate::kWhole) swarm_->set_unwritten(++unwritten_);
    const bool dropped = data->fate == ChunkData::Fate::kDropped;
    if (!closing && dropped)
      swarm_->on_dropped_data(id, data->chunk, data->bytes, now);
    else if (!closing)
      swarm_->on_data(id, data->chunk, data->bytes, now);
  } else if (is_verdict(event)) {
    on_verdict(event, closing);
  } else if (closing) {
    return;
  } else if (const auto* sent = std::get_if<ChunkSent>(&event.what)) {
    swarm_->on_chunk_sent(id, sent->chunk, now);
  } else if (const auto* stopped = std::get_if<SendStopped>(&event.what)) {
    swarm_->on_send_stopped(id, stopped->chunk, now);
  } else if (const auto* unreadable = std::get_if<ChunkUnreadable>(&event.what)) {
    handlers_.on_source_failed(unreadable->why);
    swarm_->on_chunk_unreadable(id, unreadable->chunk, now);
  }
  drain();
}

// On a whole chunk, whatever became of its connection.
void SwarmSession::on_verdict(const Event& event, bool closing) {
  const ConnectionId id = event.connection;
  const Time now = Loop::now();
  swarm_->set_unwritten(--unwritten_);
  if (const auto* verified = std::get_if<ChunkVerified>(&event.what)) {
    if (!swarm_->have().test(verified->chunk)) known_bytes_ += verified->known_bytes;
    swarm_->on_chunk_verified(id, verified->chunk, now);
    if (handlers_.on_chunk) handlers_.on_chunk(verified->chunk);
  } else if (const auto* misfit = std::get_if<ChunkMisfit>(&event.what)) {
    log_debug(absl::StrCat("chunk ", misfit->chunk, " does not fit with the older version"));
    swarm_->on_chunk_misfit(id, misfit->chunk, now);
  } else if (const auto* unstored = std::get_if<ChunkUnstored>(&event.what)) {
    handlers_.on_store_failed(unstored->why);
  } else if (const auto* corrupt = std::get_if<ChunkCorrupt>(&event.what)) {
    if (!closing) {
      swarm_->on_chunk_corrupt(id, corrupt->chunk, now);
    } else {  // the verdict comes after a Bye; the swarm knows the neighbour no more
      book_.ban(neighbours_.at(id).opened.peer);
      handlers_.on_problem(who(id), peer::Problem::kCorruptChunk, corrupt->chunk);
    }
  }
}

void SwarmSession::on_closed(ConnectionId id, const Error& why) {
  const Time now = Loop::now();
  if (const auto dial = dials_.find(id); dial != dials_.end()) {
    const Endpoint endpoint = dial->second;
    dials_.erase(dial);
    if (failures_.size() < kMaxFailures) failures_[endpoint] = why.message;
    log_debug(absl::StrCat("dial failed: ", why.message));
    // A refusal is not sealed and could be forged: the address is tried again, at the book's slow
    // pace.
    book_.on_dial_failed(endpoint, false, now);
    return drain();
  }
  const auto found = neighbours_.find(id);
  if (found == neighbours_.end()) return;
  const Neighbour neighbour = std::move(found->second);
  neighbours_.erase(found);
  if (!neighbour.closing) log_debug(absl::StrCat("lost a neighbour: ", why.message));
  if (neighbour.joined && !neighbour.closing) {
    leave_cores(id, now);
  } else if (neighbour.dialled && !neighbour.closing) {
    if (failures_.size() < kMaxFailures) failures_[*neighbour.dialled] = why.message;
    book_.on_dial_failed(*neighbour.dialled, false, now);
  }
  drain();
}

void SwarmSession::say_bye(ConnectionId id, peer::Bye bye) {
  const auto found = neighbours_.find(id);
  if (found == neighbours_.end() || found->second.closing) return;
  Neighbour& neighbour = found->second;
  neighbour.closing = true;
  neighbour.early.reset();
  const Time now = Loop::now();
  log_debug(absl::StrCat("letting ", who(id), " go: ", bye.text));
  if (neighbour.joined) {
    leave_cores(id, now);
  } else if (neighbour.dialled) {
    book_.on_dial_failed(*neighbour.dialled, true, now);
  }
  send(id, std::move(bye));
  transport_.close(id);
}

void SwarmSession::stop() {
  stopped_ = true;
  std::vector<ConnectionId> ids;
  for (const auto& [id, neighbour] : neighbours_) ids.push_back(id);
  for (ConnectionId id : ids) say_bye(id, {peer::ByeReason::kStopping, ""});
  for (const auto& [id, endpoint] : dials_) transport_.close(id);
  timer_.arm(kNever);
}

std::string SwarmSession::who(ConnectionId id) const {
  const auto found = neighbours_.find(id);
  return found == neighbours_.end() ? "a peer that left" : found->second.opened.remote.to_string();
}

void SwarmSession::drain() {
  if (draining_ || stopped_) return;
  draining_ = true;
  do {
    book_.set_hunger(hunger(), Loop::now());
  } while (drain_swarm() || drain_book() || drain_manifest() || drain_outline());
  draining_ = false;
  Time core = swarm_ ? swarm_->next_timeout() : manifest_fetch_.next_timeout();
  if (outline_fetch_) core = std::min(core, outline_fetch_->next_timeout());
  timer_.arm(stopped_ ? kNever : std::min(book_.next_timeout(), core));
}

bool SwarmSession::drain_swarm() {
  if (!swarm_) return false;
  bool any = false;
  while (auto action = swarm_->poll_action()) {
    act(std::move(*action));
    any = true;
  }
  return any;
}

void SwarmSession::act(peer::SwarmAction action) {
  if (auto* message = std::get_if<peer::SendMessage>(&action)) {
    send(message->connection, std::move(message->message));
  } else if (auto* receive = std::get_if<peer::ReceiveChunk>(&action)) {
    (void)receive;  // the lane has seen the request go out, or the Give come in, before any data
  } else if (auto* dropped = std::get_if<peer::DropChunk>(&action)) {
    transport_.drop_chunk(dropped->connection, dropped->chunk);
  } else if (auto* give = std::get_if<peer::SendChunk>(&action)) {
    transport_.send_chunk(give->connection, give->chunk);
  } else if (auto* stop_it = std::get_if<peer::StopSending>(&action)) {
    transport_.stop_sending(stop_it->connection, stop_it->chunk);
  } else if (auto* disconnect = std::get_if<peer::Disconnect>(&action)) {
    const auto found = neighbours_.find(disconnect->connection);
    if (found == neighbours_.end()) return;
    if (disconnect->ban) book_.ban(found->second.opened.peer);
    say_bye(disconnect->connection, std::move(disconnect->bye));
  } else if (auto* report = std::get_if<peer::Report>(&action)) {
    handlers_.on_problem(who(report->connection), report->problem, report->chunk);
  } else if (std::holds_alternative<peer::Completed>(action)) {
    book_.set_complete(Loop::now());
    outlines_.set_complete(io_);
    handlers_.on_completed();
  }
}

bool SwarmSession::drain_book() {
  bool any = false;
  while (auto action = book_.poll_action()) {
    any = true;
    if (auto* dial = std::get_if<peer::Dial>(&*action)) {
      dials_[transport_.dial(dial->endpoint, config_.psk)] = dial->endpoint;
    } else if (auto* close = std::get_if<peer::Close>(&*action)) {
      if (!close->known.empty()) send(close->connection, peer::Peers{std::move(close->known)});
      say_bye(close->connection, std::move(close->bye));
    } else if (auto* peers = std::get_if<peer::SendPeers>(&*action)) {
      send(peers->connection, peer::Peers{std::move(peers->endpoints)});
    }
  }
  return any;
}

bool SwarmSession::drain_manifest() {
  if (swarm_) return false;
  bool any = false;
  while (auto action = manifest_fetch_.poll_action()) {
    any = true;
    if (auto* message = std::get_if<peer::SendMessage>(&*action)) {
      send(message->connection, std::move(message->message));
    } else if (auto* disconnect = std::get_if<peer::Disconnect>(&*action)) {
      const auto found = neighbours_.find(disconnect->connection);
      if (found == neighbours_.end()) continue;
      if (disconnect->ban) book_.ban(found->second.opened.peer);
      say_bye(disconnect->connection, std::move(disconnect->bye));
    } else if (auto* done = std::get_if<peer::ManifestDone>(&*action)) {
      handlers_.on_manifest(std::move(done->encoded));
    }
  }
  return any;
}

bool SwarmSession::drain_outline() {
  if (!outline_fetch_) return false;
  bool any = false;
  while (auto action = outline_fetch_->poll_action()) {
    any = true;
    if (auto* message = std::get_if<peer::SendMessage>(&*action)) {
      send(message->connection, std::move(message->message));
    } else if (auto* disconnect = std::get_if<peer::Disconnect>(&*action)) {
      say_bye(disconnect->connection, std::move(disconnect->bye));
    } else if (auto* outline = std::get_if<peer::OutlineDone>(&*action)) {
      outline_handlers_.on_outline(std::move(outline->outline));
    } else if (auto* detail = std::get_if<peer::DetailDone>(&*action)) {
      outlines_.keep_detail(detail->first, detail->count, encode_detail(detail->segments));
      outline_handlers_.on_detail(detail->first, std::move(detail->segments));
    } else if (std::holds_alternative<peer::DetailsDone>(*action)) {
      outline_handlers_.on_details_done();
    }
  }
  return any;
}

}  // namespace p2p::net
