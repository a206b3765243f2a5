// Both sides of a chunk's way in: a transport that asks for chunks, and a peer that sends their
// frames and decides what is read together. The assertions are for the test's thread.
#pragma once

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "base/random.h"
#include "net/transport.h"
#include "tests/net/content_io.h"
#include "tests/net/far_end.h"
#include "tests/net/hostile_peer.h"

namespace p2p::test {

inline constexpr auto kSenderDeadline = std::chrono::seconds(20);

// Cannot be read, and counts how often that was tried.
struct UnreadableDisk : test::NoDisk {
  Status read(ChunkIndex, std::uint32_t, MutableBytes) const override {
    ++reads;
    return Error{ErrorCode::kIo, "unreadable"};
  }
  mutable std::atomic<std::size_t> reads = 0;
};

// Random chunks, none like another.
struct RandomChunks {
  std::vector<Bytes> chunks;
  std::shared_ptr<UnreadableDisk> disk = std::make_shared<UnreadableDisk>();
  std::shared_ptr<const net::ContentIo> io;

  // The last chunk is shorter.
  RandomChunks(std::size_t count, std::uint32_t chunk_bytes) {
    init_crypto();
    const Layout layout{count * std::uint64_t{chunk_bytes} - chunk_bytes / 3, chunk_bytes};
    Random random(count);
    std::vector<Digest> hashes;
    for (ChunkIndex i = 0; i < count; ++i) {
      Bytes& chunk = chunks.emplace_back(layout.length_of(i));
      for (std::uint8_t& byte : chunk) byte = static_cast<std::uint8_t>(random.next());
      hashes.push_back(chunk_digest(chunk));
    }
    io = test::content_io(layout, std::move(hashes), disk);
  }
  std::uint32_t length_of(ChunkIndex chunk) const { return io->layout.length_of(chunk); }
};

// The side under test: a transport on a loop and thread of its own, and what its handler heard.
class Receiver {
 public:
  explicit Receiver(const RandomChunks& content, net::ConnectionTimeouts timeouts = {})
      : io_(content.io) {
    net::TransportConfig config;
    config.accepted_psks = {psk_};
    config.timeouts = timeouts;
    transport_.emplace(loop_, std::move(config), [this](const net::Event& event) { note(event); });
    REQUIRE(transport_->listen(*Endpoint::parse("127.0.0.1:0")).has_value());
    thread_ = std::thread([this] { loop_.run(); });
  }
  // Whatever is half read then.
  ~Receiver() {
    loop_.post([this] {
      transport_.reset();
      loop_.stop();
    });
    thread_.join();
  }

  const Endpoint& where() const { return transport_->local(); }
  const Secret& psk() const { return psk_; }
  // On the control thread.
  void command(std::function<void(net::Transport&)> what) {
    loop_.post([this, what = std::move(what)] { what(*transport_); });
  }
  // Until `done` holds of all that was heard.
  void wait_until(std::function<bool(const std::vector<net::Event>&)> done) {
    std::unique_lock lock(mutex_);
    const bool in_time = heard_more_.wait_for(lock, kSenderDeadline, [&] { return done(events_); });
    REQUIRE(in_time);
  }
  // Of one connection, so far.
  std::vector<net::Event> heard(net::ConnectionId id) {
    const std::lock_guard lock(mutex_);
    std::vector<net::Event> found;
    for (const net::Event& event : events_)
      if (event.connection == id) found.push_back(event);
    return found;
  }
  // The first of the connection's events that `match` takes.
  template <typename T>
  T wait_for(
      net::ConnectionId id, std::function<bool(const T&)> match = [](const T&) { return true; }) {
    std::optional<T> found;
    wait_until([&](const std::vector<net::Event>& events) {
      for (const net::Event& event : events)
        if (const T* is = std::get_if<T>(&event.what); is && event.connection == id && match(*is))
          found = *is;
      return found.has_value();
    });
    return *found;
  }

 private:
  void note(const net::Event& event) {
    if (std::holds_alternative<net::Opened>(event.what)) transport_->attach(event.connection, io_);
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
    heard_more_.notify_all();
  }

