#include "net/download.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/units.h"
#include "crypto/digest.h"
#include "net/link_owners.h"
#include "net/log.h"

namespace p2p::net {
namespace {

// Less than this within stall_patience is no progress.
constexpr std::uint64_t kMinProgressBytes = 64 * 1024;
// Of the addresses that failed, as many as a person wants to read.
constexpr std::size_t kShownFailures = 8;

std::string describe(const std::string& who, peer::Problem problem, ChunkIndex chunk) {
  switch (problem) {
    case peer::Problem::kCorruptChunk:
      return absl::StrCat(who, " sent a corrupt chunk (number ", chunk, ")");
    case peer::Problem::kSourceChanged:
      return absl::StrCat("the source of ", who, " changed since it was seeded");
    case peer::Problem::kStuck:
      return absl::StrCat(who, " stopped sending");
  }
  return who;
}

// What to look after where nobody has what is missing.
std::string hint(const DownloadConfig& config, bool all_owners_failed) {
  const std::size_t trackers = config.link.trackers.size() + config.more_trackers.size();
  if (trackers == 0 || !all_owners_failed)
    return "Is the seeder running, and can this host reach it?";
  return absl::StrCat(trackers == 1 ? "The tracker does not answer. Is it"
                                    : "None of the trackers answers. Is one of them",
                      " running, and can this host reach it?");
}

}  // namespace

std::filesystem::path target_path(const std::optional<std::filesystem::path>& output,
                                  const std::string& name) {
  if (!output) return name;
  return output->has_filename() ? *output : *output / name;
}

Download::Download(Node& node, DownloadConfig config, DownloadHandlers handlers)
    : node_(node),
      config_(std::move(config)),
      handlers_(std::move(handlers)),
      content_(config_.link.content),
      tick_timer_(node.loop(), [this] { tick(); }),
      started_(Loop::now()),
      rates_(started_),
      transfer_started_(started_),
      next_checkpoint_(started_ + kCheckpointInterval),
      hopeful_(started_),
      progressed_(started_) {}

Download::~Download() = default;

void Download::start(Bytes known_manifest) {
  SessionConfig session;
  session.content = content_;
  session.swarm = swarm_id_of(content_, config_.psk);
  session.psk = config_.psk;
  session.listen_port = node_.transport().local().port;
  session.book.zone = config_.zone;
  swarm_ = &node_.host(std::move(session), session_handlers());
  announce();
  find_link_seeders();
  if (config_.older && !config_.manifest_only)
    search_older(std::move(config_.older), OldSearch::Need::kRequired);
  tick_timer_.arm(Loop::now() + kProgressInterval);
  if (known_manifest.empty()) return;
  swarm_->session().set_manifest_known();
  on_manifest(std::move(known_manifest));
}

void Download::search_older(OldSearch::Open open, OldSearch::Need need) {
  older_.emplace(
      [this](std::function<void()> job, std::function<void()> done) {
        in_background(std::move(job), std::move(done));
      },
      std::move(open), need);
  older_->start([this](const Error& why) { end(why); });
}

SessionHandlers Download::session_handlers() {
  SessionHandlers handlers;
  handlers.on_manifest = [this](Bytes encoded) { on_manifest(std::move(encoded)); };
  handlers.on_completed = [this] { complete(); };
  handlers.on_chunk = handlers_.on_chunk;
  handlers.on_store_failed = [this](const Error& why) { end(why); };
  handlers.on_source_failed = [](const Error& why) { log_warn(why.message); };
  handlers.on_problem = [this](const std::string& who, peer::Problem problem, ChunkIndex chunk) {
    const std::string text = describe(who, problem, chunk);
    log_warn(problem == peer::Problem::kCorruptChunk ? text + "; it is banned from this fetch"
                                                     : text);
    if (problem == peer::Problem::kStuck) return;
    lie_ = text;
    verified_at_lie_ = verified_chunks();
  };
  return handlers;
}

void Download::announce() {
  LinkOwners owners;
  owners.trackers = config_.link.trackers;
  owners.more_trackers = config_.more_trackers;
  owners.seeders = config_.link.seeders;
  owners.tracker_psk = config_.tracker_psk;
  owners.seeder_psk = config_.psk;
  node_.announce(*swarm_, owners);
}

void Download::find_link_seeders() {
  for (const HostPort& seeder : config_.link.seeders)
    node_.loop().resolve(
        seeder, [this, alive = std::weak_ptr<bool>(alive_)](Result<std::vector<Endpoint>> found) {
          if (found && !alive.expired() && !ended_) swarm_->session().add_candidates(*found, true);
        });
}

void Download::on_manifest(Bytes encoded) {
  auto decoded = decode_manifest(encoded);
  if (!decoded)
    return end(Error{ErrorCode::kMalformed,
                     absl::StrCat("the link names something that is no valid manifest: ",
                                  decoded.error().message)});
  encoded_manifest_ = std::move(encoded);
  manifest_ = std::make_shared<const Manifest>(std::move(*decoded));
  if (handlers_.on_manifest) handlers_.on_manifest(manifest_);
  if (config_.manifest_only) end({});
  if (ended_) return;
  target_ = target_path(config_.output, manifest_->name);
  if (older_) older_->on_manifest(manifest_, swarm_->session());
  open_store();
}

void Download::open_store() {
  auto opened = std::make_shared<std::optional<Result<std::unique_ptr<Store>>>>();
  in_background(
      [this, opened] {
        StoreOptions options;
        options.overwrite = config_.overwrite;
        options.resume_job.stop = stop_opening_.get_token();
        if (const Status ready = config_.prepare ? config_.prepare() : Status(); !ready)
          *opened = ready.error();
        else if (options.resume_job.stop.stop_requested())  // another may have its place by now
          *opened = Error{ErrorCode::kInterrupted, "interrupted"};
        else
          *opened = Store::open(manifest_, content_, target_, options);
      },
      [this, opened] { on_store_open(std::move(**opened)); });
}

void Download::on_store_open(Result<std::unique_ptr<Store>> opened) {
  if (!opened) return end(std::move(opened).error());
  store_ = std::move(*opened);
  const Bitfield have = store_->resumed();
  const Layout layout = manifest_->layout();
  for (ChunkIndex i = have.next_set(0); i < have.size(); i = have.next_set(i + 1))
    reused_bytes_ += layout.length_of(i);
  if (reused_bytes_ > 0)
    log_info(absl::StrCat("resuming: ", format_bytes(reused_bytes_), " of ",
                          format_bytes(layout.total_bytes), " are on disk and verified"));
  if (older_ && have.all()) older_->stop();
  if (!older_ || have.all()) return start_swarm(have, nullptr);
  older_->compose(store_, have, [this, have = Bitfield(have)](auto found) mutable {
    if (!found) return end(std::move(found).error());
    composed_bytes_ = found->composed_bytes;
    const Bitfield& composed = found->composed;
    for (ChunkIndex i = composed.next_set(0); i < composed.size(); i = composed.next_set(i + 1))
      have.set(i);
    start_swarm(std::move(have), std::move(found->plan));
  });
}

void Download::start_swarm(Bitfield have, std::shared_ptr<const ReusePlan> reuse) {
  transfer_started_ = hopeful_ = progressed_ = Loop::now();
  reuse_ = reuse;
  auto io = std::make_shared<ContentIo>(ContentIo{manifest_, manifest_->layout(), store_, store_,
                                                  std::move(encoded_manifest_), std::move(reuse)});
  if (handlers_.on_open) handlers_.on_open(store_, have);
  swarm_->session().start(std::move(io), have);
  if (have.all()) complete();
}

void Download::tick() {
  if (ended_) return;
  const Time now = Loop::now();
  rates_.on_total(swarm_->session().received_bytes(), now);
  swarm_->refresh(node_.owner_service());
  if (handlers_.on_progress && manifest_) handlers_.on_progress(progress());
  if (ended_) return;
  watch_hope(now);
  if (auto why = verdict(config_.patience, started_, now)) return end(std::move(*why));
  if (now >= next_checkpoint_) checkpoint();
  tick_timer_.arm(now + kProgressInterval);
}

void Download::watch_hope(Time now) {
  const SwarmSession& session = swarm_->session();
  const std::uint64_t heard = session.received_bytes() + session.manifest_bytes();
  const bool opening = manifest_ && !session.running();
  if (opening || completed_ || heard - progressed_bytes_ >= kMinProgressBytes) {
    progressed_ = now;
    progressed_bytes_ = heard;
  }
  const bool useful =
      session.running() ? session.swarm().has_useful_neighbour() : session.neighbours() > 0;
  const bool stalled = now - progressed_ >= config_.stall_patience;
  is_hopeful_ = opening || completed_ || (useful && !stalled);
  if (is_hopeful_) hopeful_ = now;
  if (useful && !lie_.empty() && verified_chunks() > verified_at_lie_) lie_.clear();
  for (const AnnounceClient& announcer : swarm_->announcers())
    if (announcer.any_refused() && first_refusal_ == kNever) first_refusal_ = now;
}

std::optional<Error> Download::verdict(Duration patience, Time since, Time now) const {
  const SwarmSession& session = swarm_->session();
  if (is_hopeful_ || completed_ || ended_) return std::nullopt;
  const Duration waited = now - std::max(hopeful_, since);
  if (first_refusal_ != kNever && !session.ever_joined() &&
      (all_owners_failed() || now - first_refusal_ >= kRefusedPatience))
    return Error{ErrorCode::kRefused,
                 absl::StrCat("refused: ", what_was_tried(),
                              ". Is the link whole, with everything after '#'? Or is a "
                              "--cluster-key needed, or wrong?")};
  const bool patient = patience == Duration::zero() || patience > kCorruptPatience;
  if (!lie_.empty() && waited >= (patient ? kCorruptPatience : patience))
    return Error{ErrorCode::kCorrupt,
                 absl::StrCat("the content cannot be completed: ", lie_,
                              ", and no other peer has what is missing. What was verified is "
                              "kept; run the same command again when a sound copy is seeded")};
  if (patience > Duration::zero() && waited >= patience)
    return Error{
        ErrorCode::kUnreachable,
        absl::StrCat("no peer with what is missing for ", format_duration(patience), ": ",
                     what_was_tried(), ". ", hint(config_, all_owners_failed()),
                     store_ ? " What was verified is kept; run the same command again." : "")};
  return std::nullopt;
}

bool Download::all_owners_failed() const {
  const auto& announcers = swarm_->announcers();
  return std::all_of(announcers.begin(), announcers.end(),
                     [](const AnnounceClient& announcer) { return announcer.all_failed(); });
}

std::string Download::what_was_tried() const {
  std::set<std::string> texts;
  for (const auto& [endpoint, text] : swarm_->session().failures()) texts.insert(text);
  for (const AnnounceClient& announcer : swarm_->announcers())
    for (const std::string& text : announcer.failures())
      if (!text.empty()) texts.insert(text);
  if (const GossipService* gossip = node_.gossip(); gossip && gossip->is_alone())
    texts.insert("no member of the cluster answers");
  if (texts.empty()) return "nobody answered";
  const std::size_t more = texts.size() > kShownFailures ? texts.size() - kShownFailures : 0;
  for (std::size_t i = 0; i < more; ++i) texts.erase(std::prev(texts.end()));
  return absl::StrCat(absl::StrJoin(texts, "; "),
                      more ? absl::StrCat("; and ", more, " more") : "");
}

std::uint32_t Download::verified_chunks() const {
  const SwarmSession& session = swarm_->session();
  return session.running() ? session.swarm().have().count() : 0;
}

void Download::checkpoint() {
  const SwarmSession& session = swarm_->session();
  if (!session.running() || checkpointing_ || completed_) return;
  const Bitfield have = session.swarm().have();
  if (have.count() == verified_at_checkpoint_) return;
  checkpointing_ = true;
  verified_at_checkpoint_ = have.count();
  auto written = std::make_shared<Status>();
  const Time began = Loop::now();
  in_background([store = store_, have, written] { *written = store->checkpoint(have); },
                [this, written, began] {
                  checkpointing_ = false;
                  const Time now = Loop::now();
                  // A slow disk is left in peace for most of the time.
                  next_checkpoint_ = now + std::max(kCheckpointInterval, (now - began) * 4);
                  if (!*written) return end(*written);
                  if (completed_) commit();
                });
}

void Download::complete() {
  if (completed_) return;
  completed_ = true;
  if (!checkpointing_) commit();
}

void Download::commit() {
  if (ended_) return;
  committing_ = true;
  swarm_->refresh(node_.owner_service());
  auto committed = std::make_shared<Status>();
  in_background([store = store_, committed] { *committed = store->commit(); },
                [this, committed] {
                  if (!*committed) return end(*committed);
                  rates_.on_total(swarm_->session().received_bytes(), Loop::now());
                  end({});
                });
}

void Download::in_background(std::function<void()> job, std::function<void()> done) {
  ++jobs_;
  node_.loop().work(std::move(job), [this, done = std::move(done)] {
    --jobs_;
    if (!ended_)
      done();
    else if (jobs_ == 0)
      tell_end();
  });
}

bool Download::cancel(Error why) {
  if (committing_ && !ended_) return false;
  end(std::move(why));
  return true;
}

void Download::end(Status outcome) {
  if (std::exchange(ended_, true)) return;
  outcome_ = std::move(outcome);
  stop_opening_.request_stop();
  if (older_) older_->stop();
  tick_timer_.arm(kNever);
  if (jobs_ == 0) tell_end();
}

void Download::tell_end() {
  // The content may be served for long, and needs the older ones no more.
  if (older_) older_->close();
  if (reuse_) reuse_->let_go();
  if (handlers_.on_end) handlers_.on_end(outcome_);
}

FetchProgress Download::progress() const {
  FetchProgress progress;
  const SwarmSession& session = swarm_->session();
  progress.name = manifest_->name;
  progress.bytes_total = manifest_->layout().total_bytes;
  progress.bytes_older = composed_bytes_ + session.known_bytes();
  progress.bytes_reused = reused_bytes_ + progress.bytes_older;
  progress.bytes_fetched = session.received_bytes();
  if (session.running()) {
    const Bitfield& have = session.swarm().have();
    const Layout layout = manifest_->layout();
    progress.bytes_verified = std::uint64_t{have.count()} * layout.chunk_bytes;
    // The last chunk may be shorter than the others.
    if (have.size() > 0 && have.test(have.size() - 1))
      progress.bytes_verified -= layout.chunk_bytes - layout.length_of(have.size() - 1);
  }
  progress.rate = rates_.now();
  progress.peers = session.neighbours();
  progress.peers_met = session.peers_met();
  progress.elapsed = Loop::now() - started_;
  const double seconds = to_seconds(Loop::now() - transfer_started_);
  if (rates_.best() > 0 && seconds > 0)
    progress.share_of_limit =
        std::min(1.0, static_cast<double>(progress.bytes_fetched) / seconds / rates_.best());
  progress.path = target_;
  return progress;
}

}  // namespace p2p::net
