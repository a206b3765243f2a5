// The other end of a TCP connection, where it is in this process too: what has it read? So a test
// can have each of its sends taken in by a read of its own.
#pragma once

#include <cstdint>

namespace p2p::test {

class FarEnd {
 public:
  // Of the connection of this socket.
  explicit FarEnd(int near);

  // Waits until everything that was sent has come to its system.
  void wait_until_received() const;
  // Waits until it has also been read.
  void wait_until_read() const;
  // What has come and was not read.
  std::uint64_t unread() const;

 private:
  bool received() const;

  int near_, far_ = -1;
};

}  // namespace p2p::test
