// The floor: what moving a file from one process to another costs when nothing is done but what
// must be. One process reads, seals (AES-256-GCM) and sends; the other receives, opens, hashes
// (BLAKE3) and writes. One thread each, blocking calls, one buffer, no protocol. What p2p takes
// above this is the price of all the rest.
//
// p2p-floor SOURCE TARGET [FRAME-KIB]
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/cache.h"
#include "base/check.h"
#include "crypto/channel.h"
#include "crypto/digest.h"

namespace {

using p2p::Bytes;
using p2p::MutableBytes;

constexpr std::size_t kChunkBytes = 512 * 1024;  // hashed as one
std::size_t frame_bytes = 128 * 1024;

// A buffer whose body begins on a cache line: on some processors the kernel copies to and from such
// an address several times as fast as to and from one that is a few bytes off.
class Frame {
 public:
  Frame() : memory_(kAlignment + frame_bytes + p2p::kFrameOverheadBytes + kAlignment) {
    auto body = reinterpret_cast<std::uintptr_t>(memory_.data()) + kAlignment;
    body = (body + kAlignment - 1) / kAlignment * kAlignment;
    start_ = reinterpret_cast<std::uint8_t*>(body) - p2p::kFrameHeaderBytes;
  }
  std::uint8_t* data() { return start_; }
  MutableBytes bytes() { return MutableBytes(start_, frame_bytes + p2p::kFrameOverheadBytes); }

 private:
  static constexpr std::size_t kAlignment = p2p::kCacheLineBytes;
  Bytes memory_;
  std::uint8_t* start_;
};

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

void send_file(const char* source, int socket, std::size_t size) {
  const int file = open(source, O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(source);
  p2p::Sealer sealer(p2p::available_ciphers().front(), p2p::Secret());
  Frame frame;
  for (std::size_t at = 0; at < size;) {
    const std::size_t body = std::min(frame_bytes, size - at);
    if (pread(file, frame.data() + p2p::kFrameHeaderBytes, body, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(body))
      fail("read");
    const std::size_t whole = body + p2p::kFrameOverheadBytes;
    sealer.seal(p2p::FrameKind::kData, frame.bytes().first(whole));
    for (std::size_t sent = 0; sent < whole;) {
      const ssize_t count = send(socket, frame.data() + sent, whole - sent, 0);
      if (count <= 0) fail("send");
      sent += static_cast<std::size_t>(count);
    }
    at += body;
  }
}

void receive_file(const char* target, int socket, std::size_t size) {
  const int file = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) fail(target);
  p2p::Opener opener(p2p::available_ciphers().front(), p2p::Secret());
  p2p::Hasher hasher;
  std::size_t hashed = 0;
  Frame frame;
  for (std::size_t at = 0; at < size;) {
    const std::size_t body = std::min(frame_bytes, size - at);
    const std::size_t whole = body + p2p::kFrameOverheadBytes;
    if (recv(socket, frame.data(), whole, MSG_WAITALL) != static_cast<ssize_t>(whole))
      fail("receive");
    const auto opened = opener.open(frame.bytes().first(whole));
    P2P_CHECK(opened.has_value());
    hasher.update(*opened);
    if ((hashed += body) >= kChunkBytes) {
      hasher.finish();
      hasher = p2p::Hasher();
      hashed = 0;
    }
    if (pwrite(file, opened->data(), body, static_cast<off_t>(at)) != static_cast<ssize_t>(body))
      fail("write");
    at += body;
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3 || count > 4) {
    std::fprintf(stderr, "p2p-floor SOURCE TARGET [FRAME-KIB]\n");
    return 2;
  }
  p2p::init_crypto();
  if (count == 4) frame_bytes = std::strtoul(arguments[3], nullptr, 10) * 1024;
  P2P_CHECK(frame_bytes > 0 && frame_bytes <= p2p::kMaxDataPayloadBytes);
  struct stat status {};
  if (stat(arguments[1], &status) != 0) fail(arguments[1]);
  const auto size = static_cast<std::size_t>(status.st_size);

  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    fail("listen");
  const pid_t sender = fork();
  if (sender < 0) fail("fork");
  if (sender == 0) {
    const int connection = accept(listener, nullptr, nullptr);
    if (connection < 0) fail("accept");
    send_file(arguments[1], connection, size);
    return 0;
  }
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(connection, reinterpret_cast<sockaddr*>(&address), length) != 0) fail("connect");
  receive_file(arguments[2], connection, size);
  int outcome = 0;
  if (waitpid(sender, &outcome, 0) != sender || outcome != 0) fail("the sender");
  return 0;
}
