// p2p reachability: which members do not answer this host, whatever the others think of them.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "net/log.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/observer.h"
#include "tools/p2p/table_text.h"

namespace p2p::cli {
namespace {

struct ReachabilityOptions {
  ClusterOptions cluster;
  bool json = false;
};

void print_json(const gossip::MemberTable& table, const std::set<PeerId>& silent) {
  for (const PeerId& id : silent) {
    const auto& member = *table.find(id);
    const nlohmann::json json = {{"id", id.hex()},
                                 {"address", member.claim->endpoint.to_string()},
                                 {"status", gossip::name_of(member.status)}};
    std::printf("%s\n", json.dump().c_str());
  }
}

void print_table(const gossip::MemberTable& table, const std::set<PeerId>& silent) {
  std::vector<std::vector<std::string>> rows = {{"SILENT", "ADDRESS", "THE CLUSTER SAYS"}};
  for (const PeerId& id : silent) {
    const auto& member = *table.find(id);
    rows.push_back(
        {id.short_hex(), member.claim->endpoint.to_string(), gossip::name_of(member.status)});
  }
  if (!silent.empty()) std::fputs(table_text(rows).c_str(), stdout);
}

Result<int> reachability(const ReachabilityOptions& options) {
  P2P_ASSIGN(net::GossipConfig config, cluster_config(options.cluster));
  SteppedLoop loop;
  Observer observer(loop, std::move(config),
                    from_seconds(options.cluster.observer.patience_seconds));
  P2P_TRY(observer.join());
  std::set<PeerId> members;
  for (const auto& member : observer.table().members())
    if (gossip::is_live(member.status)) members.insert(member.claim->id);
  P2P_ASSIGN(std::set<PeerId> silent, observer.find_silent(members));
  if (!silent.empty()) {
    // The others may have found out meanwhile; and who has said good-bye need not answer.
    if (const Status asked = observer.learn_absent(); !asked) {
      if (asked.error().code == ErrorCode::kInterrupted) return asked.error();
      net::log_warn(asked.error().message);
    }
    std::erase_if(silent, [&](const PeerId& id) {
      return observer.table().find(id)->status == gossip::MemberStatus::kLeft &&
             members.erase(id) == 1;
    });
  }
  if (options.json)
    print_json(observer.table(), silent);
  else
    print_table(observer.table(), silent);
  if (!options.json)
    std::printf("%s\n",
                silent.empty()
                    ? absl::StrCat("all ", members.size(), " members answer").c_str()
                    : absl::StrCat(silent.size(), " of ", members.size(), " members do not answer")
                          .c_str());
  return silent.empty() ? kOk : kFailed;
}

}  // namespace

void add_reachability(CLI::App& app, Run& run) {
  auto options = std::make_shared<ReachabilityOptions>();
  CLI::App* command = app.add_subcommand(
      "reachability", "Ping every member of the cluster from here, and say who does not answer");
  add_cluster_options(*command, options->cluster);
  command->add_flag("--json", options->json, "One JSON object a line for each that is silent")
      ->envname("P2P_JSON");
  command->footer(
      "Example:\n"
      "  p2p reachability --join first.example:7946\n\n"
      "Each member gets up to three pings over UDP, a second apart, at most 1,000 a second in all. "
      "What the others think of one that is silent stands beside it: `alive` means that they reach "
      "it and this host does not.\n\n"
      "Exit codes: 0: all answer; 1: some do not; 4: no member of the cluster answers.");
  command->callback([options, &run] { run = body_of(options, reachability); });
}

}  // namespace p2p::cli
