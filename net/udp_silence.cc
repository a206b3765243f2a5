#include "net/udp_silence.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "net/address.h"

namespace p2p::net {

bool is_udp_silent(const Endpoint& where) {
  const sockaddr_storage to = sockaddr_of(where);
  const socklen_t size = to.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  const int file = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (file < 0) return true;
  int error = 0;
  if (connect(file, reinterpret_cast<const sockaddr*>(&to), size) != 0 ||
      send(file, "", 0, MSG_NOSIGNAL) != 0)
    error = errno;
  pollfd waiting{file, POLLIN, 0};
  char byte;
  if (error == 0 && poll(&waiting, 1, kUdpSilenceMs) == 1 && recv(file, &byte, 1, 0) < 0)
    error = errno;
  close(file);
  return error != ECONNREFUSED;
}

}  // namespace p2p::net
