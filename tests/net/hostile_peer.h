// A peer that follows a script: blocking sockets, with the real handshake and sealing, so that it
// can say whatever no honest peer says. Everything has a deadline; a test fails where it passes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/handshake.h"
#include "net/wire_message.h"

namespace p2p::test {

class Socket {
 public:
  explicit Socket(int fd);
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;
  ~Socket();
  // From this address, where one is given.
  static Socket dial(const Endpoint& remote, const IpAddress& from = {});

  // False where the other side has closed.
  bool send(ByteView bytes);
  bool ends_within(std::chrono::milliseconds time);
  // What comes next, at most so much; empty at the end of the connection.
  Bytes receive(std::size_t at_most);
  // Reads until the other side closes, and returns how much that was.
  std::size_t receive_to_end();
  int fd() const { return fd_; }

 private:
  int fd_;
};

class HostilePeer {
 public:
  struct Frame {
    FrameKind kind;
    Bytes body;
  };

  // Shakes hands: as the side that dials, or on a connection that was accepted.
  HostilePeer(const Endpoint& remote, const Secret& psk, const KeyPair& keys = KeyPair::random());
  HostilePeer(Socket accepted, const Secret& psk, const KeyPair& keys);

  // A frame, sealed as the next of this connection and not yet sent.
  Bytes seal(FrameKind kind, ByteView body);
  Bytes seal(const net::WireMessage& message);
  Bytes seal_data(ChunkIndex chunk, std::uint32_t offset, ByteView payload);
  bool send(ByteView sealed) { return socket_.send(sealed); }
  bool say(const net::WireMessage& message) { return send(seal(message)); }
  bool say_data(ChunkIndex chunk, std::uint32_t offset, ByteView payload) {
    return send(seal_data(chunk, offset, payload));
  }
  // Says Join, and waits for the answer and the other side's Chunks.
  void join(const SwarmId& swarm);

  // Nothing at the end of the connection.
  std::optional<Frame> next_frame();
  std::optional<net::WireMessage> next_message();  // skips data
  // The next message of this kind; the connection must not end before it.
  template <typename T>
  T expect() {
    while (auto message = next_message()) {
      if (const auto* swarm = std::get_if<peer::Message>(&*message))
        if (const T* found = std::get_if<T>(swarm)) return *found;
    }
    fail("the connection ended before the expected message");
  }
  // Reads to the end: the Bye of the other side, or nothing where it closed without one.
  std::optional<peer::Bye> bye();

  Socket& socket() { return socket_; }

 private:
  [[noreturn]] static void fail(const std::string& why);
  void shake_hands(Handshake handshake);

  Socket socket_;
  std::optional<Session> session_;
  Bytes unread_;
};

// Listens where a link names a seeder.
class HostileListener {
 public:
  HostileListener();
  ~HostileListener();
  const Endpoint& where() const { return where_; }
  Socket accept();
  // The next connection that says Join, after the Join. Those that announce are kept open and not
  // answered.
  HostilePeer accept_join(const Secret& psk);
  // Stops listening, and leaves those who announce: whoever dials from now on is refused by the
  // system.
  void close();

 private:
  int fd_;
  Endpoint where_;
  KeyPair keys_ = KeyPair::random();
  std::vector<std::unique_ptr<HostilePeer>> announcing_;
};

}  // namespace p2p::test
