// p2p members: who is in the cluster, and who is not any more.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/units.h"
#include "net/log.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/member_state.h"
#include "tools/p2p/observer.h"
#include "tools/p2p/table_text.h"

namespace p2p::cli {
namespace {

using Member = gossip::MemberTable::Member;
using gossip::MemberStatus;

struct MembersOptions {
  ClusterOptions cluster;
  std::vector<std::string> statuses;
  bool json = false;
};

// Of the live ones since their start, by their own clocks; of others since they are what they are.
Duration age_of(const Member& member) {
  if (member.status != MemberStatus::kAlive) return net::Loop::now() - member.since;
  const std::uint64_t now = clock_ms();
  return std::chrono::milliseconds(now - std::min(now, member.claim->epoch));
}

std::vector<Member> chosen(const gossip::MemberTable& table,
                           const std::vector<std::string>& statuses) {
  std::vector<Member> members;
  for (const Member& member : table.members())
    if (statuses.empty() || std::find(statuses.begin(), statuses.end(),
                                      gossip::name_of(member.status)) != statuses.end())
      members.push_back(member);
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
    return std::tie(a.claim->endpoint, a.claim->id) < std::tie(b.claim->endpoint, b.claim->id);
  });
  return members;
}

void print_json(const std::vector<Member>& members) {
  for (const Member& member : members) {
    const gossip::Claim& claim = *member.claim;
    const nlohmann::json json = {{"id", claim.id.hex()},
                                 {"address", claim.endpoint.to_string()},
                                 {"service_port", claim.service_port},
                                 {"status", gossip::name_of(member.status)},
                                 {"epoch", claim.epoch},
                                 {"incarnation", claim.incarnation},
                                 {"seconds", to_seconds(age_of(member))}};
    std::printf("%s\n", json.dump().c_str());
  }
}

void print_table(const std::vector<Member>& members) {
  std::vector<std::vector<std::string>> rows = {{"ID", "ADDRESS", "SERVICE", "STATUS", "SINCE"}};
  for (const Member& member : members) {
    const gossip::Claim& claim = *member.claim;
    rows.push_back({claim.id.short_hex(), claim.endpoint.to_string(),
                    claim.service_port == 0 ? "-" : absl::StrCat(claim.service_port),
                    gossip::name_of(member.status), format_duration(age_of(member)) + " ago"});
  }
  std::fputs(table_text(rows).c_str(), stdout);
}

Result<int> members(const MembersOptions& options) {
  P2P_ASSIGN(net::GossipConfig config, cluster_config(options.cluster));
  SteppedLoop loop;
  Observer observer(loop, std::move(config),
                    from_seconds(options.cluster.observer.patience_seconds));
  P2P_TRY(observer.join());
  const bool only_alive = options.statuses == std::vector<std::string>{"alive"};
  if (const Status known = observer.learn_absent(); !known) {
    if (known.error().code == ErrorCode::kInterrupted || (!only_alive && !options.statuses.empty()))
      return known.error();
    if (!only_alive) net::log_warn(known.error().message);
  }
  const std::vector<Member> found = chosen(observer.table(), options.statuses);
  if (options.json)
    print_json(found);
  else
    print_table(found);
  return kOk;
}

}  // namespace

void add_members(CLI::App& app, Run& run) {
  auto options = std::make_shared<MembersOptions>();
  CLI::App* command =
      app.add_subcommand("members", "Who is in the cluster, and who was until a day ago");
  add_cluster_options(*command, options->cluster);
  add_list_option(*command, "--status", options->statuses,
                  "Only those that are alive, suspect, dead or left; may be repeated")
      ->check(CLI::IsMember({"alive", "suspect", "dead", "left"}));
  command->add_flag("--json", options->json, "One JSON object a line for each member")
      ->envname("P2P_JSON");
  command->footer(
      "Example:\n"
      "  p2p members --join first.example:7946\n"
      "  p2p members --status dead --status left\n\n"
      "SERVICE is the TCP port for announces, at the same address. SINCE: those that are alive "
      "since "
      "they started, the others since they are not. Who is not alive is told by the three members "
      "that run longest, which remember it for 24 hours.\n\n"
      "Exit code 4: no member of the cluster answers.");
  command->callback([options, &run] { run = body_of(options, members); });
}

}  // namespace p2p::cli
