// A swarm whose neighbours, disk and clock are played by the input. Whatever they do, it does not
// crash, advertises and sends only what is verified, asks only for what was advertised, and says
// nothing to a connection that has ended.
//
// Input: a byte for the number of chunks, one for those we have at the start, then steps of three
// bytes: what happens, to which neighbour, and with which chunk or how much.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>

#include "base/check.h"
#include "peer/swarm.h"

namespace {

using namespace p2p;
using namespace p2p::peer;

constexpr ChunkIndex kMostChunks = 80;
constexpr std::uint8_t kSlots = 4;  // neighbours at once

struct Neighbour {
  ConnectionId connection;
  Bitfield told;  // what it has advertised
  std::set<ChunkIndex> receiving;
  std::vector<ChunkIndex> sending;
};

class Game {
 public:
  Game(ChunkIndex chunks, std::uint8_t have)
      : chunks_(chunks),
        layout_{std::uint64_t{chunks} * kMinChunkBytes, kMinChunkBytes},
        swarm_({}, layout_, start(chunks, have), Random(have), now_, partial(chunks)) {
    completed_ = swarm_.complete();
  }

  void step(std::uint8_t what, std::uint8_t slot, std::uint8_t with) {
    slot %= kSlots;
    const auto chunk = static_cast<ChunkIndex>(with % (chunks_ + 1));  // one is out of range
    if (!neighbours_.contains(slot)) return connect(slot);
    const ConnectionId id = neighbours_.at(slot).connection;
    switch (what % 20) {
      case 0:
        neighbours_.erase(slot);
        swarm_.on_disconnected(id, now_);
        break;
      case 1:
        return say(slot, Chunks{pattern(chunks_, with)});
      case 2:
        return say(slot, Chunks{Bitfield(with, with % 2 == 0)});
      case 3:
        return say(slot, Have{{chunk, with / 2u % chunks_}, with});
      case 4:
        return say(slot, Lost{{chunk}});
      case 5:
        return say(slot, Request{chunk});
      case 6:
        return say(slot, Request{kAnyChunk});
      case 7:
        return say(slot, Give{chunk, with});
      case 8:
        return say(slot, Cancel{with == 255 ? kAnyChunk : chunk});
      case 9:
        return say(
            slot, Reject{with >= 240 ? kAnyChunk : chunk, static_cast<RejectReason>(1 + with % 4)});
      case 10:
        swarm_.on_data(id, chunk, with * 300u, now_);
        break;
      case 11:
      case 12:
        return deliver(slot, with);
      case 13:
        swarm_.on_chunk_corrupt(id, chunk, now_);
        break;
      case 14:
      case 15:
        return end_send(slot, with);
      case 16:
        if (chunk < chunks_) swarm_.on_chunk_unreadable(id, chunk, now_);
        break;
      case 17:
        return say(slot, Partial{{{chunk, {{with, 1u + with}}}}});
      case 18:
        return deliver(slot, with, false);
      default:
        now_ += std::chrono::milliseconds(with * with);
        swarm_.on_timeout(now_);
    }
    drain();
  }

 private:
  static Bitfield pattern(ChunkIndex chunks, std::uint8_t bits) {
    Bitfield field(chunks, bits == 255);
    for (ChunkIndex chunk = 0; chunk < chunks; ++chunk)
      if (bits >> (chunk % 8) & 1) field.set(chunk);
    return field;
  }
  // Of a third of the chunks parts are known.
  static std::vector<PartialChunk> partial(ChunkIndex chunks) {
    std::vector<PartialChunk> partial;
    for (ChunkIndex chunk = 0; chunk < chunks; chunk += 3) partial.push_back({chunk, {{9, 99}}});
    return partial;
  }
  static Bitfield start(ChunkIndex chunks, std::uint8_t have) { return pattern(chunks, have); }

  void connect(std::uint8_t slot) {
    const ConnectionId id = ++connections_;
    neighbours_[slot] = {id, Bitfield(chunks_), {}, {}};
    PeerId peer;
    peer.bytes[0] = slot;
    swarm_.on_connected(id, peer, now_);
    drain();
  }

  void say(std::uint8_t slot, const Message& message) {
    Neighbour& neighbour = neighbours_.at(slot);
    const auto note = [&](ChunkIndex chunk, bool has) {
      if (chunk >= chunks_) return;
      if (has) {
        neighbour.told.set(chunk);
      } else {
        neighbour.told.reset(chunk);
      }
    };
    if (const auto* chunks = std::get_if<Chunks>(&message)) {
      if (chunks->have.size() == chunks_) neighbour.told = chunks->have;
    } else if (const auto* have = std::get_if<Have>(&message)) {
      for (ChunkIndex chunk : have->chunks) note(chunk, true);
    } else if (const auto* lost = std::get_if<Lost>(&message)) {
      for (ChunkIndex chunk : lost->chunks) note(chunk, false);
    } else if (const auto* give = std::get_if<Give>(&message)) {
      note(give->chunk, true);
    } else if (const auto* reject = std::get_if<Reject>(&message)) {
      neighbour.receiving.erase(reject->chunk);
    }
    swarm_.on_message(neighbour.connection, message, now_);
    drain();
  }

