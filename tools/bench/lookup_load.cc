// Peers that stay announced at several trackers and look others up all the while, so that it can be
// seen what a tracker's death costs them: many in one process, each with its own key, transport and
// announce client. Who kills and restarts the trackers is tools/bench/lookups.py.
//
// p2p-lookup-load PEERS SWARMS PERIOD-SECONDS NEWCOMERS-A-SECOND ADDR:PORT...
//
// Each peer looks its swarm up once a period, over the connections that it has: it asks every
// tracker that it is announced at. The lookup fails if none of them names a peer within
// kPatience. A newcomer is a peer that has no connection yet and leaves as soon as it was named
// one; it fails if that takes longer than kNewcomerPatience.
//
// Reads `down N` and `up N` (the tracker's place among the arguments) and `end` from stdin; prints
// one line of JSON whenever it becomes *full*: every peer is announced at the best two of the
// trackers that are up. The last line is printed at the end.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "net/link_owners.h"
#include "net/node.h"

namespace {

using namespace p2p;

constexpr Duration kTick = std::chrono::milliseconds(5);
constexpr Duration kPatience = std::chrono::seconds(1);
constexpr Duration kNewcomerPatience = std::chrono::seconds(2);
constexpr Duration kGoodbye = std::chrono::milliseconds(500);
constexpr Duration kLongestRun = std::chrono::minutes(10);
constexpr std::size_t kWant = 10;

struct Options {
  std::size_t peers = 0, swarms = 0;
  double period_s = 0, newcomers_per_s = 0;
  std::vector<HostPort> trackers;
};

// How one kind of lookup went.
struct Score {
  std::size_t failed = 0;
  std::vector<Duration> took;  // of those that did not

  void print(const char* name) {
    std::sort(took.begin(), took.end());
    const auto ms = [this](double share) {
      if (took.empty()) return 0.0;
      const auto at = static_cast<std::size_t>(share * static_cast<double>(took.size() - 1));
      return to_seconds(took[at]) * 1e3;
    };
    std::printf(
        ", \"%s\": {\"count\": %zu, \"failed\": %zu, \"p50_ms\": %.2f, \"p99_ms\": %.2f, "
        "\"max_ms\": %.2f}",
        name, took.size() + failed, failed, ms(0.5), ms(0.99), ms(1));
  }
};

class SimPeer {
 public:
  SimPeer(net::Loop& loop, const SwarmId& swarm, const std::vector<HostPort>& trackers,
          std::uint16_t port)
      : swarm_(swarm),
        born_(net::Loop::now()),
        transport_(loop, config(), [this](const net::Event& event) { on_event(event); }),
        client_(loop, transport_, net::rank_trackers(swarm, trackers, open_tracker_key()),
                announcer(swarm, port), Random(random_seed()),
                [this](const auto& found) { found_ |= !found.empty(); }) {
    client_.set_wanted(kWant, false);
    for (const net::OwnerAddress& owner : net::rank_trackers(swarm, trackers, open_tracker_key()))
      ranked_.push_back(*Endpoint::parse(owner.where.to_string()));
  }

  Time born() const { return born_; }
  bool found() const { return found_; }
  bool announced_at(const Endpoint& tracker) const {
    return std::any_of(open_.begin(), open_.end(), [&](const auto& entry) {
      return entry.second.announced && entry.second.tracker == tracker;
    });
  }
  // Best first.
  const std::vector<Endpoint>& ranked() const { return ranked_; }
  Duration longest_interval() const { return longest_interval_; }

  void look_up() {
    asked_at_ = net::Loop::now();
    answered_.reset();
    asked_.clear();
    for (const auto& [id, connection] : open_) {
      if (!connection.announced) continue;
      transport_.send(id, tracker::Message(tracker::Lookup{swarm_, kWant}));
      asked_.insert(id);
    }
    looking_ = true;
  }
  bool looking() const { return looking_; }
  // Whether the lookup is over; then it is counted.
  bool settle(Score& score) {
    const bool over = answered_ || asked_.empty() || net::Loop::now() - asked_at_ >= kPatience;
    if (!looking_ || !over) return false;
    looking_ = false;
    if (answered_)
      score.took.push_back(*answered_);
    else
      ++score.failed;
    return true;
  }

  void stop() { client_.stop(); }

