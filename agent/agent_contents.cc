#include <sys/statvfs.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/agent.h"
#include "base/units.h"
#include "net/log.h"
#include "net/own_address.h"

namespace p2p::agent {
namespace {

constexpr Duration kStoreWait = 2 * net::kCloseTimeout;
constexpr Duration kStorePoll = std::chrono::milliseconds(10);

}  // namespace

Secret Agent::tracker_psk() const {
  return config_.cluster_keys.empty() ? open_tracker_key() : config_.cluster_keys[0];
}

net::LinkOwners Agent::owners_of(const Holding& holding) const {
  net::LinkOwners owners;
  owners.trackers = holding.trackers;
  owners.more_trackers = config_.trackers;
  owners.seeders = holding.seeders;
  owners.tracker_psk = tracker_psk();
  owners.seeder_psk = holding.psk;
  return owners;
}

Ready Agent::ready(const Content& content) const {
  const Holding& holding = content.holding;
  return {holding.content, holding.name, holding.bytes, catalog_->data_of(holding),
          catalog_->manifest_path(holding.content)};
}

void Agent::load() {
  std::vector<Holding> holdings = catalog_->load();
  // Where there are more than a node can host, those that were used last.
  std::sort(holdings.begin(), holdings.end(),
            [](const Holding& a, const Holding& b) { return a.last_used > b.last_used; });
  if (holdings.size() > net::kMaxHostedSwarms) {
    net::log_warn(absl::StrCat("the store has ", holdings.size(), " contents, more than the ",
                               net::kMaxHostedSwarms,
                               " that an agent may have: the others are "
                               "not served"));
    holdings.resize(net::kMaxHostedSwarms);
  }
  for (Holding& holding : holdings) {
    const ContentId id = holding.content;
    Content& content = contents_[id];
    content.holding = std::move(holding);
    content.detached = content.holding.state == Holding::State::kWanted;
    std::error_code failure;
    content.has_damaged = std::filesystem::exists(catalog_->damaged_of(id), failure);
  }
  for (const auto& [id, content] : contents_)
    if (content.holding.state != Holding::State::kPartial) want(id);
}

// From what is on disk to a content that is served.
void Agent::want(const ContentId& id) {
  Content& content = contents_.at(id);
  content.problem.clear();
  if (content.held.encoded_manifest.empty())
    if (auto held = catalog_->load_manifest(id)) content.held = *std::move(held);
  const bool has_manifest = content.held.manifest != nullptr;
  if (content.holding.state == Holding::State::kComplete && has_manifest) return serve(id);
  std::error_code failure;
  const bool has_data = std::filesystem::exists(catalog_->data_of(content.holding), failure);
  if (has_manifest && has_data) return check(id);
  download(id);
}

// ---- what is here already ----

// The data is where it is to be, and nobody knows whether it is good.
void Agent::check(const ContentId& id) {
  Content& content = contents_.at(id);
  content.activity = Activity::kChecking;
  content.stop_check = std::stop_source();
  HashJob job;
  job.stop = content.stop_check.get_token();
  auto outcome = std::make_shared<Status>();
  net::log_info(absl::StrCat("checking ", content.holding.name, " (", id.short_hex(), ")"));
  loop_.work(
      [manifest = content.held.manifest, path = catalog_->data_of(content.holding), job, outcome] {
        if (auto files = open_checked_source(manifest, path, job); !files)
          *outcome = std::move(files).error();
      },
      [this, alive = std::weak_ptr<bool>(alive_), id, outcome] {
        if (!alive.expired()) on_checked(id, *outcome);
      });
}

void Agent::on_checked(const ContentId& id, const Status& outcome) {
  Content* const checked = content(id);
  if (!checked || checked->activity != Activity::kChecking) return;
  checked->activity = Activity::kIdle;
  if (outcome) return seal(id);
  if (stopping()) return close_readable(*checked);
  net::log_warn(absl::StrCat(checked->holding.name, " (", id.short_hex(),
                             ") is not what it was: ", outcome.error().message));
  if (!checked->holding.in_store()) {
    checked->problem = outcome.error().message;
    return answer(id, outcome);
  }
  // What of it is good is not fetched. Not put right where it lies: its files may be hard links
  // that somebody changed with intent.
  std::error_code failure;
  checked->has_damaged |= std::filesystem::exists(catalog_->data_of(checked->holding), failure);
  on_disk([id](const Catalog& store) { return store.set_aside_damaged(id); });
  download(id);
}

// Somebody wants what was complete: is it still as it was?
void Agent::recheck_stamps(const ContentId& id) {
  const Content& content = contents_.at(id);
  auto same = std::make_shared<bool>(false);
  loop_.work(
      [store = catalog_, holding = content.holding, manifest = content.held.manifest, same] {
        const auto then = store->load_record(holding.content);
        const auto files = FileSet::open(manifest, store->data_of(holding), FileSet::Mode::kRead);
        const auto now = files ? (*files)->take_stamps() : files.error();
        *same = then && now && then->stamps == *now;
      },
      [this, alive = std::weak_ptr<bool>(alive_), id, same] {
        Content* const checked = alive.expired() ? nullptr : this->content(id);
        if (!checked || checked->activity != Activity::kServing) return;
        if (*same) return answer(id, {});
        unhost(*checked);
        check(id);
      });
}

// From now on it is trusted as it lies there.
void Agent::seal(const ContentId& id) {
  Content& content = contents_.at(id);
  auto sealed = std::make_shared<Status>();
  disk_.post([this, alive = std::weak_ptr<bool>(alive_), store = catalog_,
              holding = content.holding, manifest = content.held.manifest, sealed, id]() mutable {
    holding.state = Holding::State::kComplete;
    *sealed = store->seal(holding, manifest);
    if (*sealed) *sealed = store->save(holding);
    loop_.post([this, alive, sealed, id] {
      Content* const done = alive.expired() ? nullptr : this->content(id);
      if (!done) return;
      done->detached = false;
      if (!*sealed) {
        done->problem = sealed->error().message;
        unhost(*done);
        return answer(id, *sealed);
      }
      done->holding.state = Holding::State::kComplete;
      remove_damaged(*done);
      if (done->activity == Activity::kFetching)
        done->activity = Activity::kServing;  // its swarm goes on
      else
        serve(id);
      answer(id, {});
    });
  });
}

void Agent::serve(const ContentId& id) {
  Content& content = contents_.at(id);
  auto files = catalog_->open_files(content.holding, content.held.manifest);
  if (!files) {
    net::log_warn(files.error().message);
    std::error_code failure;
    if (std::filesystem::exists(catalog_->data_of(content.holding), failure)) return check(id);
    if (content.holding.in_store()) return download(id);
    content.problem = files.error().message;
    return;
  }
  remove_damaged(content);  // the agent may have died before it did so
  serve_files(id, std::move(*files));
}

void Agent::serve_files(const ContentId& id, std::shared_ptr<const ChunkReader> files) {
  Content& content = contents_.at(id);
  set_readable(content, files, Bitfield(content.held.manifest->layout().chunk_count(), true));
  net::Offer offered;
  offered.content = id;
  offered.manifest = content.held.manifest;
  offered.encoded_manifest = content.held.encoded_manifest;
  offered.reader = std::move(files);
  offered.psk = content.holding.psk;
  offered.owners = owners_of(content.holding);
  offered.zone = config_.zone;
  offered.listen_port = addresses().front().port;
  if (!config_.advertised.empty())
    offered.advertised = net::own_endpoints(config_.advertised, local());
  offered.on_source_failed = [this, id](const Error& why) {
    net::log_warn(why.message);
    if (Content* const changed = this->content(id)) changed->problem = why.message;
  };
  content.swarm = &net::offer(*node_, std::move(offered));
  content.activity = Activity::kServing;
}

void Agent::unhost(Content& content) {
  content.activity = Activity::kIdle;
  give_back_older(content);
  close_readable(content);
  if (!content.swarm) return;
  node_->drop(content.swarm->id());
  content.swarm = nullptr;
  if (!content.download) return;
  content.last_store = content.download->store();
  if (content.download->idle())
    content.download.reset();
  else
    ending_.push_back(std::move(content.download));
}

// ---- what is to come ----

void Agent::download(const ContentId& id) {
  Content& content = contents_.at(id);
  Holding& holding = content.holding;
  holding.state = Holding::State::kWanted;
  save(content);
  std::error_code failure;
  content.has_damaged |= std::filesystem::exists(catalog_->damaged_of(id), failure);
  net::DownloadConfig config;
  config.link.content = id;
  config.link.trackers = holding.trackers;
  config.link.seeders = holding.seeders;
  config.psk = holding.psk;
  config.tracker_psk = tracker_psk();
  config.more_trackers = config_.trackers;
  config.output = catalog_->data_of(holding);
  config.zone = config_.zone;
  config.patience = Duration::zero();  // that of the orders counts: give_up()
  // What is being removed makes its room first; and the last peers of an earlier try let go of what
  // it has written.
  config.prepare = [this, last_store = content.last_store] {
    wait_for_disk();
    for (Duration waited{}; !last_store.expired() && waited < kStoreWait; waited += kStorePoll)
      std::this_thread::sleep_for(kStorePoll);
    return Status();
  };
  net::DownloadHandlers handlers;
  handlers.on_manifest = [this, id](const auto&) { on_manifest(id); };
  handlers.on_open = [this, id](const std::shared_ptr<const Store>& store, const Bitfield& have) {
    Content* const fetched = this->content(id);
    if (!fetched) return;
    if (!fetched->download->takes_from_older()) give_back_older(*fetched);
    set_readable(*fetched, store, have);
  };
  handlers.on_chunk = [this, id](ChunkIndex chunk) {
    const Content* const fetched = this->content(id);
    if (fetched && fetched->readable) fetched->readable->add(chunk);
  };
  handlers.on_progress = [this, id](const net::FetchProgress& progress) {
    tell_progress(id, progress);
  };
  const std::uint64_t number = content.download_number = next_download_++;
  handlers.on_end = [this, id, number](const Status& outcome) {
    later([this, id, number, outcome] {
      // One of a content that was removed may end late, when it is here anew.
      const Content* const ended = this->content(id);
      if (ended && ended->download && ended->download_number == number)
        on_download_end(id, outcome);
    });
  };
  content.activity = Activity::kFetching;
  content.download =
      std::make_unique<net::Download>(*node_, std::move(config), std::move(handlers));
  content.download->start(content.held.encoded_manifest);
  content.swarm = &content.download->swarm();
}

void Agent::on_manifest(const ContentId& id) {
  Content& content = contents_.at(id);
  net::Download& download = *content.download;
  // A manifest may lie there of a content that is new: what was removed is not gone at once.
  if (!content.held.manifest || content.holding.name.empty()) {
    content.held = {download.encoded_manifest(), download.manifest()};
    content.holding.name = download.manifest()->name;
    content.holding.bytes = download.manifest()->layout().total_bytes;
    save(content);
    on_disk([id, encoded = content.held.encoded_manifest](const Catalog& store) {
      return store.save_manifest(id, encoded);
    });
  }
  borrow_older(content);
  if (Status room = make_room(content); !room)
    return void(download.cancel(std::move(room).error()));
  search_older(content);
}

// The store is never larger than its limit. What the file system has no room for is removed too;
// whether the content fits then, its download finds out. Older versions are borrowed only where
// there is room beside them, by other fetches too.
Status Agent::make_room(Content& content) {
  const Holding& holding = content.holding;
  const std::vector<Kept> others = kept(&holding.content);
  const std::uint64_t damaged = content.has_damaged ? holding.bytes : 0;
  std::uint64_t used = damaged, fixed = damaged;
  for (const Kept& each : others) {
    used += each.bytes;
    if (each.pinned || each.in_use) fixed += each.bytes;
  }
  RetentionLimits limits = retention();
  struct statvfs space {};
  if (statvfs(config_.store.c_str(), &space) == 0 && space.f_blocks > 0) {
    const std::uint64_t possible =
        used + being_removed_ + std::uint64_t{space.f_bavail} * space.f_frsize;
    limits.max_bytes = limits.max_bytes ? std::min(limits.max_bytes, possible) : possible;
  }
  const bool fits = limits.max_bytes == 0 || fixed + holding.bytes <= limits.max_bytes;
  if (!fits && do_without_older(content)) return make_room(content);
  const std::uint64_t allowed = config_.policy.max_bytes;
  if (allowed > 0 && fixed + holding.bytes > allowed)
    return Error{ErrorCode::kLimit,
                 absl::StrCat("no room in the store for ", holding.name, ", which has ",
                              format_bytes(holding.bytes), ": ", format_bytes(fixed), " of the ",
                              format_bytes(allowed),
                              " allowed are pinned or in use. Unpin or remove something, or raise "
                              "the agent's --max-size")};
  remove_all(to_remove(others, limits, wall_clock_seconds(), damaged + holding.bytes, 1),
             ", for " + holding.name);
  return {};
}

void Agent::on_download_end(const ContentId& id, const Status& outcome) {
  Content* const ended = &contents_.at(id);
  give_back_older(*ended);
  if (outcome) {
    const net::FetchProgress done = ended->download->progress();
    ++counts_.fetched;
    counts_.older_bytes += done.bytes_older;
    std::string older;
    if (done.bytes_older > 0)
      older = absl::StrCat(", ", format_bytes(done.bytes_older), " were in older versions");
    net::log_info(absl::StrCat("fetched ", done.name, " (", id.short_hex(),
                               "): ", format_bytes(done.bytes_total), " in ",
                               format_duration(done.elapsed), " from ", done.peers_met,
                               done.peers_met == 1 ? " peer" : " peers", older));
    tell_progress(id, done);
    return seal(id);
  }
  net::log_warn(absl::StrCat("the fetch of ",
                             ended->holding.name.empty() ? "content" : ended->holding.name, " (",
                             id.short_hex(), ") ended: ", outcome.error().message));
  ++counts_.failed;
  unhost(*ended);
  // What nobody waits for is gone on with after a restart only where the restart ended it.
  if (!(stopping() && ended->detached)) ended->holding.state = Holding::State::kPartial;
  ended->problem = outcome.error().message;
  if (!stopping()) ended->detached = false;
  save(*ended);
  answer(id, outcome);
}

void Agent::forget(const ContentId& forgotten) {
  const ContentId id = forgotten;  // which may be the key that goes
  Content& content = contents_.at(id);
  const std::uint64_t bytes = bytes_in_store(content);
  counts_.removed += content.holding.in_store();
  content.stop_check.request_stop();
  if (content.download) content.download->cancel({ErrorCode::kInterrupted, "it was removed"});
  unhost(content);
  contents_.erase(id);
  on_disk([id](const Catalog& store) { return store.remove(id); });
  empty_removed(bytes);
}

Result<Link> Agent::link_of(const ContentId& id) const {
  const auto found = contents_.find(id);
  if (found == contents_.end()) return not_here(id);
  const Holding& holding = found->second.holding;
  Link link{id, config_.trackers, addresses(), {}, {}};
  if (holding.has_link_secret) link.secret = holding.psk;
  net::add_addresses(link.trackers, holding.trackers);
  net::add_addresses(link.seeders, holding.seeders);
  if (config_.gossip) link.members = net::member_addresses(*node_->gossip(), config_.gossip->join);
  net::add_addresses(link.members, holding.members);
  return link;
}

}  // namespace p2p::agent