  // One of the chunks that it is to send comes in whole; or what was known of it does not fit.
  void deliver(std::uint8_t slot, std::uint8_t which, bool fits = true) {
    Neighbour& neighbour = neighbours_.at(slot);
    if (neighbour.receiving.empty()) return;
    const ChunkIndex chunk =
        *std::next(neighbour.receiving.begin(), which % neighbour.receiving.size());
    neighbour.receiving.erase(chunk);
    const ConnectionId id = neighbour.connection;
    swarm_.on_data(id, chunk, kMinChunkBytes, now_);
    if (fits) {
      swarm_.on_chunk_verified(id, chunk, now_);
      P2P_CHECK(swarm_.have().test(chunk));
    } else {
      swarm_.on_chunk_misfit(id, chunk, now_);
    }
    drain();
  }

  void end_send(std::uint8_t slot, std::uint8_t how) {
    Neighbour& neighbour = neighbours_.at(slot);
    if (neighbour.sending.empty()) return;
    const ChunkIndex chunk = neighbour.sending.front();
    neighbour.sending.erase(neighbour.sending.begin());
    if (how % 4 == 0) {
      swarm_.on_send_stopped(neighbour.connection, chunk, now_);
    } else {
      swarm_.on_chunk_sent(neighbour.connection, chunk, now_);
    }
    drain();
  }

  Neighbour& of(ConnectionId id) {
    for (auto& [slot, neighbour] : neighbours_)
      if (neighbour.connection == id) return neighbour;
    P2P_CHECK(!"an action for a connection that has ended");
    return neighbours_.begin()->second;
  }

  void check_message(Neighbour& to, const Message& message) {
    P2P_CHECK(decode(encode(message)).has_value());
    if (const auto* have = std::get_if<Have>(&message)) {
      for (ChunkIndex chunk : have->chunks) P2P_CHECK(swarm_.have().test(chunk));
    } else if (const auto* give = std::get_if<Give>(&message)) {
      P2P_CHECK(swarm_.have().test(give->chunk));
    } else if (const auto* request = std::get_if<Request>(&message)) {
      if (request->chunk == kAnyChunk) return;
      P2P_CHECK(to.told.test(request->chunk));
      P2P_CHECK(!swarm_.have().test(request->chunk));
    }
  }

  // All at once: the checks are of what we know at the end of the input, as is the swarm's state.
  void drain() {
    while (const auto action = swarm_.poll_action()) {
      if (const auto* sent = std::get_if<SendMessage>(&*action)) {
        check_message(of(sent->connection), sent->message);
      } else if (const auto* receive = std::get_if<ReceiveChunk>(&*action)) {
        P2P_CHECK(of(receive->connection).receiving.insert(receive->chunk).second);
      } else if (const auto* drop = std::get_if<DropChunk>(&*action)) {
        of(drop->connection).receiving.erase(drop->chunk);
      } else if (const auto* send = std::get_if<SendChunk>(&*action)) {
        P2P_CHECK(swarm_.have().test(send->chunk));
        of(send->connection).sending.push_back(send->chunk);
      } else if (const auto* stop = std::get_if<StopSending>(&*action)) {
        const auto& sending = of(stop->connection).sending;
        P2P_CHECK(std::find(sending.begin(), sending.end(), stop->chunk) != sending.end());
      } else if (const auto* disconnect = std::get_if<Disconnect>(&*action)) {
        of(disconnect->connection);
        std::erase_if(neighbours_, [&](const auto& entry) {
          return entry.second.connection == disconnect->connection;
        });
      } else if (std::holds_alternative<Completed>(*action)) {
        P2P_CHECK(!std::exchange(completed_, true));
      }
    }
    P2P_CHECK(swarm_.stats().neighbours == neighbours_.size());
  }

  ChunkIndex chunks_;
  Layout layout_;
  Time now_{};
  Swarm swarm_;
  std::map<std::uint8_t, Neighbour> neighbours_;
  ConnectionId connections_ = 0;
  bool completed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  Game game(1 + data[0] % kMostChunks, data[1]);
  for (std::size_t at = 2; at + 3 <= size; at += 3) game.step(data[at], data[at + 1], data[at + 2]);
  return 0;
}
