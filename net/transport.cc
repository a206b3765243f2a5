#include "net/transport.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"
#include "net/log.h"

namespace p2p::net {
namespace {

constexpr int kListenBacklog = 1024;
// Connections in their handshake, over all lanes.
constexpr std::size_t kMaxHalfOpen = 1024;
// Descriptors that are not for connections: files of the content, the loops' own, the terminal.
constexpr std::size_t kReservedDescriptors = 160;
// Reports to lanes are gathered up to this weight; well under half of the smallest budget, so that
// none of them waits for one in vain.
constexpr std::size_t kReportWeight = kSmallBudget.unconsumed_bytes / 4;
// Of an address that opens too many connections the log says so once in this time; it may be one of
// thousands, who then share a line.
constexpr RateLimit kExcessLines{1.0 / 60, 1};
constexpr std::size_t kExcessLineAddresses = 16;

std::size_t descriptors_for_sockets() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kReservedDescriptors;
  const auto all = static_cast<std::size_t>(limit.rlim_cur);
  return all > 2 * kReservedDescriptors ? all - kReservedDescriptors : all / 2;
}

}  // namespace

std::string turned_away_text(const IpAddress& address, std::string_view does,
                             std::string_view limits_flag) {
  std::string text =
      absl::StrCat(address.to_string(), " ", std::string(does),
                   ": those above are turned away, and told that they may come again");
  if (!limits_flag.empty())
    absl::StrAppend(&text, " (many hosts behind one address? ", std::string(limits_flag),
                    " lets in more)");
  return text;
}

Transport::Transport(Loop& loop, TransportConfig config, std::function<void(const Event&)> handler)
    : loop_(loop),
      config_(std::move(config)),
      handler_(std::move(handler)),
      events_([this] {
        loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
          if (!alive.expired()) deliver();
        });
      }),
      handshakes_(config_.handshakes),
      excess_lines_(kExcessLines, kExcessLineAddresses) {
  const std::size_t lanes = std::max(1u, config_.lanes);
  Loop* shared = config_.lanes == 0 ? &loop_ : nullptr;
  const std::size_t descriptors = descriptors_for_sockets();
  const std::size_t half_open = std::min(kMaxHalfOpen, descriptors / 4);
  config_.max_connections = std::min(config_.max_connections, descriptors - half_open);
  max_sockets_ = config_.max_connections + half_open;
  LaneConfig lane;
  lane.listen.static_keys = config_.keys;
  lane.listen.psks = config_.accepted_psks;
  lane.max_half_open = std::max<std::size_t>(half_open / lanes, 1);
  lane.timeouts = config_.timeouts;
  lane.bandwidth = bandwidth_;
  for (std::size_t i = 0; i < lanes; ++i)
    lanes_.push_back(std::make_unique<Lane>(lane, events_, shared));
  set_limits(std::exchange(config_.limits, {}));
}

Transport::~Transport() {
  lanes_.clear();  // their threads push events until they are joined
  if (listener_)
    uv_close(reinterpret_cast<uv_handle_t*>(listener_),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
}

Status Transport::listen(const Endpoint& where) {
  listener_ = new uv_tcp_t;
  P2P_CHECK(uv_tcp_init(loop_.raw(), listener_) == 0);
  listener_->data = this;
  const sockaddr_storage address = sockaddr_of(where);
  int status = uv_tcp_bind(listener_, reinterpret_cast<const sockaddr*>(&address), 0);
  if (status == 0)
    status = uv_listen(reinterpret_cast<uv_stream_t*>(listener_), kListenBacklog,
                       [](uv_stream_t* stream, int result) {
                         if (result == 0) static_cast<Transport*>(stream->data)->on_incoming();
                       });
  uv_os_fd_t socket = -1;
  if (config_.short_messages && status == 0 &&
      uv_fileno(reinterpret_cast<uv_handle_t*>(listener_), &socket) == 0)
    setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, kShortMessageCongestionControl.data(),
               kShortMessageCongestionControl.size());  // and so for all that are accepted
  if (status != 0) {
    uv_close(reinterpret_cast<uv_handle_t*>(listener_),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
    listener_ = nullptr;
    return Error{ErrorCode::kIo,
                 absl::StrCat("cannot listen on ", where.to_string(), ": ", uv_text(status),
                              "; choose another with --listen ADDR:PORT")};
  }
  sockaddr_storage bound{};
  int length = sizeof bound;
  P2P_CHECK(uv_tcp_getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &length) == 0);
  local_ = endpoint_of(reinterpret_cast<const sockaddr*>(&bound));
  return {};
}

void Transport::set_limits(const BandwidthLimits& limits) {
  if (limits == config_.limits) return;
  config_.limits = limits;
  const Time now = Loop::now();
  bandwidth_->up.set_rate(limits.up, now);
  bandwidth_->down.set_rate(limits.down, now);
  for (auto& lane : lanes_) lane->limit(limits);
}