 private:
  struct Connection {
    Endpoint tracker;
    bool announced = false;
  };

  static net::TransportConfig config() {
    net::TransportConfig config;
    config.lanes = 0;
    config.short_messages = true;
    return config;
  }
  static tracker::AnnouncerConfig announcer(const SwarmId& swarm, std::uint16_t port) {
    tracker::AnnouncerConfig config;
    config.swarm = swarm;
    config.spread = net::kTrackerSpread;
    config.listen_port = port;
    return config;
  }

  void on_event(const net::Event& event) {
    const net::ConnectionId id = event.connection;
    if (const auto* opened = std::get_if<net::Opened>(&event.what)) {
      if (!client_.owns(id)) return;
      open_[id].tracker = opened->remote;
      client_.on_opened(id);
    } else if (const auto* received = std::get_if<net::Received>(&event.what)) {
      const auto* message = std::get_if<tracker::Message>(&received->message);
      if (!message || !client_.owns(id)) return;
      if (const auto* handout = std::get_if<tracker::Handout>(message)) on_handout(id, *handout);
      client_.on_message(id, *message);
    } else if (const auto* closed = std::get_if<net::Closed>(&event.what)) {
      open_.erase(id);
      asked_.erase(id);
      client_.on_closed(id, closed->why);
    }
    // What the client has left is not where it is announced.
    std::erase_if(open_, [this](const auto& entry) { return !client_.owns(entry.first); });
  }

  void on_handout(net::ConnectionId id, const tracker::Handout& handout) {
    if (handout.interval == Duration::zero()) return;  // news
    open_[id].announced = true;
    longest_interval_ = std::max(longest_interval_, handout.interval);
    if (!asked_.contains(id)) return;
    // One that has just started knows nobody: then the other's answer counts.
    if (!handout.peers.empty() && !answered_) answered_ = net::Loop::now() - asked_at_;
    if (handout.peers.empty()) asked_.erase(id);
  }

  SwarmId swarm_;
  Time born_, asked_at_;
  std::vector<Endpoint> ranked_;
  net::Transport transport_;
  net::AnnounceClient client_;
  std::map<net::ConnectionId, Connection> open_;
  std::set<net::ConnectionId> asked_;  // by the lookup, and may still name somebody
  std::optional<Duration> answered_;
  bool looking_ = false, found_ = false;
  Duration longest_interval_{0};
};

class LookupLoad {
 public:
  explicit LookupLoad(const Options& options)
      : options_(options), up_(options.trackers.size(), true), timer_(loop_, [this] { tick(); }) {
    for (std::size_t i = 0; i < options.swarms; ++i)
      swarms_.push_back(*SwarmId::from_bytes(Secret::random().view()));
    for (const HostPort& tracker : options.trackers)
      endpoints_.push_back(*Endpoint::parse(tracker.to_string()));
  }

  int run() {
    std::thread reader([this] { read_commands(); });
    timer_.arm(began_);
    loop_.run();
    reader.join();
    newcomers_.clear();
    leaving_.clear();
    peers_.clear();
    return 0;
  }

 private:
  // A few more each tick until all are there: as many handshakes at once would only wait for each
  // other.
  static constexpr std::size_t kStartsPerTick = 8;

  void read_commands() {
    std::string line;
    while (line != "end" && std::getline(std::cin, line))
      loop_.post([this, line] { on_command(line); });
    loop_.post([this] { end(); });
  }

  void on_command(const std::string& line) {
    std::istringstream words(line);
    std::string what;
    std::size_t number = 0;
    if (!(words >> what >> number) || number >= up_.size()) return;
    up_[number] = what == "up";
    full_ = false;
    changed_at_ = net::Loop::now();
  }

  std::unique_ptr<SimPeer> make_peer(std::size_t number) {
    return std::make_unique<SimPeer>(loop_, swarms_[number % swarms_.size()], options_.trackers,
                                     static_cast<std::uint16_t>(10'000 + number % 50'000));
  }

  void tick() {
    const Time now = net::Loop::now();
    if (now - began_ > kLongestRun) std::_Exit(1);
    for (std::size_t i = 0; i < kStartsPerTick && peers_.size() < options_.peers; ++i)
      peers_.push_back(make_peer(peers_.size()));
    watch_fullness(now);
    if (ever_full_) {
      look_up(now);
      renew(now);
    }
    timer_.arm(now + kTick);
  }

