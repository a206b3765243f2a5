#include "net/udp_socket.h"

#include <array>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"

namespace p2p::net {
namespace {

// One that waits for the system to take it.
struct Waiting {
  uv_udp_send_t request;
  Bytes datagram;
};

}  // namespace

struct UdpSocket::State {
  uv_udp_t udp;
  OnDatagram on_datagram;
  TrySend try_send;
  UdpCounts counts;
  std::size_t queued_bytes = 0;
  std::array<std::uint8_t, kMaxDatagramBytes> buffer;  // libuv fills one after another

  void receive(ssize_t size, const sockaddr* from, unsigned flags);
  bool queue(const sockaddr* to, ByteView datagram);
};

UdpSocket::UdpSocket(Loop& loop, OnDatagram on_datagram, TrySend try_send) : state_(new State{}) {
  state_->try_send = try_send;
  state_->on_datagram = std::move(on_datagram);
  P2P_CHECK(uv_udp_init(loop.raw(), &state_->udp) == 0);
  state_->udp.data = state_;
}

UdpSocket::~UdpSocket() {
  // What waits is given back, cancelled, before the close callback.
  uv_close(reinterpret_cast<uv_handle_t*>(&state_->udp),
           [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
}

Status UdpSocket::bind(const Endpoint& where) {
  const sockaddr_storage address = sockaddr_of(where);
  int status = uv_udp_bind(&state_->udp, reinterpret_cast<const sockaddr*>(&address), 0);
  if (status == 0)
    status = uv_udp_recv_start(
        &state_->udp,
        [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
          auto& bytes = static_cast<State*>(handle->data)->buffer;
          *buffer = uv_buf_init(reinterpret_cast<char*>(bytes.data()), bytes.size());
        },
        [](uv_udp_t* handle, ssize_t size, const uv_buf_t*, const sockaddr* from, unsigned flags) {
          static_cast<State*>(handle->data)->receive(size, from, flags);
        });
  if (status != 0)
    return Error{ErrorCode::kIo, absl::StrCat("cannot take datagrams on ", where.to_string(), ": ",
                                              uv_text(status))};
  int wanted = kUdpReceiveBufferBytes;
  uv_recv_buffer_size(reinterpret_cast<uv_handle_t*>(&state_->udp), &wanted);  // or what there is
  sockaddr_storage bound{};
  int length = sizeof bound;
  P2P_CHECK(uv_udp_getsockname(&state_->udp, reinterpret_cast<sockaddr*>(&bound), &length) == 0);
  local_ = endpoint_of(reinterpret_cast<const sockaddr*>(&bound));
  return {};
}

void UdpSocket::State::receive(ssize_t size, const sockaddr* from, unsigned flags) {
  // Without an address there was nothing to read, or an error of the socket, which passes.
  if (size < 0 || from == nullptr) return;
  if ((flags & UV_UDP_PARTIAL) != 0) {
    ++counts.received_longer;
    return;
  }
  ++counts.received;
  on_datagram(endpoint_of(from), MutableBytes(buffer).first(static_cast<std::size_t>(size)));
}

bool UdpSocket::send(const Endpoint& to, ByteView datagram) {
  P2P_CHECK(datagram.size() <= kMaxDatagramBytes && local_.port != 0);
  const sockaddr_storage storage = sockaddr_of(to);
  const auto* address = reinterpret_cast<const sockaddr*>(&storage);
  // libuv's type lacks const; sending changes nothing.
  const uv_buf_t buffer =
      uv_buf_init(reinterpret_cast<char*>(const_cast<std::uint8_t*>(datagram.data())),
                  static_cast<unsigned>(datagram.size()));
  // UV_EAGAIN also where others wait already: order is kept.
  const int status = state_->try_send(&state_->udp, &buffer, 1, address);
  if (status == UV_EAGAIN) return state_->queue(address, datagram);
  ++(status >= 0 ? state_->counts.sent : state_->counts.dropped_error);
  return status >= 0;
}

bool UdpSocket::State::queue(const sockaddr* to, ByteView datagram) {
  if (queued_bytes + datagram.size() > kMaxUdpQueuedBytes) {
    ++counts.dropped_full;
    return false;
  }
  auto waiting = std::make_unique<Waiting>();
  waiting->datagram.assign(datagram.begin(), datagram.end());
  waiting->request.data = waiting.get();
  const uv_buf_t bytes = uv_buf_init(reinterpret_cast<char*>(waiting->datagram.data()),
                                     static_cast<unsigned>(datagram.size()));
  const int status =
      uv_udp_send(&waiting->request, &udp, &bytes, 1, to, [](uv_udp_send_t* request, int result) {
        const std::unique_ptr<Waiting> done(static_cast<Waiting*>(request->data));
        auto* state = static_cast<State*>(request->handle->data);
        state->queued_bytes -= done->datagram.size();
        ++(result == 0 ? state->counts.sent : state->counts.dropped_error);
      });
  if (status != 0) {
    ++counts.dropped_error;
    return false;
  }
  queued_bytes += waiting.release()->datagram.size();
  return true;
}

const UdpCounts& UdpSocket::counts() const { return state_->counts; }

}  // namespace p2p::net
