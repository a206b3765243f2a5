#include "net/hosted_swarm.h"

#include <string>

#include "gossip/ownership.h"
#include "net/node.h"

namespace p2p::net {
namespace {

std::uint16_t permille_of(const Bitfield& have) {
  if (have.size() == 0) return tracker::kFullPermille;
  return static_cast<std::uint16_t>(std::uint64_t{have.count()} * tracker::kFullPermille /
                                    have.size());
}

}  // namespace

HostedSwarm::HostedSwarm(Loop& loop, Transport& transport, SessionConfig config,
                         SessionHandlers handlers, Random random)
    : loop_(loop),
      transport_(transport),
      id_(config.swarm),
      psk_(config.psk),
      listen_port_(config.listen_port),
      advertised_(config.advertised),
      zone_(config.book.zone),
      random_(random),
      session_(loop, transport, std::move(config), std::move(handlers), random.fork("session")) {}

tracker::AnnouncerConfig HostedSwarm::announcer_config() const {
  tracker::AnnouncerConfig config;
  config.swarm = id_;
  config.listen_port = listen_port_;
  config.zone = zone_;
  config.advertised = advertised_;
  return config;
}

AnnounceClient& HostedSwarm::announce_to(const std::vector<OwnerAddress>& ranked,
                                         tracker::AnnouncerConfig config) {
  AnnounceClient& added = announcers_.emplace_back(
      loop_, transport_, ranked, std::move(config),
      random_.fork("announcer " + std::to_string(announcers_.size())),
      [this](const std::vector<tracker::PeerRecord>& found) { add_candidates(found); });
  added.set_on_report([this](bool trusted) { return report(trusted); });
  return added;
}

PayloadBytes HostedSwarm::payload() const {
  return {session_.received_bytes(), session_.running() ? session_.swarm().stats().sent_bytes : 0};
}

tracker::Report HostedSwarm::report(bool with_name) {
  const ContentIo* content = session_.content();
  if (!session_.running() || content == nullptr) return {};
  const peer::Swarm& swarm = session_.swarm();
  tracker::Report report =
      report_.make(swarm.have(), content->layout.total_bytes, session_.received_bytes(),
                   swarm.stats().sent_bytes, Loop::now());
  if (with_name && content->manifest->name.size() <= tracker::kMaxReportNameBytes)
    report.name = content->manifest->name;
  return report;
}

void HostedSwarm::announce_to_table(tracker::AnnouncerConfig config, GossipService& gossip,
                                    const Secret& table_psk) {
  gossip_ = &gossip;
  config.spread = gossip::kOwners;
  table_announcer_ = &announce_to({}, std::move(config));
  table_announcer_->set_on_lost([this](const HostPort& where) { doubt_owner(where); });
  rank_members(table_psk);
}

// Whoever is not reached by TCP is pinged at once: a crash is found sooner than by chance.
void HostedSwarm::doubt_owner(const HostPort& where) {
  const auto found = table_owners_.find(where);
  if (found != table_owners_.end()) gossip_->doubt(found->second);
}

// A few more than the spread are named, so that an old owner is left only when a new one has
// answered.
void HostedSwarm::rank_members(const Secret& table_psk) {
  if (!table_announcer_) return;
  std::vector<OwnerAddress> ranked;
  table_owners_.clear();
  for (const gossip::ClaimPtr& owner :
       gossip::owners_of(gossip_->membership().table(), id_, 2 * gossip::kOwners))
    if (owner->id != transport_.self()) {
      ranked.push_back({{owner->endpoint.address.to_string(), owner->service_port}, table_psk});
      table_owners_.emplace(ranked.back().where, owner->id);
    }
  table_announcer_->set_owners(ranked);
}

void HostedSwarm::refresh(OwnerService* own_table) {
  const bool starving = session_.hunger() == peer::Hunger::kStarved;
  for (AnnounceClient& announcer : announcers_) {
    if (session_.running())
      announcer.set_progress(permille_of(session_.swarm().have()), session_.swarm().complete());
    announcer.set_wanted(session_.wanted(), starving);
  }
  if (own_table) tell_own_table(*own_table);
}

void HostedSwarm::tell_own_table(OwnerService& table) {
  const bool complete = session_.running() && session_.swarm().complete();
  // In steps of a percent, as owners tell it.
  const std::uint16_t have = session_.running() ? permille_of(session_.swarm().have()) : 0;
  if (own_entry_ == std::pair(complete, have / 10)) return;
  own_entry_ = {complete, have / 10};
  std::vector<Endpoint> endpoints = advertised_;
  if (endpoints.empty()) endpoints = reachable_endpoints(transport_.local());
  table.set_self(id_, std::move(endpoints), complete, zone_, have);
}

void HostedSwarm::stop() {
  stop_announcing();
  session_.stop();
}

void HostedSwarm::stop_announcing() {
  for (AnnounceClient& announcer : announcers_) announcer.stop();
}

AnnounceClient* HostedSwarm::announcer_of(ConnectionId id) {
  for (AnnounceClient& announcer : announcers_)
    if (announcer.owns(id)) return &announcer;
  return nullptr;
}

void HostedSwarm::on_closed(ConnectionId id, const Error& why) {
  if (AnnounceClient* announcer = announcer_of(id)) announcer->on_closed(id, why);
  session_.on_closed(id, why);
}

void HostedSwarm::add_candidates(const std::vector<tracker::PeerRecord>& found) {
  std::vector<Endpoint> near, far;
  for (const tracker::PeerRecord& peer : found) (peer.far ? far : near).push_back(peer.endpoint);
  session_.add_candidates(near, false);
  session_.add_far_candidates(far);
}

}  // namespace p2p::net
