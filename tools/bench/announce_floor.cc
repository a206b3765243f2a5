// The floor of a tracker: what the system's TCP alone costs. Answers whatever comes on a connection
// with so many bytes, reads and writes and does nothing else. One thread. What p2p's tracker takes
// above this is the price of the seals, the messages and the table.
//
// p2p-announce-floor ANSWER-BYTES     prints where it listens
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "base/bytes.h"
#include "base/check.h"
#include "net/node.h"

namespace {

int listen_anywhere() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  // As p2p's tracker has it.
  constexpr std::string_view kControl = p2p::net::kShortMessageCongestionControl;
  setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, kControl.data(), kControl.size());
  P2P_CHECK(bind(listener, any, length) == 0 && listen(listener, 1024) == 0);
  P2P_CHECK(getsockname(listener, any, &length) == 0);
  std::printf("127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return listener;
}

void watch(int poll, int socket) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = socket;
  P2P_CHECK(epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event) == 0);
}

void answer(int socket, p2p::ByteView bytes) {
  std::uint8_t buffer[16 * 1024];
  const ssize_t count = recv(socket, buffer, sizeof buffer, MSG_DONTWAIT);
  if (count > 0 && send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
                       static_cast<ssize_t>(bytes.size()))
    return;
  close(socket);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return std::fprintf(stderr, "p2p-announce-floor ANSWER-BYTES\n"), 2;
  const p2p::Bytes bytes(std::strtoul(arguments[1], nullptr, 10));
  p2p::net::raise_descriptor_limit();
  const int listener = listen_anywhere();
  const int poll = epoll_create1(0);
  watch(poll, listener);
  while (true) {
    epoll_event events[1024];
    const int ready = epoll_wait(poll, events, std::size(events), -1);
    for (int i = 0; i < ready; ++i) {
      if (events[i].data.fd != listener) {
        answer(events[i].data.fd, bytes);
        continue;
      }
      const int socket = accept(listener, nullptr, nullptr);
      if (socket < 0) continue;
      const int on = 1;
      setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(poll, socket);
    }
  }
}
