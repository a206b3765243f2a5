// p2p lookup: who owns a content's list of peers, and what the owners say who has it.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crypto/digest.h"
#include "gossip/ownership.h"
#include "net/link_owners.h"
#include "net/log.h"
#include "net/lookup_client.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/key_file.h"
#include "tools/p2p/observer.h"
#include "tools/p2p/table_text.h"

namespace p2p::cli {
namespace {

struct LookupOptions {
  ObserverOptions observer;
  std::string link;
  std::vector<std::string> trackers;
  bool json = false;
};

// One that may be asked.
struct Owner {
  std::string name;    // of a member its id, of a tracker its address
  std::string shown;   // shorter
  std::string status;  // of a member; "tracker", "seeder"
  net::OwnerAddress address;
  std::optional<std::size_t> question;
};

struct Found {
  bool complete = false;
  std::optional<std::uint8_t> have_percent;
  std::vector<std::string> told_by;
};

class Lookup {
 public:
  Lookup(SteppedLoop& loop, const SwarmId& swarm, Duration patience)
      : loop_(loop), patience_(patience), client_(loop.loop(), swarm) {}

  // In their order, until `enough` have answered or all were asked.
  Status ask(std::vector<Owner> owners, std::size_t enough) {
    std::move(owners.begin(), owners.end(), std::back_inserter(owners_));
    for (std::size_t answers = 0; first_ < owners_.size() && answers < enough;) {
      const std::size_t last = std::min(owners_.size(), first_ + enough - answers);
      for (std::size_t i = first_; i < last; ++i)
        owners_[i].question = client_.ask(owners_[i].address);
      P2P_TRY(loop_.run_until(net::Loop::now() + patience_, [&] {
        return std::all_of(owners_.begin() + first_, owners_.begin() + last,
                           [&](const Owner& owner) { return answer(owner).has_value(); });
      }));
      for (; first_ < last; ++first_) answers += has_answered(owners_[first_]);
    }
    first_ = owners_.size();
    return {};
  }

  const std::vector<Owner>& owners() const { return owners_; }
  bool has_answered(const Owner& owner) const {
    return owner.question && answer(owner) && answer(owner)->has_value();
  }
  // For the person.
  std::string said(const Owner& owner) const {
    if (!owner.question) return "not asked";
    if (!answer(owner)) return "no answer";
    if (!*answer(owner)) return answer(owner)->error().message;
    const std::size_t count = (*answer(owner))->size();
    return absl::StrCat(count, count == 1 ? " peer" : " peers");
  }
  std::map<Endpoint, Found> found() const {
    std::map<Endpoint, Found> peers;
    for (const Owner& owner : owners_) {
      if (!has_answered(owner)) continue;
      for (const tracker::PeerRecord& record : **answer(owner)) {
        Found& peer = peers[record.endpoint];
        peer.complete |= record.complete;
        // Who has heard later knows more.
        if (record.have_percent)
          peer.have_percent = std::max(peer.have_percent.value_or(0), *record.have_percent);
        peer.told_by.push_back(owner.shown);
      }
    }
    return peers;
  }

 private:
  const std::optional<net::LookupClient::Answer>& answer(const Owner& owner) const {
    return client_.answer(*owner.question);
  }

