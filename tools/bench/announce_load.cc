// The announce load: as many peers as a tracker is to have, kept in one process that does nothing
// but ask and check, so that the tracker is what is measured. Prints one line of JSON.
//
// p2p-announce-load sealed ADDR:PORT [PEERS [IN-FLIGHT [SECONDS]]]
//   against p2p tracker: a sealed connection for each peer, all kept open, each with its own key;
//   announces go out over connections drawn by lot
// p2p-announce-load udp ADDR:PORT PEERS IN-FLIGHT SECONDS INFO-HASH
//   against a BitTorrent tracker (BEP 15): the same number of peers, told apart by their ports
// p2p-announce-load plain ADDR:PORT PEERS IN-FLIGHT SECONDS ASK-BYTES ANSWER-BYTES
//   against p2p-announce-floor: messages of the same sizes over as many connections, with nothing
//   in them
//
// Each peer says that it is at another port, and asks for 50 peers. A hand-out counts where it
// names 50 different endpoints, all of them such as were announced; over sealed connections none of
// them the asker's own. One that does not is "wrong", and the program fails.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "crypto/handshake.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/node.h"
#include "net/wire_message.h"

namespace {

using namespace p2p;

constexpr std::uint16_t kFirstPort = 10'000;  // of what is announced
constexpr std::size_t kWant = 50;
constexpr std::size_t kHandshakesAtOnce = 64;
constexpr int kQuietMs = 300;  // nothing more comes of the first announces

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

struct Options {
  Endpoint tracker;
  std::size_t peers = 15'000;
  std::size_t in_flight = 64;
  double seconds = 5;
  std::string info_hash;
  std::size_t ask_bytes = 0, answer_bytes = 0;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What was asked and answered in the time that is measured.
class Score {
 public:
  explicit Score(const Options& options) : options_(options), sent_at_(options.peers) {
    latencies_.reserve(std::size_t{1} << 22);
  }

  void start() {
    start_ = net::Loop::now();
    end_ = start_ + from_seconds(options_.seconds);
    cpu_ = cpu_seconds();
  }
  bool over() const { return net::Loop::now() >= end_; }
  // `place` tells announces in flight apart.
  void sent(std::size_t place) { sent_at_[place] = net::Loop::now(); }
  void answered(std::size_t place, bool right) {
    latencies_.push_back(net::Loop::now() - sent_at_[place]);
    wrong_ += right ? 0 : 1;
  }
  void lost(std::size_t announces) { lost_ += announces; }

  // Returns the exit code.
  int print(const char* what) {
    const double took = to_seconds(net::Loop::now() - start_);
    std::sort(latencies_.begin(), latencies_.end());
    const auto percentile = [this](std::size_t share) {
      return latencies_.empty() ? 0 : to_seconds(latencies_[latencies_.size() * share / 100]) * 1e3;
    };
    std::printf(
        "{\"what\": \"%s\", \"peers\": %zu, \"in_flight\": %zu, \"announces_per_s\": %.0f, "
        "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"busy\": %.2f, \"wrong\": %zu, \"lost\": %zu}\n",
        what, options_.peers, options_.in_flight, static_cast<double>(latencies_.size()) / took,
        percentile(50), percentile(99), (cpu_seconds() - cpu_) / took, wrong_, lost_);
    return latencies_.empty() || wrong_ > 0 ? 1 : 0;
  }

 private:
  const Options& options_;
  std::vector<Time> sent_at_;
  std::vector<Duration> latencies_;
  Time start_, end_;
  double cpu_ = 0;
  std::size_t wrong_ = 0, lost_ = 0;
};

// The endpoints of one hand-out, held against what was announced.
class PeerCheck {
 public:
  PeerCheck(const Options& options, bool asker_may_be_there)
      : peers_(options.peers), asker_may_be_there_(asker_may_be_there), seen_in_(options.peers) {
    const ByteView address = options.tracker.address.wire_bytes();
    P2P_CHECK(address.size() == 4);
    std::copy(address.begin(), address.end(), address_);
  }
  void begin(std::size_t asker) {
    asker_ = asker;
    ++round_;
  }
  // 4 bytes of address and 2 of port.
  bool holds(const std::uint8_t* endpoint) {
    const auto peer = static_cast<std::uint16_t>(get_u16(endpoint + 4) - kFirstPort);
    if (std::memcmp(endpoint, address_, 4) != 0 || peer >= peers_) return false;
    if (peer == asker_ && !asker_may_be_there_) return false;
    return std::exchange(seen_in_[peer], round_) != round_;
  }

