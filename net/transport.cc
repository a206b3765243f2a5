#include "net/transport.h"

#include <fcntl.h>
#include <unistd.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"
#include "net/log.h"

namespace p2p::net {
namespace {

constexpr int kListenBacklog = 1024;

HandshakeConfig listen_config(const TransportConfig& config) {
  HandshakeConfig handshake;
  handshake.static_keys = config.keys;
  handshake.psks = config.accepted_psks;
  return handshake;
}

}  // namespace

Transport::Transport(Loop& loop, TransportConfig config, std::function<void(const Event&)> handler)
    : loop_(loop), config_(std::move(config)), handler_(std::move(handler)), events_([this] {
        loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
          if (!alive.expired()) deliver();
        });
      }) {
  for (unsigned i = 0; i < std::max(1u, config_.lanes); ++i)
    lanes_.push_back(std::make_unique<Lane>(listen_config(config_), events_));
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
      open_ < config_.max_connections &&
      uv_fileno(reinterpret_cast<uv_handle_t*>(accepted), &socket) == 0;
  const int own = usable ? fcntl(socket, F_DUPFD_CLOEXEC, 0) : -1;
  close_accepted();
  if (own < 0) return;
  const ConnectionId id = next_id_++;
  ++open_;
  lane_of(id).adopt(id, own, endpoint_of(reinterpret_cast<const sockaddr*>(&remote)));
}

ConnectionId Transport::dial(const Endpoint& remote, const Secret& psk) {
  const ConnectionId id = next_id_++;
  ++open_;
  lane_of(id).dial(id, remote, psk);
  return id;
}

void Transport::deliver() {
  const std::weak_ptr<bool> alive = alive_;
  std::map<ConnectionId, std::size_t> consumed;
  for (const Event& event : events_.take()) {
    if (std::holds_alternative<Closed>(event.what)) --open_;
    if (std::holds_alternative<Received>(event.what)) ++consumed[event.connection];
    handler_(event);
    if (alive.expired()) return;  // the handler ended us
  }
  for (const auto& [id, messages] : consumed) lane_of(id).consumed(id, messages);
}

}  // namespace p2p::net
