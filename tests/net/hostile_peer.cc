#include "tests/net/hostile_peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "net/address.h"

namespace p2p::test {
namespace {

constexpr int kDeadlineMs = 20'000;
constexpr std::size_t kReadBytes = 256 * 1024;

void wait_for(int fd, short what) {
  pollfd poll_fd{fd, what, 0};
  if (poll(&poll_fd, 1, kDeadlineMs) != 1) FAIL("nothing happened on the socket in time");
}

socklen_t size_of(const sockaddr_storage& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

}  // namespace

Socket::Socket(int fd) : fd_(fd) { REQUIRE(fd >= 0); }
Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Socket Socket::dial(const Endpoint& remote, const IpAddress& from) {
  const sockaddr_storage address = net::sockaddr_of(remote);
  Socket socket(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_storage own = net::sockaddr_of(Endpoint{from, 0});
  if (!from.is_any())
    REQUIRE(bind(socket.fd(), reinterpret_cast<const sockaddr*>(&own), size_of(own)) == 0);
  REQUIRE(connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), size_of(address)) == 0);
  return socket;
}

bool Socket::send(ByteView bytes) {
  while (!bytes.empty()) {
    wait_for(fd_, POLLOUT);
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (sent < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

bool Socket::ends_within(std::chrono::milliseconds time) {
  pollfd poll_fd{fd_, POLLIN, 0};
  std::uint8_t byte;
  return poll(&poll_fd, 1, static_cast<int>(time.count())) == 1 &&
         recv(fd_, &byte, 1, MSG_PEEK) <= 0;
}

Bytes Socket::receive(std::size_t at_most) {
  Bytes bytes(at_most);
  wait_for(fd_, POLLIN);
  const ssize_t count = recv(fd_, bytes.data(), bytes.size(), 0);
  bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);  // a reset is an end too
  return bytes;
}

std::size_t Socket::receive_to_end() {
  std::size_t total = 0;
  for (Bytes bytes; !(bytes = receive(kReadBytes)).empty();) total += bytes.size();
  return total;
}

HostilePeer::HostilePeer(const Endpoint& remote, const Secret& psk, const KeyPair& keys)
    : socket_(Socket::dial(remote)) {
  shake_hands(Handshake(Handshake::Role::kInitiator, HandshakeConfig{keys, {psk}}));
}

HostilePeer::HostilePeer(Socket accepted, const Secret& psk, const KeyPair& keys)
    : socket_(std::move(accepted)) {
  shake_hands(Handshake(Handshake::Role::kResponder, HandshakeConfig{keys, {psk}}));
}

void HostilePeer::fail(const std::string& why) {
  FAIL(why);
  throw std::runtime_error(why);  // FAIL does not return; the compiler does not know
}

void HostilePeer::shake_hands(Handshake handshake) {
  while (true) {
    if (const Bytes out = handshake.take_output(); !out.empty()) REQUIRE(socket_.send(out));
    if (handshake.complete()) break;
    const Bytes more = socket_.receive(kReadBytes);
    if (more.empty()) fail("the connection ended in the handshake");
    unread_.insert(unread_.end(), more.begin(), more.end());
    const auto used = handshake.on_bytes(unread_);
    REQUIRE(used.has_value());
    unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(*used));
  }
  session_.emplace(handshake.take_session());
}

Bytes HostilePeer::seal(FrameKind kind, ByteView body) {
  Bytes frame(body.size() + kFrameOverheadBytes);
  std::copy(body.begin(), body.end(), frame.begin() + kFrameHeaderBytes);
  session_->sealer.seal(kind, frame);
  return frame;
}

Bytes HostilePeer::seal(const net::WireMessage& message) {
  return seal(FrameKind::kMessage, net::encode_wire(message));
}

Bytes HostilePeer::seal_data(ChunkIndex chunk, std::uint32_t offset, ByteView payload) {
  Bytes body(8 + payload.size());
  put_u32(body.data(), chunk);
  put_u32(body.data() + 4, offset);
  std::copy(payload.begin(), payload.end(), body.begin() + 8);
  return seal(FrameKind::kData, body);
}

void HostilePeer::join(const SwarmId& swarm) {
  REQUIRE(say(peer::Message(peer::Join{peer::kProtocolVersion, swarm, 0, ""})));
  expect<peer::Join>();
  expect<peer::Chunks>();
}

std::optional<HostilePeer::Frame> HostilePeer::next_frame() {
  while (true) {
    if (unread_.size() >= kFrameHeaderBytes) {
      const auto header = parse_frame_header(unread_);
      REQUIRE(header.has_value());
      const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
      if (unread_.size() >= whole) {
        const auto body = session_->opener.open(MutableBytes(unread_).first(whole));
        REQUIRE(body.has_value());
        Frame frame{header->kind, Bytes(body->begin(), body->end())};
        unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(whole));
        return frame;
      }
    }
    const Bytes more = socket_.receive(kReadBytes);
    if (more.empty()) return std::nullopt;
    unread_.insert(unread_.end(), more.begin(), more.end());
  }
}

std::optional<net::WireMessage> HostilePeer::next_message() {
  while (const auto frame = next_frame()) {
    if (frame->kind != FrameKind::kMessage) continue;
    auto message = net::decode_wire(frame->body);
    REQUIRE(message.has_value());
    return std::move(*message);
  }
  return std::nullopt;
}

std::optional<peer::Bye> HostilePeer::bye() {
  std::optional<peer::Bye> last;
  while (const auto message = next_message())
    if (const auto* swarm = std::get_if<peer::Message>(&*message))
      if (const auto* bye = std::get_if<peer::Bye>(swarm)) last = *bye;
  return last;
}

HostileListener::HostileListener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const int yes = 1;
  setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_storage address = net::sockaddr_of(*Endpoint::parse("127.0.0.1:0"));
  socklen_t length = size_of(address);
  REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(listen(fd_, 100) == 0);
  REQUIRE(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  where_ = net::endpoint_of(reinterpret_cast<const sockaddr*>(&address));
}

HostileListener::~HostileListener() { close(); }

void HostileListener::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  announcing_.clear();
}

Socket HostileListener::accept() {
  wait_for(fd_, POLLIN);
  return Socket(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
}

HostilePeer HostileListener::accept_join(const Secret& psk) {
  while (true) {
    HostilePeer dialled(accept(), psk, keys_);
    const auto first = dialled.next_message();
    if (!first) continue;
    const auto* swarm = std::get_if<peer::Message>(&*first);
    if (swarm && std::holds_alternative<peer::Join>(*swarm)) return dialled;
    announcing_.push_back(std::make_unique<HostilePeer>(std::move(dialled)));
  }
}

}  // namespace p2p::test
