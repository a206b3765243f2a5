#include "net/seed.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crypto/digest.h"
#include "net/log.h"
#include "net/own_address.h"

namespace p2p::net {
namespace {

constexpr Duration kRefreshInterval = std::chrono::seconds(1);

std::vector<HostPort> all_trackers(const SeedConfig& config) {
  std::vector<HostPort> all = new_trackers({}, config.trackers);
  const std::vector<HostPort> more = new_trackers(all, config.more_trackers);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

Seed::Seed(Loop& loop, SeedConfig config)
    : loop_(loop),
      config_(std::move(config)),
      psk_(config_.link_secret ? *config_.link_secret : config_.cluster_key.value()),
      tick_timer_(loop, [this] { tick(); }),
      leave_timer_(loop, [this] { loop_.stop(); }) {}

Seed::~Seed() = default;

Status Seed::listen() {
  Endpoint where = config_.listen.value_or(default_listen_endpoint());
  if (where.port == 0 && config_.preferred_port != 0) {
    const Endpoint preferred{where.address, config_.preferred_port};
    if (node_->transport().listen(preferred)) return {};
    log_warn(absl::StrCat("port ", config_.preferred_port,
                          ", which this content had before, is taken: the link will name another"));
  }
  return node_->transport().listen(where);
}

Status Seed::check_trackers() const {
  const std::size_t count = all_trackers(config_).size();
  if (count <= kMaxLinkAddresses) return {};
  return Error{ErrorCode::kUsage,
               absl::StrCat("the link would name ", count, " trackers, more than the ",
                            kMaxLinkAddresses, " that a link may have; give fewer")};
}

Result<Link> Seed::start() {
  P2P_TRY(check_trackers());
  node_ = std::make_unique<Node>(loop_, transport_config(config_));
  P2P_TRY(listen());
  tracker::OwnerConfig owner;
  // A member owns what the table gives it.
  owner.own_swarms_only = !config_.gossip;
  owner.trust_advertised = config_.gossip && config_.gossip->is_closed;
  node_->answer_announces(owner);

  Offer offered = content();
  const ContentId id = offered.content;
  if (config_.gossip) P2P_TRY(node_->join_cluster(*config_.gossip, offered.listen_port, {}));
  swarm_ = &offer(*node_, std::move(offered));
  tick_timer_.arm(Loop::now() + kRefreshInterval);

  Link link{id, all_trackers(config_), config_.seeders, config_.link_secret, {}};
  if (config_.gossip) link.members = member_addresses(*node_->gossip(), config_.gossip->join);
  add_addresses(link.seeders, own_addresses(config_.advertised, node_->transport().local()));
  return link;
}

Offer Seed::content() const {
  Offer offered;
  offered.manifest = config_.manifest;
  offered.encoded_manifest = encode_manifest(*config_.manifest);
  offered.content = content_id_of(offered.encoded_manifest);
  offered.reader = config_.files;
  offered.psk = psk_;
  offered.owners.trackers = config_.trackers;
  offered.owners.more_trackers = config_.more_trackers;
  offered.owners.seeders = config_.seeders;
  offered.owners.tracker_psk = config_.cluster_key.value_or(open_tracker_key());
  offered.owners.seeder_psk = psk_;
  offered.zone = config_.zone;
  offered.listen_port = node_->transport().local().port;
  if (config_.advertised.empty()) return offered;
  offered.advertised = own_endpoints(config_.advertised, node_->transport().local());
  if (config_.advertised.front().port != 0) offered.listen_port = config_.advertised.front().port;
  return offered;
}

void Seed::set_cluster_keys(const Keyring& keys) {
  node_->set_cluster_keys(keys);
  if (!config_.link_secret && !(keys[0] == psk_))
    log_warn(
        "this content stays closed by the key with which it was seeded: for those who have only "
        "the new one, seed it again");
}

std::uint16_t Seed::port() const { return node_->transport().local().port; }

// A seeder is left alone for weeks: who mistyped a tracker hears of it now or never.
void Seed::warn_of_silence() {
  for (const AnnounceClient& announcer : swarm_->announcers()) {
    if (warned_ || !announcer.all_failed()) continue;
    warned_ = true;
    log_warn(
        absl::StrCat("none of those that are announced to has answered; they are tried again: ",
                     absl::StrJoin(announcer.failures(), "; ")));
  }
}

void Seed::tick() {
  node_->refresh_announcers();
  warn_of_silence();
  tick_timer_.arm(Loop::now() + kRefreshInterval);
}

void Seed::run() {
  loop_.run();
  node_.reset();
}

void Seed::stop() {
  node_->stop();
  tick_timer_.arm(kNever);
  leave_timer_.arm(Loop::now() + (node_->quiet() ? Duration::zero() : kGoodbye));
}

}  // namespace p2p::net