  bool is_full(const SimPeer& peer) const {
    std::size_t best = 0;
    for (const Endpoint& tracker : peer.ranked()) {
      const auto place = std::find(endpoints_.begin(), endpoints_.end(), tracker);
      if (!up_[static_cast<std::size_t>(place - endpoints_.begin())]) continue;
      if (!peer.announced_at(tracker)) return false;
      if (++best == net::kTrackerSpread) return true;
    }
    return true;
  }

  void watch_fullness(Time now) {
    if (full_ || peers_.size() < options_.peers) return;
    full_ = std::all_of(peers_.begin(), peers_.end(),
                        [this](const auto& peer) { return is_full(*peer); });
    if (!full_) return;
    if (!ever_full_) since_ = now;
    ever_full_ = true;
    print("full", now);
  }

  // As many as were due since the last tick, one peer after another.
  void look_up(Time now) {
    for (auto& peer : peers_) peer->settle(lookups_);
    const double due =
        to_seconds(now - since_) * static_cast<double>(peers_.size()) / options_.period_s;
    for (; static_cast<double>(begun_) < due; ++begun_) {
      SimPeer& peer = *peers_[begun_ % peers_.size()];
      // Its last one is still open where the tracker does not answer: that one is counted.
      if (!peer.looking()) peer.look_up();
    }
  }

  void renew(Time now) {
    const double due = to_seconds(now - since_) * options_.newcomers_per_s;
    for (; static_cast<double>(came_) < due; ++came_)
      newcomers_.push_back(make_peer(peers_.size() + came_));
    std::erase_if(newcomers_, [&](std::unique_ptr<SimPeer>& peer) {
      const Duration age = now - peer->born();
      if (!peer->found() && age < kNewcomerPatience) return false;
      if (peer->found())
        arrivals_.took.push_back(age);
      else
        ++arrivals_.failed;
      peer->stop();
      leaving_.emplace_back(now + kGoodbye, std::move(peer));
      return true;
    });
    while (!leaving_.empty() && leaving_.front().first <= now) leaving_.pop_front();
  }

  void print(const char* event, Time now) {
    Duration interval{0};
    for (const auto& peer : peers_) interval = std::max(interval, peer->longest_interval());
    std::printf("{\"event\": \"%s\", \"seconds\": %.3f, \"longest_interval_s\": %.1f", event,
                to_seconds(now - changed_at_), to_seconds(interval));
    lookups_.print("lookups");
    arrivals_.print("newcomers");
    std::printf("}\n");
    std::fflush(stdout);
  }

  void end() {
    print("end", net::Loop::now());
    timer_.arm(kNever);
    loop_.stop();
  }

  const Options& options_;
  net::Loop loop_;
  std::vector<SwarmId> swarms_;
  std::vector<Endpoint> endpoints_;  // of the trackers, as they were named
  std::vector<bool> up_;
  std::vector<std::unique_ptr<SimPeer>> peers_, newcomers_;
  std::deque<std::pair<Time, std::unique_ptr<SimPeer>>> leaving_;
  Score lookups_, arrivals_;
  bool full_ = false, ever_full_ = false;
  Time began_ = net::Loop::now(), changed_at_ = began_, since_ = began_;
  std::size_t begun_ = 0, came_ = 0;
  net::Timer timer_;
};

int usage() {
  std::fprintf(stderr,
               "p2p-lookup-load PEERS SWARMS PERIOD-SECONDS NEWCOMERS-A-SECOND ADDR:PORT...\n");
  return 2;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 6) return usage();
  Options options;
  options.peers = std::strtoul(arguments[1], nullptr, 10);
  options.swarms = std::strtoul(arguments[2], nullptr, 10);
  options.period_s = std::strtod(arguments[3], nullptr);
  options.newcomers_per_s = std::strtod(arguments[4], nullptr);
  for (int i = 5; i < count; ++i) {
    const auto tracker = HostPort::parse(arguments[i]);
    if (!tracker || !Endpoint::parse(arguments[i])) return usage();
    options.trackers.push_back(*tracker);
  }
  if (options.peers > 10'000 || options.swarms == 0 || options.swarms > options.peers ||
      options.period_s <= 0)
    return usage();
  init_crypto();
  net::raise_descriptor_limit();
  return LookupLoad(options).run();
}