void Transport::on_incoming() {
  // The socket is accepted on this loop and moved to the lane's by its descriptor.
  auto* accepted = new uv_tcp_t;
  P2P_CHECK(uv_tcp_init(loop_.raw(), accepted) == 0);
  const auto close_accepted = [accepted] {
    uv_close(reinterpret_cast<uv_handle_t*>(accepted),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
  };
  uv_os_fd_t socket = -1;
  sockaddr_storage remote{};
  int length = sizeof remote;
  const bool usable =
      uv_accept(reinterpret_cast<uv_stream_t*>(listener_),
                reinterpret_cast<uv_stream_t*>(accepted)) == 0 &&
      uv_tcp_getpeername(accepted, reinterpret_cast<sockaddr*>(&remote), &length) == 0 &&
      sockets_ < max_sockets_ && uv_fileno(reinterpret_cast<uv_handle_t*>(accepted), &socket) == 0;
  const Endpoint from = endpoint_of(reinterpret_cast<const sockaddr*>(&remote));
  const bool admitted = usable && admit(from.address);
  if (usable && !admitted) {
    // Whoever is honest hears that it may come again. Nothing is waited for.
    const Bytes busy = handshake_refusal(HandshakeRefusal::kBusy);
    ::send(socket, busy.data(), busy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  const int own = admitted ? fcntl(socket, F_DUPFD_CLOEXEC, 0) : -1;
  close_accepted();
  if (!usable || (admitted && own < 0)) ++turned_away_.full;
  if (own < 0) return;
  const ConnectionId id = next_id_++;
  ++sockets_;
  count_open(id, from.address);
  if (opened_.size() < config_.max_connections) return lane_of(id).adopt(id, own, from);
  ++turned_away_.full;
  lane_of(id).turn_away(id, own, from);
}

bool Transport::admit(const IpAddress& address) {
  if (!is_limited(address)) return true;
  const Time now = Loop::now();
  const auto open = open_of_network_.find(address.network());
  if (open != open_of_network_.end() && open->second >= connection_limit(address)) {
    ++turned_away_.by_number;
    if (excess_lines_.allow(address, now))
      log_warn(turned_away_text(address, absl::StrCat("has ", open->second, " connections open"),
                                config_.limits_flag));
    return false;
  }
  if (handshakes_.allow(address, now)) return true;
  ++turned_away_.by_rate;
  if (excess_lines_.allow(address, now))
    log_warn(turned_away_text(
        address,
        absl::StrCat("opens more than ", handshakes_.per_second(address), " connections a second"),
        config_.limits_flag));
  return false;
}

std::size_t Transport::connection_limit(const IpAddress& address) const {
  const std::size_t hosts = address.is_v4() ? 1 : kHostsOfNetwork;
  return std::min(config_.connections_per_address * hosts,
                  std::max<std::size_t>(config_.max_connections / 2, 1));
}

void Transport::count_open(ConnectionId id, const IpAddress& address) {
  if (config_.connections_per_address == 0 || !is_limited(address)) return;
  const IpAddress network = address.network();
  networks_.emplace(id, network);
  ++open_of_network_[network];
}

void Transport::count_closed(ConnectionId id) {
  const auto found = networks_.find(id);
  if (found == networks_.end()) return;
  const auto open = open_of_network_.find(found->second);
  if (--open->second == 0) open_of_network_.erase(open);
  networks_.erase(found);
}

ConnectionId Transport::dial(const Endpoint& remote, const Secret& psk) {
  const ConnectionId id = next_id_++;
  ++sockets_;
  lane_of(id).dial(id, remote, psk);
  return id;
}

void Transport::deliver() {
  const std::weak_ptr<bool> alive = alive_;
  for (const Event& event : events_.take()) {
    if (!note(event)) continue;
    handler_(event);
    if (alive.expired()) return;  // the handler ended us
    note_consumed(event);
  }
}

bool Transport::note(const Event& event) {
  if (std::holds_alternative<Closed>(event.what)) {
    --sockets_;
    count_closed(event.connection);
    opened_.erase(event.connection);
  } else if (const auto* opened = std::get_if<Opened>(&event.what)) {
    // Several may have been in their handshake when the last place was taken.
    const bool room = opened->outbound || opened_.size() < config_.max_connections;
    opened_.emplace(event.connection, 0);
    if (!room) {
      ++turned_away_.full;
      close(event.connection);
    }
    return room;
  }
  return true;
}

void Transport::note_consumed(const Event& event) {
  const auto found = opened_.find(event.connection);
  if (found == opened_.end() || (found->second += event.weight) < kReportWeight) return;
  lane_of(event.connection).consumed(event.connection, std::exchange(found->second, 0));
}

}  // namespace p2p::net
