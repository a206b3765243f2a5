#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/agent.h"
#include "content/hash_record.h"
#include "crypto/digest.h"
#include "net/log.h"
#include "net/own_address.h"

namespace p2p::agent {

struct Agent::ScanJob {
  SeedOrder order;
  std::function<void(Result<Link>)> done;
  Result<Scan> scanned = Error{};
  Bytes encoded;
};

// What is known of the path from the last time is not hashed again.
void Agent::seed(SeedOrder order, std::function<void(Result<Link>)> done) {
  auto job = std::make_shared<ScanJob>();
  job->order = std::move(order);
  job->done = std::move(done);
  if (stopping())
    return later([job] { job->done(Error{ErrorCode::kInterrupted, "the agent is stopping"}); });
  std::optional<ContentId> before;
  for (const auto& [id, content] : contents_)
    if (content.holding.source == job->order.path) before = id;
  loop_.work(
      [job, before, store = catalog_] {
        ScanOptions options;
        options.chunk_bytes = job->order.chunk_bytes;
        options.job.progress = job->order.on_progress;
        if (before && !job->order.rehash)
          if (auto known = store->load_record(*before))
            options.known = std::make_shared<HashRecord>(*std::move(known));
        job->scanned = scan_path(job->order.path, options);
        if (job->scanned) job->encoded = encode_manifest(*job->scanned->manifest);
      },
      [this, alive = std::weak_ptr<bool>(alive_), job] {
        if (!alive.expired()) on_scanned(job);
      });
}

void Agent::on_scanned(const std::shared_ptr<ScanJob>& job) {
  if (!job->scanned) return job->done(job->scanned.error());
  if (stopping()) return job->done(Error{ErrorCode::kInterrupted, "the agent is stopping"});
  const ContentId id = content_id_of(job->encoded);
  const SeedOrder& order = job->order;
  if (order.link && order.link->content != id)
    return job->done(Error{ErrorCode::kCorrupt,
                           absl::StrCat(order.path.string(), " is not what the link names")});
  // A path that has changed is another content.
  for (auto& [other, content] : contents_) {
    if (content.holding.source != order.path || other == id) continue;
    net::log_info(absl::StrCat(order.path.string(), " has changed: content ", other.short_hex(),
                               " is no longer served"));
    forget(other);
    break;
  }
  const bool known = contents_.contains(id);
  if (!known)
    if (Status room = make_room_for_one_more(); !room) return job->done(std::move(room).error());
  const Content& content = contents_[id];
  // What the store holds itself, or is fetching, is not served from a place that others may change.
  if (!known || !content.holding.in_store() || content.activity == Activity::kIdle)
    serve_source(id, *job, known);
  job->done(link_of(id));
}

// From where it lies. What is known of the content keeps its secret, and so its link.
void Agent::serve_source(const ContentId& id, ScanJob& job, bool known) {
  Content& content = contents_.at(id);
  const SeedOrder& order = job.order;
  Holding holding;
  holding.content = id;
  holding.state = Holding::State::kComplete;
  if (known) {
    holding.psk = content.holding.psk;
    holding.has_link_secret = content.holding.has_link_secret;
  } else {
    holding.psk = psk_for_seed(order);
    holding.has_link_secret =
        order.link ? order.link->secret.has_value() : config_.cluster_keys.empty();
  }
  if (order.link) {
    holding.trackers = order.link->trackers;
    holding.seeders = order.link->seeders;
    holding.members = order.link->members;
  }
  net::add_addresses(holding.trackers, order.trackers);
  holding.name = job.scanned->manifest->name;
  holding.bytes = job.scanned->manifest->layout().total_bytes;
  holding.added = known ? content.holding.added : wall_clock_seconds();
  holding.source = order.path.string();
  unhost(content);
  content.holding = std::move(holding);
  content.held = {job.encoded, job.scanned->manifest};
  content.problem.clear();
  touch(content);
  save(content);
  on_disk([id, encoded = job.encoded,
           record = std::move(job.scanned->record)](const Catalog& store) -> Status {
    P2P_TRY(store.save_manifest(id, encoded));
    return store.save_record(id, record);
  });
  serve_files(id, std::move(job.scanned->files));
}

Secret Agent::psk_for_seed(const SeedOrder& order) const {
  if (order.link && order.link->secret) return *order.link->secret;
  return config_.cluster_keys.empty() ? Secret::random() : config_.cluster_keys[0];
}

}  // namespace p2p::agent