  std::shared_ptr<const net::ContentIo> io_;
  Secret psk_ = Secret::random();
  net::Loop loop_;
  std::mutex mutex_;
  std::condition_variable heard_more_;
  std::vector<net::Event> events_;  // guarded by mutex_
  std::optional<net::Transport> transport_;
  std::thread thread_;
};

// A connection to the receiver, which is asked for chunks.
class Sender {
 public:
  Sender(Receiver& receiver, const RandomChunks& content)
      : receiver_(receiver),
        content_(content),
        peer_(receiver.where(), receiver.psk(), keys_),
        far_(peer_.socket().fd()) {
    const int yes = 1;  // what is small goes at once
    setsockopt(peer_.socket().fd(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    receiver_.wait_until([this](const std::vector<net::Event>& events) {
      for (const net::Event& event : events)
        if (const auto* opened = std::get_if<net::Opened>(&event.what);
            opened && opened->peer == keys_.public_key)
          id_ = event.connection;
      return id_ != 0;
    });
  }

  net::ConnectionId id() const { return id_; }
  HostilePeer& peer() { return peer_; }
  const FarEnd& far() const { return far_; }

  void ask(ChunkIndex chunk) {
    receiver_.command([id = id_, chunk](net::Transport& transport) {
      transport.send(id, peer::Message(peer::Request{chunk}));
    });
    CHECK(peer_.expect<peer::Request>().chunk == chunk);
  }
  // As a swarm does it.
  void drop(ChunkIndex chunk) {
    receiver_.command([id = id_, chunk](net::Transport& transport) {
      transport.drop_chunk(id, chunk);
      transport.send(id, peer::Message(peer::Cancel{chunk}));
    });
    CHECK(peer_.expect<peer::Cancel>().chunk == chunk);
  }

  Bytes data(ChunkIndex chunk, std::uint32_t offset, std::uint32_t size) {
    return peer_.seal_data(chunk, offset, ByteView(content_.chunks[chunk]).subspan(offset, size));
  }
  Bytes rest(ChunkIndex chunk, std::uint32_t offset = 0) {
    Bytes all;
    for (; offset < content_.length_of(chunk); offset += kMaxDataPayloadBytes)
      append(all, data(chunk, offset,
                       std::min<std::uint32_t>(kMaxDataPayloadBytes,
                                               content_.length_of(chunk) - offset)));
    return all;
  }
  Bytes message(std::uint32_t number) { return peer_.seal(peer::Message(peer::Request{number})); }
  static void append(Bytes& to, ByteView bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

  void send(ByteView bytes) { REQUIRE(peer_.send(bytes)); }
  // Sends, and waits until it was read: what is sent next is another read.
  void deliver(ByteView bytes) {
    send(bytes);
    far_.wait_until_read();
  }

  // Was the chunk found right?
  void check_verified(ChunkIndex chunk) {
    receiver_.wait_until([&](const std::vector<net::Event>& events) {
      return std::any_of(events.begin(), events.end(), [&](const net::Event& event) {
        return event.connection == id_ && (is_end<net::ChunkVerified>(event, chunk) ||
                                           is_end<net::ChunkCorrupt>(event, chunk) ||
                                           std::holds_alternative<net::Closed>(event.what));
      });
    });
    CHECK(verified(chunk));
  }
  bool verified(ChunkIndex chunk) {
    const std::vector<net::Event> events = receiver_.heard(id_);
    return std::any_of(events.begin(), events.end(), [&](const net::Event& event) {
      return is_end<net::ChunkVerified>(event, chunk);
    });
  }
  // Asked for, sent and found right.
  void check_transfer(ChunkIndex chunk) {
    ask(chunk);
    send(rest(chunk));
    check_verified(chunk);
  }
  // The numbers of the messages that were heard, in order.
  std::vector<ChunkIndex> messages() {
    std::vector<ChunkIndex> numbers;
    for (const net::Event& event : receiver_.heard(id_))
      if (const auto* received = std::get_if<net::Received>(&event.what))
        numbers.push_back(
            std::get<peer::Request>(std::get<peer::Message>(received->message)).chunk);
    return numbers;
  }

 private:
  template <typename T>
  static bool is_end(const net::Event& event, ChunkIndex chunk) {
    const auto* end = std::get_if<T>(&event.what);
    return end && end->chunk == chunk;
  }

  Receiver& receiver_;
  const RandomChunks& content_;
  KeyPair keys_ = KeyPair::random();
  HostilePeer peer_;
  FarEnd far_;
  net::ConnectionId id_ = 0;
};

}  // namespace p2p::test
