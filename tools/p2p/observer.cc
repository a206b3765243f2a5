#include "tools/p2p/observer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "net/log.h"
#include "net/udp_silence.h"
#include "tools/p2p/gossip_options.h"
#include "tools/p2p/key_file.h"
#include "tools/p2p/member_state.h"

namespace p2p::cli {
namespace {

// Of those that were asked, in an error text.
constexpr std::size_t kShownPlaces = 4;

}  // namespace

void add_observer_options(CLI::App& command, ObserverOptions& options) {
  add_list_option(
      command, "--join", options.join,
      "A member (HOST:PORT) of the cluster to ask; may be repeated. Without it, members "
      "that this host has known, and those on it");
  add_file_option(command, "--cluster-key", options.cluster_key,
                  "Key file of `p2p keygen`, where the cluster has one");
  add_flag_option(command, "--patience", options.patience_seconds,
                  "Seconds to wait while nobody answers")
      ->check(CLI::Range(0.1, 1e9))
      ->type_name("SECONDS");
}

Result<net::GossipConfig> observer_config(const ObserverOptions& options,
                                          const std::vector<HostPort>& of_link) {
  P2P_ASSIGN(const Keyring keys, read_cluster_keys(options.cluster_key));
  if (!options.join.empty() || !of_link.empty()) return observer_of(options.join, of_link, keys);
  return observer_of({}, {}, keys, known_on_this_host());
}

void add_cluster_options(CLI::App& command, ClusterOptions& options) {
  command.add_option("LINK", options.link, "A link whose cluster is meant; - reads it from stdin");
  add_observer_options(command, options.observer);
}

Result<net::GossipConfig> cluster_config(const ClusterOptions& options) {
  if (options.link.empty()) return observer_config(options.observer, {});
  P2P_ASSIGN(const Link link, read_link(options.link));
  return observer_config(options.observer, link.members);
}

Observer::Observer(SteppedLoop& loop, net::GossipConfig config, Duration patience)
    : loop_(loop),
      config_(config),
      patience_(patience),
      gossip_(loop.loop(), std::move(config), passing_member().identity.public_key,
              Random(random_seed()),
              {nullptr, nullptr, [this](const PeerId& id) { reached_.insert(id); },
               [this](std::size_t answers) { absent_answers_ = answers; }}) {}

Status Observer::join() {
  P2P_TRY(gossip_.start(0));
  const auto in_step = [&] { return gossip_.membership().in_step(); };
  for (std::size_t known = 0;;) {
    P2P_ASSIGN(const bool done, loop_.run_until(net::Loop::now() + patience_, in_step));
    if (done) return {};
    const auto& heard = gossip_.membership().heard_view();
    if (!heard) return nobody_answers();
    if (table().live() <= std::exchange(known, table().live())) {
      net::log_warn(absl::StrCat("of ", heard->live, " members ", table().live(),
                                 " are known here: the cluster changes faster than it is learned, "
                                 "or packets are lost"));
      return {};
    }
  }
}

std::string Observer::asked() const {
  std::vector<std::string> asked;
  for (const HostPort& member : config_.join) asked.push_back(member.to_string());
  for (const Endpoint& member : config_.known) asked.push_back(member.to_string());
  const std::size_t more = asked.size() > kShownPlaces ? asked.size() - kShownPlaces : 0;
  asked.resize(asked.size() - more);
  return absl::StrCat(absl::StrJoin(asked, ", "),
                      more > 0 ? absl::StrCat(" and ", more, " other places") : "");
}

// Members are silent to who has no key of theirs. But where nothing listens, the system says so.
Error Observer::nobody_answers() {
  std::vector<Endpoint> places = config_.known;
  std::string text = "no member of the cluster answers at " + asked();
  std::size_t waiting = config_.join.size();
  for (const HostPort& member : config_.join)
    loop_.loop().resolve(member, [&](Result<std::vector<Endpoint>> found) {
      --waiting;
      if (!found) return absl::StrAppend(&text, "; ", found.error().message);
      places.insert(places.end(), found->begin(), found->end());
    });
  const auto resolved = loop_.run_until(kNever, [&] { return waiting == 0; });
  if (!resolved) return resolved.error();
  if (std::any_of(places.begin(), places.end(), net::is_udp_silent)) {
    absl::StrAppend(&text,
                    "; who is there may not have this cluster key, or UDP is not let through. ",
                    config_.is_closed ? "Is --cluster-key the file that the members have?"
                                      : "Does the cluster need a --cluster-key?");
  } else if (!places.empty()) {
    absl::StrAppend(&text, "; nothing listens there. Is a member running, at this UDP port?");
  }
  if (config_.join.empty())
    absl::StrAppend(&text, " Say where one is: --join HOST:PORT, or P2P_JOIN in the environment");
  return Error{ErrorCode::kUnreachable, std::move(text)};
}

Status Observer::learn_absent() {
  absent_answers_.reset();
  gossip_.ask_absent();
  // It ends by itself; how long that takes depends on how many there are.
  P2P_TRY(loop_.run_until(kNever, [&] { return absent_answers_.has_value(); }));
  if (*absent_answers_ > 0) return {};
  return Error{ErrorCode::kUnreachable,
               "no member answers the question who is dead or has left; try again"};
}

// False: all have answered meanwhile.
Result<bool> Observer::ping_all(const std::set<PeerId>& members) {
  const Time start = net::Loop::now();
  auto next = members.begin();
  double sent = 0;
  P2P_TRY(loop_.run_until(kNever, [&] {
    const double due = 1 + to_seconds(net::Loop::now() - start) * kReachPerSecond;
    for (; next != members.end() && sent < due; ++next) {
      if (reached_.contains(*next)) continue;
      gossip_.reach(*next);
      ++sent;
    }
    return next == members.end();
  }));
  const auto all_answered = [&] {
    return std::includes(reached_.begin(), reached_.end(), members.begin(), members.end());
  };
  return loop_.run_until(net::Loop::now() + kReachInterval, all_answered);
}

Result<std::set<PeerId>> Observer::find_silent(std::set<PeerId> members) {
  reached_.clear();
  for (int i = 0; i < kReachTries; ++i) {
    P2P_ASSIGN(const bool all, ping_all(members));
    if (all) break;
  }
  for (const PeerId& id : reached_) members.erase(id);
  return members;
}

}  // namespace p2p::cli
