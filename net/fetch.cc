#include "net/fetch.h"

#include <utility>

#include "net/log.h"

namespace p2p::net {
namespace {

// Whoever waits for the fetch does not wait longer than this for good-byes.
constexpr Duration kShortGoodbye = std::chrono::milliseconds(500);
constexpr Duration kLeavePoll = std::chrono::milliseconds(5);

}  // namespace

Fetch::Fetch(Loop& loop, FetchConfig config, FetchHandlers handlers)
    : loop_(loop),
      config_(std::move(config)),
      handlers_(std::move(handlers)),
      refresh_timer_(loop, [this] { refresh(); }),
      linger_timer_(loop, [this] { end({}); }),
      leave_timer_(loop, [this] { leave(); }) {}

Fetch::~Fetch() {
  download_.reset();
  node_.reset();
}

Status Fetch::run() {
  P2P_TRY(start());
  loop_.run();
  encoded_manifest_ = download_->encoded_manifest();
  download_.reset();
  node_.reset();
  return outcome_;
}

Status Fetch::start() {
  node_ = std::make_unique<Node>(loop_, transport_config(config_));
  if (!config_.manifest_only)
    P2P_TRY(node_->transport().listen(config_.listen.value_or(default_listen_endpoint())));
  if (config_.gossip) P2P_TRY(join_cluster());
  DownloadHandlers handlers = handlers_;
  handlers.on_end = [this](const Status& outcome) { on_end(outcome); };
  download_ = std::make_unique<Download>(*node_, config_, std::move(handlers));
  download_->start();
  return {};
}

// Who only wants the manifest does not listen, and is no member.
Status Fetch::join_cluster() {
  config_.gossip->observer |= config_.manifest_only;
  if (!config_.gossip->observer) {
    tracker::OwnerConfig owner;
    owner.trust_advertised = config_.gossip->is_closed;
    node_->answer_announces(owner);
  }
  P2P_TRY(node_->join_cluster(*config_.gossip, node_->transport().local().port, {}));
  return {};
}

// The download has done it so far.
void Fetch::refresh() {
  if (ended_) return;
  node_->refresh_announcers();
  refresh_timer_.arm(Loop::now() + kProgressInterval);
}

void Fetch::on_end(const Status& outcome) {
  if (!outcome || config_.manifest_only) return end(outcome);
  if (!later_failure_) return end(std::move(later_failure_));
  done_ = true;
  if (handlers_.on_done) handlers_.on_done(download_->progress());
  const bool needed = download_->swarm().session().swarm().has_incomplete_neighbour();
  const Duration stays = config_.linger.value_or(needed ? kCourtesy : Duration{});
  if (stays <= Duration::zero()) return end({});
  refresh();
  linger_timer_.arm(Loop::now() + stays);
}

void Fetch::interrupt() {
  if (done_) return end({});  // it was only lingering
  if (download_->cancel(
          Error{ErrorCode::kInterrupted,
                download_->store()
                    ? "interrupted; what was verified is kept, run the same command to go on"
                    : "interrupted"}))
    return;
  config_.linger = Duration{};
  log_info("all is fetched; ending as soon as it is in place");
}

void Fetch::finish(Status outcome) {
  if (outcome) config_.linger = Duration{};
  if (done_) return end(std::move(outcome));
  if (!outcome && !download_->cancel(outcome.error())) later_failure_ = std::move(outcome);
}

void Fetch::read_from(ChunkIndex chunk) {
  if (!ended_) download_->swarm().session().set_reading({chunk});
}

void Fetch::end(Status outcome) {
  if (std::exchange(ended_, true)) return;
  outcome_ = std::move(outcome);
  refresh_timer_.arm(kNever);
  linger_timer_.arm(kNever);
  node_->stop();
  leave_by_ = Loop::now() + kShortGoodbye;
  leave_timer_.arm(Loop::now());
}

void Fetch::leave() {
  const bool heard = node_->quiet() || Loop::now() >= leave_by_;
  if (!heard) return leave_timer_.arm(Loop::now() + kLeavePoll);
  loop_.stop();
}

}  // namespace p2p::net
