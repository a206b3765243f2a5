#include "net/seed.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crypto/digest.h"
#include "net/link_owners.h"
#include "net/log.h"

namespace p2p::net {
namespace {

constexpr Duration kRefreshInterval = std::chrono::seconds(1);
constexpr Duration kGoodbye = std::chrono::milliseconds(300) + gossip::kLeaving;

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
  TransportConfig transport;
  transport.keys = config_.identity;
  transport.accepted_psks = accepted_keys(psk_, config_.gossip ? config_.gossip->keys : Keyring());
  transport.lanes = config_.lanes;
  if (config_.gossip) transport.max_connections = kMaxMemberConnections;
  transport.timeouts = config_.timeouts;
  node_ = std::make_unique<Node>(loop_, std::move(transport));
  P2P_TRY(listen());
  const Endpoint local = node_->transport().local();

  Bytes encoded = encode_manifest(*config_.manifest);
  const ContentId content = content_id_of(encoded);
  const SwarmId swarm = swarm_id_of(content, psk_);
  SessionConfig session;
  session.content = content;
  session.swarm = swarm;
  session.psk = psk_;
  // Behind a port mapping it is the mapped port that others can dial.
  const std::uint16_t mapped_port =
      config_.advertised.empty() || config_.advertised.front().port == 0
          ? local.port
          : config_.advertised.front().port;
  session.listen_port = mapped_port;
  session.book.zone = config_.zone;
  SessionHandlers handlers;
  handlers.on_manifest = [](Bytes) {};
  handlers.on_completed = [] {};
  handlers.on_store_failed = [](const Error&) {};
  handlers.on_source_failed = [](const Error& why) { log_warn(why.message); };
  handlers.on_problem = [](const std::string&, peer::Problem, ChunkIndex) {};
  swarm_ = &node_->host(std::move(session), std::move(handlers));
  const Layout layout = config_.manifest->layout();
  auto io = std::make_shared<ContentIo>(
      ContentIo{config_.manifest, layout, config_.files, nullptr, std::move(encoded)});
  swarm_->session().start(std::move(io), Bitfield(layout.chunk_count(), true));

  const std::vector<Endpoint> own = own_endpoints();
  tracker::OwnerConfig owner;
  // A member owns what the table gives it.
  if (!config_.gossip) owner.only_swarm = swarm;
  owner.trust_advertised = config_.gossip && config_.gossip->is_closed;
  node_->answer_announces(owner);
  node_->owner_service()->set_self(swarm, own, true, config_.zone);

  P2P_TRY(announce(swarm, mapped_port));
  tick_timer_.arm(Loop::now() + kRefreshInterval);

  Link link{content, all_trackers(config_), config_.seeders, config_.link_secret,
            member_addresses()};
  for (const HostPort& address : own_addresses())
    if (link.seeders.size() < kMaxLinkAddresses &&
        std::find(link.seeders.begin(), link.seeders.end(), address) == link.seeders.end())
      link.seeders.push_back(address);
  return link;
}

Status Seed::announce(const SwarmId& swarm, std::uint16_t mapped_port) {
  LinkOwners owners;
  owners.trackers = config_.trackers;
  owners.more_trackers = config_.more_trackers;
  owners.seeders = config_.seeders;
  owners.tracker_psk = config_.cluster_key.value_or(open_tracker_key());
  owners.seeder_psk = psk_;
  tracker::AnnouncerConfig announcer;
  announcer.swarm = swarm;
  announcer.listen_port = mapped_port;
  announcer.zone = config_.zone;
  if (!config_.advertised.empty()) announcer.advertised = own_endpoints();
  announce_to_link(*swarm_, owners, announcer);
  if (config_.gossip) {
    P2P_TRY(node_->join_cluster(*config_.gossip, mapped_port, {}));
    node_->announce_to_table(*swarm_, std::move(announcer));
  }
  node_->refresh_announcers();
  return {};
}

// Where who has the link finds the cluster: here, or where we found it.
std::vector<HostPort> Seed::member_addresses() const {
  if (!config_.gossip) return {};
  const Endpoint own = node_->gossip()->membership().self().endpoint;
  std::vector<HostPort> addresses = {{own.address.to_string(), own.port}};
  for (const HostPort& address : config_.gossip->join)
    if (addresses.size() < kMaxLinkAddresses &&
        std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  return addresses;
}

void Seed::set_cluster_keys(const Keyring& keys) {
  node_->set_cluster_keys(keys, psk_);
  if (!config_.link_secret && !(keys[0] == psk_))
    log_warn(
        "this content stays closed by the key with which it was seeded: for those who have only "
        "the new one, seed it again");
}

std::vector<HostPort> Seed::own_addresses() const {
  const Endpoint local = node_->transport().local();
  std::vector<HostPort> addresses;
  for (const HostPort& address : config_.advertised)
    addresses.push_back({address.host, address.port ? address.port : local.port});
  if (addresses.empty())
    for (const Endpoint& endpoint : reachable_endpoints(local))
      addresses.push_back({endpoint.address.to_string(), endpoint.port});
  return addresses;
}

std::vector<Endpoint> Seed::own_endpoints() const {
  std::vector<Endpoint> endpoints;
  for (const HostPort& address : own_addresses())
    if (auto ip = IpAddress::parse(address.host)) endpoints.push_back({*ip, address.port});
  // Names alone: owners are told what this host knows itself by.
  return endpoints.empty() ? reachable_endpoints(node_->transport().local()) : endpoints;
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