 private:
  std::size_t peers_;
  bool asker_may_be_there_;
  std::uint8_t address_[4];
  std::size_t asker_ = 0;
  std::uint32_t round_ = 0;
  std::vector<std::uint32_t> seen_in_;  // the last hand-out that named the peer
};

std::uint16_t port_of(std::size_t peer) { return static_cast<std::uint16_t>(kFirstPort + peer); }

// Connected, for short messages.
int open_socket(const Options& options) {
  const sockaddr_storage address = net::sockaddr_of(options.tracker);
  const int opened = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (opened < 0) fail("socket");
  constexpr std::string_view kControl = net::kShortMessageCongestionControl;
  setsockopt(opened, IPPROTO_TCP, TCP_CONGESTION, kControl.data(), kControl.size());
  const int on = 1;
  setsockopt(opened, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(opened, reinterpret_cast<const sockaddr*>(&address), sizeof(sockaddr_in)) != 0)
    fail("connect");
  return opened;
}

void watch(int poll, int socket, std::uint64_t number) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = number;
  if (epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event) != 0) fail("epoll_ctl");
}

void send_all(int socket, ByteView bytes) {
  if (send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
    fail("send");
}

// Hands what is readable to `on_readable`, by its number. False: nothing came in that time.
template <typename OnReadable>
bool turn(int poll, int milliseconds, OnReadable on_readable) {
  epoll_event events[256];
  const int count = epoll_wait(poll, events, std::size(events), milliseconds);
  for (int i = 0; i < count; ++i) on_readable(events[i].data.u64);
  return count > 0;
}

class SealedLoad {
 public:
  explicit SealedLoad(const Options& options)
      : options_(options),
        score_(options),
        check_(options, false),
        poll_(epoll_create1(EPOLL_CLOEXEC)),
        peers_(options.peers) {
    tracker::Announce announce{swarm_, tracker::Event::kStarted, kFirstPort};
    announce.want = kWant;
    started_ = net::encode_wire(tracker::Message(announce));
    announce.event = tracker::Event::kNone;
    again_ = net::encode_wire(tracker::Message(announce));
    const auto differs = std::mismatch(started_.begin(), started_.end(), again_.begin());
    // The port stands behind the event and a byte for its type.
    port_at_ = static_cast<std::size_t>(differs.first - started_.begin()) + 2;
    P2P_CHECK(get_u16(again_.data() + port_at_) == kFirstPort);
  }

  int run() {
    for (std::size_t i = 0; i < kHandshakesAtOnce; ++i) open_next();
    while (announced_ < options_.peers)
      if (!turn(10'000)) return std::fprintf(stderr, "the tracker stopped answering\n"), 1;
    while (turn(kQuietMs)) {
    }
    measuring_ = true;
    score_.start();
    for (std::size_t i = 0; i < options_.in_flight; ++i) ask_anyone();
    while (!score_.over())
      if (!turn(10'000)) return std::fprintf(stderr, "the tracker stopped answering\n"), 1;
    return score_.print("sealed");
  }

 private:
  struct Peer {
    int socket = -1;
    bool asked = false;
    std::optional<Sealer> sealer;
    std::optional<Opener> opener;
    std::unique_ptr<Handshake> handshake;
    Bytes unread;
  };

  void open_next() {
    if (opened_ == options_.peers) return;
    const std::size_t number = opened_++;
    Peer& peer = peers_[number];
    peer.socket = open_socket(options_);
    watch(poll_, peer.socket, number);
    peer.handshake = std::make_unique<Handshake>(
        Handshake::Role::kInitiator, HandshakeConfig{KeyPair::random(), {open_tracker_key()}});
    send_all(peer.socket, peer.handshake->take_output());
  }

  void ask(std::size_t number, const Bytes& announce) {
    Peer& peer = peers_[number];
    std::uint8_t frame[256];
    const std::size_t whole = announce.size() + kFrameOverheadBytes;
    P2P_CHECK(whole <= sizeof frame);
    std::copy(announce.begin(), announce.end(), frame + kFrameHeaderBytes);
    put_u16(frame + kFrameHeaderBytes + port_at_, port_of(number));
    peer.sealer->seal(FrameKind::kMessage, MutableBytes(frame, whole));
    peer.asked = true;
    score_.sent(number);
    send_all(peer.socket, ByteView(frame, whole));
  }

  void ask_anyone() {
    std::size_t number = random_.below(options_.peers);
    while (peers_[number].asked) number = random_.below(options_.peers);
    ask(number, again_);
  }

  bool turn(int milliseconds) {
    return ::turn(poll_, milliseconds, [this](std::size_t number) { on_readable(number); });
  }

  void on_readable(std::size_t number) {
    Peer& peer = peers_[number];
    std::uint8_t buffer[16 * 1024];
    const std::size_t before = peer.unread.size();
    std::copy(peer.unread.begin(), peer.unread.end(), buffer);
    const ssize_t count = recv(peer.socket, buffer + before, sizeof buffer - before, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) fail("the tracker closed a connection");
    const MutableBytes all(buffer, before + static_cast<std::size_t>(count));
    const std::size_t used = take(number, all);
    peer.unread.assign(all.begin() + static_cast<std::ptrdiff_t>(used), all.end());
  }

  std::size_t take(std::size_t number, MutableBytes bytes) {
    Peer& peer = peers_[number];
    std::size_t used = 0;
    if (peer.handshake) {
      const auto taken = peer.handshake->on_bytes(bytes);
      P2P_CHECK(taken.has_value());
      used = *taken;
      if (const Bytes output = peer.handshake->take_output(); !output.empty())
        send_all(peer.socket, output);
      if (!peer.handshake->complete()) return used;
      Session session = peer.handshake->take_session();
      peer.handshake.reset();
      peer.sealer.emplace(std::move(session.sealer));
      peer.opener.emplace(std::move(session.opener));
      ask(number, started_);
    }
    while (bytes.size() - used >= kFrameHeaderBytes) {
      const auto header = parse_frame_header(bytes.subspan(used));
      P2P_CHECK(header.has_value());
      const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
      if (bytes.size() - used < whole) break;
      const auto body = peer.opener->open(bytes.subspan(used, whole));
      P2P_CHECK(body.has_value());
      used += whole;
      on_message(number, *body);
    }
    return used;
  }

  void on_message(std::size_t number, ByteView body) {
    if (measuring_) {
      score_.answered(number, is_right(number, body));
      peers_[number].asked = false;
      if (!score_.over()) ask_anyone();
      return;
    }
    const auto message = net::decode_wire(body);
    P2P_CHECK(message.has_value());
    const auto& handout = std::get<tracker::Handout>(std::get<tracker::Message>(*message));
    if (handout.interval == Duration::zero()) return;  // news
    P2P_CHECK(std::exchange(peers_[number].asked, false));
    ++announced_;
    open_next();
  }

  // A Handout, read where it stands: a decoder would cost more than the tracker's answer.
  bool is_right(std::size_t number, ByteView body) {
    constexpr std::size_t kSwarmAt = 5;
    constexpr std::size_t kIntervalAt = kSwarmAt + SwarmId::kSize;
    constexpr std::size_t kPeerBytes = 1 + 2 + 6 + 2;
    static constexpr std::uint8_t kHead[] = {1, 0x94, 3, 0xc4, SwarmId::kSize};
    if (body.size() < kIntervalAt + 3 ||
        !std::equal(std::begin(kHead), std::end(kHead), body.begin()))
      return false;
    if (std::memcmp(body.data() + kSwarmAt, swarm_.bytes.data(), SwarmId::kSize) != 0) return false;
    const std::size_t peers_at = kIntervalAt + (body[kIntervalAt] == 0xcd   ? 3
                                                : body[kIntervalAt] == 0xce ? 5
                                                                            : 1);
    const std::uint8_t* at = body.data() + peers_at;
    if (body.size() != peers_at + 3 + kWant * kPeerBytes || at[0] != 0xdc ||
        get_u16(at + 1) != kWant)
      return false;
    at += 3;
    check_.begin(number);
    for (std::size_t i = 0; i < kWant; ++i, at += kPeerBytes) {
      static constexpr std::uint8_t kPeer[] = {0x93, 0xc4, 6};
      if (std::memcmp(at, kPeer, sizeof kPeer) != 0 || !check_.holds(at + 3) || at[9] != 0xc2 ||
          at[10] != 0xc2)
        return false;
    }
    return true;
  }

  const Options& options_;
  Score score_;
  PeerCheck check_;
  int poll_;
  Random random_{1};
  SwarmId swarm_ = *SwarmId::from_bytes(Secret::random().view());
  Bytes started_, again_;  // announces, where only the port is to be filled in
  std::size_t port_at_ = 0;
  std::vector<Peer> peers_;
  std::size_t opened_ = 0, announced_ = 0;
  bool measuring_ = false;
};

class PlainLoad {
 public:
  explicit PlainLoad(const Options& options)
      : options_(options), score_(options), ask_(options.ask_bytes), peers_(options.peers) {}

  int run() {
    for (std::size_t i = 0; i < options_.peers; ++i) {
      peers_[i].socket = open_socket(options_);
      watch(poll_, peers_[i].socket, i);
    }
    score_.start();
    for (std::size_t i = 0; i < options_.in_flight; ++i) ask_anyone();
    while (!score_.over())
      if (!turn(poll_, 10'000, [this](std::size_t number) { on_readable(number); }))
        return std::fprintf(stderr, "no answer any more\n"), 1;
    return score_.print("plain");
  }

 private:
  struct Peer {
    int socket = -1;
    std::size_t missing = 0;  // of an answer
  };

  void ask_anyone() {
    std::size_t number = random_.below(options_.peers);
    while (peers_[number].missing > 0) number = random_.below(options_.peers);
    peers_[number].missing = options_.answer_bytes;
    score_.sent(number);
    send_all(peers_[number].socket, ask_);
  }

  void on_readable(std::size_t number) {
    Peer& peer = peers_[number];
    std::uint8_t buffer[16 * 1024];
    const ssize_t count = recv(peer.socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0 || static_cast<std::size_t>(count) > peer.missing) fail("a wrong answer");
    peer.missing -= static_cast<std::size_t>(count);
    if (peer.missing > 0) return;
    score_.answered(number, true);
    if (!score_.over()) ask_anyone();
  }

  const Options& options_;
  Score score_;
  Random random_{1};
  int poll_ = epoll_create1(EPOLL_CLOEXEC);
  Bytes ask_;
  std::vector<Peer> peers_;
};

// BEP 15. What is in flight has a slot, and the slot is the transaction's number.
class UdpLoad {
 public:
  explicit UdpLoad(const Options& options)
      : options_(options), score_(options), check_(options, true), asker_(options.in_flight) {
    P2P_CHECK(options.info_hash.size() == 20);
    socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const sockaddr_storage address = net::sockaddr_of(options.tracker);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(sockaddr_in)) != 0)
      fail("connect");
    const timeval patience{1, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }

  int run() {
    put_u64(announce_, kProtocol);
    put_u32(announce_ + 8, kConnect);
    if (send(socket_, announce_, 16, 0) != 16) fail("send");
    std::uint8_t answer[16];
    if (recv(socket_, answer, sizeof answer, 0) != sizeof answer || get_u32(answer) != kConnect)
      fail("no answer to connect");
    std::copy(answer + 8, answer + 16, announce_);
    put_u32(announce_ + 8, kAnnounce);
    std::copy(options_.info_hash.begin(), options_.info_hash.end(), announce_ + 16);
    put_u64(announce_ + 64, 1);  // left
    put_u32(announce_ + 92, kWant);

    score_.start();
    for (std::size_t i = 0; i < options_.peers; ++i) {
      put_u32(announce_ + 80, kStarted);
      ask(0, i);
      if (recv(socket_, buffers_[0], sizeof buffers_[0], 0) < 20) fail("no answer to announce");
    }
    put_u32(announce_ + 80, 0);
    score_.start();
    ask_all();
    while (!score_.over())
      if (!turn()) {
        score_.lost(options_.in_flight);
        ask_all();
      }
    return score_.print("udp");
  }

 private:
  static constexpr std::uint64_t kProtocol = 0x41727101980;
  enum : std::uint32_t { kConnect = 0, kAnnounce = 1, kStarted = 2 };
  static constexpr std::size_t kBatch = 64;

  void ask(std::uint32_t slot, std::size_t peer) {
    put_u32(announce_ + 12, slot);
    put_u32(announce_ + 36, static_cast<std::uint32_t>(peer));  // of the peer id
    put_u32(announce_ + 88, static_cast<std::uint32_t>(peer));  // key
    put_u16(announce_ + 96, port_of(peer));
    asker_[slot] = peer;
    score_.sent(slot);
    if (send(socket_, announce_, sizeof announce_, 0) != sizeof announce_) fail("send");
  }
  void ask_anyone(std::uint32_t slot) { ask(slot, random_.below(options_.peers)); }
  void ask_all() {
    for (std::uint32_t i = 0; i < options_.in_flight; ++i) ask_anyone(i);
  }

  bool turn() {
    mmsghdr messages[kBatch]{};
    iovec parts[kBatch];
    for (std::size_t i = 0; i < kBatch; ++i) {
      parts[i] = {buffers_[i], sizeof buffers_[i]};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int count = recvmmsg(socket_, messages, kBatch, MSG_WAITFORONE, nullptr);
    for (int i = 0; i < count; ++i) {
      const std::uint32_t slot = get_u32(buffers_[i] + 4);
      if (messages[i].msg_len < 8 || slot >= options_.in_flight) fail("a wrong answer");
      score_.answered(slot, is_right(asker_[slot], ByteView(buffers_[i], messages[i].msg_len)));
      ask_anyone(slot);
    }
    return count > 0;
  }

  bool is_right(std::size_t peer, ByteView answer) {
    if (answer.size() != 20 + 6 * kWant || get_u32(answer.data()) != kAnnounce) return false;
    check_.begin(peer);
    for (std::size_t at = 20; at < answer.size(); at += 6)
      if (!check_.holds(answer.data() + at)) return false;
    return true;
  }

  const Options& options_;
  Score score_;
  PeerCheck check_;
  int socket_ = -1;
  Random random_{1};
  std::uint8_t announce_[98]{};
  std::uint8_t buffers_[kBatch][2048];
  std::vector<std::size_t> asker_;  // of each slot
};

int usage() {
  std::fprintf(
      stderr,
      "p2p-announce-load sealed ADDR:PORT [PEERS [IN-FLIGHT [SECONDS]]]\n"
      "p2p-announce-load udp ADDR:PORT PEERS IN-FLIGHT SECONDS INFO-HASH\n"
      "p2p-announce-load plain ADDR:PORT PEERS IN-FLIGHT SECONDS ASK-BYTES ANSWER-BYTES\n");
  return 2;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string how = count > 2 ? arguments[1] : "";
  const auto tracker = count > 2 ? Endpoint::parse(arguments[2]) : Endpoint{};
  const int wanted = how == "udp" ? 7 : how == "plain" ? 8 : how == "sealed" ? count : 0;
  if (!tracker || count != wanted) return usage();
  Options options;
  options.tracker = *tracker;
  if (count > 3) options.peers = std::strtoul(arguments[3], nullptr, 10);
  if (count > 4) options.in_flight = std::strtoul(arguments[4], nullptr, 10);
  if (count > 5) options.seconds = std::strtod(arguments[5], nullptr);
  if (how == "udp") options.info_hash = absl::HexStringToBytes(arguments[6]);
  if (how == "plain") {
    options.ask_bytes = std::strtoul(arguments[6], nullptr, 10);
    options.answer_bytes = std::strtoul(arguments[7], nullptr, 10);
    if (options.ask_bytes == 0 || options.answer_bytes == 0) return usage();
  }
  if (options.peers > 40'000 || options.in_flight == 0 || options.in_flight >= options.peers)
    return usage();
  init_crypto();
  net::raise_descriptor_limit();
  if (how == "sealed") return SealedLoad(options).run();
  return how == "udp" ? UdpLoad(options).run() : PlainLoad(options).run();
}
