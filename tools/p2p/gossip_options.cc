#include "tools/p2p/gossip_options.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "net/log.h"
#include "net/node.h"
#include "tools/p2p/key_file.h"
#include "tools/p2p/member_state.h"

namespace p2p::cli {
namespace {

Result<std::vector<HostPort>> parse_join(const std::vector<std::string>& texts,
                                         const std::vector<HostPort>& of_link) {
  std::vector<HostPort> join;
  for (const std::string& text : texts) {
    auto member = HostPort::parse(text);
    if (!member) return Error{ErrorCode::kUsage, "--join: " + member.error().message};
    if (member->port == 0)
      return Error{ErrorCode::kUsage, "--join: " + text + " has no port from 1 to 65535"};
    join.push_back(*std::move(member));
  }
  join.insert(join.end(), of_link.begin(), of_link.end());
  if (join.size() > 2 * kMaxLinkAddresses)
    return Error{ErrorCode::kUsage, absl::StrCat("--join: ", join.size(), " members, more than ",
                                                 2 * kMaxLinkAddresses)};
  return join;
}

Result<net::GossipConfig> config_of(const std::vector<std::string>& join,
                                    const std::vector<HostPort>& of_link, const Keyring& keys) {
  net::GossipConfig config;
  P2P_ASSIGN(config.join, parse_join(join, of_link));
  config.keys = keys;
  config.is_closed = !config.keys.empty();
  if (!config.is_closed) config.keys = Keyring::of({open_tracker_key()}).value();
  config.listen = net::default_listen_endpoint();
  return config;
}

}  // namespace

void add_gossip_options(CLI::App& command, GossipOptions& options) {
  add_flag_option(command, "--gossip", options.gossip,
                  "ADDR:PORT (UDP) at which to be a member of the cluster, whose members know who "
                  "has what without a tracker");
  add_list_option(command, "--join", options.join,
                  "A member (HOST:PORT) by which to find the others; may be repeated");
}

Result<std::optional<Membership>> membership_of(const GossipOptions& options,
                                                const std::vector<HostPort>& of_link,
                                                const std::string& cluster_key,
                                                const std::optional<IpAddress>& advertised) {
  if (!options.given() && of_link.empty()) return std::optional<Membership>();
  Membership membership;
  P2P_ASSIGN(const Keyring keys, read_cluster_keys(cluster_key));
  P2P_ASSIGN(membership.config, config_of(options.join, of_link, keys));
  net::GossipConfig& config = membership.config;
  if (!options.gossip.empty()) {
    auto listen = Endpoint::parse(options.gossip);
    if (!listen)
      return Error{ErrorCode::kUsage, "--gossip: " + listen.error().message +
                                          "; write it like 0.0.0.0:7946 or [::]:7946"};
    config.listen = *listen;
  }
  if (advertised) config.advertised = Endpoint{*advertised, config.listen.port};
  P2P_ASSIGN(const MemberState state, open_member_state(config.listen.port));
  membership.identity = state.identity;
  config.epoch = state.epoch;
  config.known = state.known;
  if (!state.known_file.empty())
    config.keep = [file = state.known_file](const std::vector<Endpoint>& members) {
      keep_known(file, members);
    };
  return std::optional(std::move(membership));
}

Result<net::GossipConfig> observer_of(const std::vector<std::string>& join,
                                      const std::vector<HostPort>& of_link, const Keyring& keys,
                                      std::vector<Endpoint> known) {
  P2P_ASSIGN(net::GossipConfig config, config_of(join, of_link, keys));
  config.known = std::move(known);
  if (config.join.empty() && config.known.empty())
    return Error{ErrorCode::kUsage, "--join: the HOST:PORT of a member of the cluster is needed"};
  config.observer = true;
  config.epoch = passing_member().epoch;
  return config;
}

KeyFileWatch::KeyFileWatch(net::Loop& loop, const std::string& path) : path_(path) {
  if (!path.empty()) watch_.emplace(loop, path, [this] { take_keys(); });
}

void KeyFileWatch::take_keys() {
  if (!on_change_ || path_.empty()) return;
  const Result<Keyring> keys = read_cluster_keys(path_);
  if (!keys) return net::log_warn("the cluster keys stay as they were: " + keys.error().message);
  on_change_(*keys);
  std::string names;
  for (std::size_t i = 0; i < keys->size(); ++i) names += " " + hint_text(keys->hint(i));
  net::log_info("the cluster keys are now" + names);
}

}  // namespace p2p::cli