  SteppedLoop& loop_;
  Duration patience_;
  net::LookupClient client_;
  std::vector<Owner> owners_;
  std::size_t first_ = 0;
};

std::vector<Owner> members_that_own(const gossip::MemberTable& table, const SwarmId& swarm,
                                    const Secret& psk) {
  std::vector<Owner> owners;
  for (const gossip::ClaimPtr& claim : gossip::owners_to_ask(table, swarm))
    owners.push_back({claim->id.hex(),
                      claim->id.short_hex(),
                      gossip::name_of(table.find(claim->id)->status),
                      {{claim->endpoint.address.to_string(), claim->service_port}, psk},
                      std::nullopt});
  return owners;
}

std::vector<Owner> trackers_that_own(const SwarmId& swarm, const std::vector<HostPort>& trackers,
                                     const Secret& psk) {
  std::vector<Owner> owners;
  for (const net::OwnerAddress& tracker : net::rank_trackers(swarm, trackers, psk))
    owners.push_back(
        {tracker.where.to_string(), tracker.where.to_string(), "tracker", tracker, std::nullopt});
  return owners;
}

std::vector<Owner> seeders_that_own(const std::vector<HostPort>& seeders, const Secret& psk) {
  std::vector<Owner> owners;
  for (const HostPort& seeder : seeders)
    owners.push_back(
        {seeder.to_string(), seeder.to_string(), "seeder", {seeder, psk}, std::nullopt});
  return owners;
}

std::string share_text(const Found& peer) {
  if (peer.complete) return "complete";
  return peer.have_percent ? absl::StrCat(*peer.have_percent, " %") : "not all";
}

void print_json(const Lookup& lookup) {
  for (const Owner& owner : lookup.owners()) {
    const nlohmann::json json = {{"owner", owner.name},
                                 {"address", owner.address.where.to_string()},
                                 {"status", owner.status},
                                 {"asked", owner.question.has_value()},
                                 {"answered", lookup.has_answered(owner)},
                                 {"said", lookup.said(owner)}};
    std::printf("%s\n", json.dump().c_str());
  }
  for (const auto& [endpoint, peer] : lookup.found()) {
    nlohmann::json json = {{"peer", endpoint.to_string()},
                           {"complete", peer.complete},
                           {"have_percent", nullptr},
                           {"told_by", peer.told_by}};
    if (peer.have_percent) json["have_percent"] = *peer.have_percent;
    std::printf("%s\n", json.dump().c_str());
  }
}

void print_tables(const Lookup& lookup) {
  std::vector<std::vector<std::string>> rows = {{"OWNER", "ADDRESS", "STATUS", "ANSWER"}};
  for (const Owner& owner : lookup.owners())
    rows.push_back(
        {owner.shown, owner.address.where.to_string(), owner.status, lookup.said(owner)});
  std::fputs(table_text(rows).c_str(), stdout);
  const auto found = lookup.found();
  if (found.empty()) return;
  rows = {{"PEER", "HAS", "TOLD BY"}};
  for (const auto& [endpoint, peer] : found)
    rows.push_back({endpoint.to_string(), share_text(peer), absl::StrJoin(peer.told_by, ", ")});
  std::printf("\n%s", table_text(rows).c_str());
}

Result<int> lookup(const LookupOptions& options) {
  P2P_ASSIGN(const Link link, read_link(options.link));
  P2P_ASSIGN(const Keyring keys, read_cluster_keys(options.observer.cluster_key));
  const auto cluster_key = keys.empty() ? std::nullopt : std::optional(keys[0]);
  P2P_ASSIGN(const Secret psk, peer_secret(link, cluster_key));
  P2P_ASSIGN(std::vector<HostPort> trackers, parse_trackers(options.trackers));
  trackers.insert(trackers.begin(), link.trackers.begin(), link.trackers.end());
  const SwarmId swarm = swarm_id_of(link.content, psk);
  const Secret owner_psk = cluster_key.value_or(open_tracker_key());
  const Duration patience = from_seconds(options.observer.patience_seconds);

  SteppedLoop loop;
  Lookup asking(loop, swarm, patience);
  // A member of this host is asked where nobody else is named.
  const bool names_others = !trackers.empty() || !link.seeders.empty();
  if (!options.observer.join.empty() || !link.members.empty() || !names_others) {
    P2P_ASSIGN(net::GossipConfig config, observer_config(options.observer, link.members));
    Observer observer(loop, std::move(config), patience);
    if (const Status joined = observer.join(); joined) {
      P2P_TRY(
          asking.ask(members_that_own(observer.table(), swarm, owner_psk), gossip::kAskedOwners));
    } else if (!names_others || joined.error().code != ErrorCode::kUnreachable) {
      return joined.error();
    } else {
      net::log_warn(joined.error().message);
    }
  }
  P2P_TRY(asking.ask(trackers_that_own(swarm, trackers, owner_psk), net::kTrackerSpread));
  // Those who announce to nobody else are known to the link's seeders.
  if (asking.owners().empty())
    P2P_TRY(asking.ask(seeders_that_own(link.seeders, psk), link.seeders.size()));
  if (options.json)
    print_json(asking);
  else
    print_tables(asking);
  const auto& owners = asking.owners();
  if (std::any_of(owners.begin(), owners.end(),
                  [&](const Owner& owner) { return asking.has_answered(owner); }))
    return kOk;
  return Error{ErrorCode::kUnreachable, owners.empty()
                                            ? "no member of the cluster takes announces"
                                            : "no owner answers: see above what each of them said"};
}

}  // namespace

void add_lookup(CLI::App& app, Run& run) {
  auto options = std::make_shared<LookupOptions>();
  CLI::App* command =
      app.add_subcommand("lookup", "Who knows who has a content, and who has how much of it");
  command->add_option("LINK", options->link, "The link, or - to read it from stdin")
      ->required()
      ->envname("P2P_LINK");
  add_observer_options(*command, options->observer);
  add_list_option(*command, "--tracker", options->trackers,
                  "A tracker (HOST:PORT) to ask beside those of the link; may be repeated");
  command->add_flag("--json", options->json, "One JSON object a line: the owners, then the peers")
      ->envname("P2P_JSON");
  command->footer(
      "Example:\n"
      "  p2p lookup 'p2p://...#...'\n"
      "  p2p lookup 'p2p://...#...' --join first.example:7946\n\n"
      "In a cluster three members own the list of a content's peers; they stand in the order in "
      "which they are asked, those that are suspected of being dead last, and two of them are "
      "asked. Of trackers the best two are; the link's seeders, where nobody else can be. An owner "
      "names up to 50 peers at random, and how much "
      "each had when it announced last, up to some minutes ago.\n\n"
      "Exit codes: 0: somebody answered, though it may know of no peer; 4: no owner answers.");
  command->callback([options, &run] { run = body_of(options, lookup); });
}

}  // namespace p2p::cli
