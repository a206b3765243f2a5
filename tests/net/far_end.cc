#include "tests/net/far_end.h"

#include <linux/tcp.h>  // glibc's tcp_info ends before the counts of bytes
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <thread>

namespace p2p::test {
namespace {

constexpr int kDescriptors = 1024;
constexpr auto kDeadline = std::chrono::seconds(20);

tcp_info info_of(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  REQUIRE(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  return info;
}

template <typename Done>
void wait_for(Done done) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) FAIL("the other end did not read in time");
    std::this_thread::sleep_for(std::chrono::microseconds(20));  // between two looks
  }
}

}  // namespace

FarEnd::FarEnd(int near) : near_(near) {
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  REQUIRE(getsockname(near, reinterpret_cast<sockaddr*>(&own), &length) == 0);
  for (int fd = 0; fd < kDescriptors && far_ < 0; ++fd) {
    sockaddr_storage remote{};
    socklen_t remote_length = sizeof remote;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&remote), &remote_length) == 0 &&
        remote_length == length && std::memcmp(&remote, &own, length) == 0)
      far_ = fd;
  }
  REQUIRE(far_ >= 0);
}

bool FarEnd::received() const {
  const tcp_info near = info_of(near_);
  return near.tcpi_notsent_bytes == 0 &&
         info_of(far_).tcpi_bytes_received == near.tcpi_bytes_sent - near.tcpi_bytes_retrans;
}

std::uint64_t FarEnd::unread() const {
  int bytes = 0;
  REQUIRE(ioctl(far_, FIONREAD, &bytes) == 0);
  return static_cast<std::uint64_t>(bytes);
}

void FarEnd::wait_until_received() const {
  wait_for([this] { return received(); });
}

void FarEnd::wait_until_read() const {
  wait_for([this] { return received() && unread() == 0; });
}

}  // namespace p2p::test
