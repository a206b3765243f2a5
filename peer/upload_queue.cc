#include "peer/upload_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace p2p::peer {
namespace {

// A send may take this multiple of the mean before it loses its slot, and this long at least.
constexpr int kPatience = 8;
constexpr Duration kLeastPatience = std::chrono::seconds(2);
// However slowly it is read: else a slow reader could raise the mean for everyone.
constexpr Duration kMostPatience = std::chrono::minutes(1);
// The mean moves by this part with each send.
constexpr int kMeanParts = 8;
// A chunk that few have is sent first, for those who get it pass it on, while the last copies of
// others serve nobody but their askers: but who has fewer chunks than those who wait have in the
// mean, by more than kBehind, comes before, or the last of a swarm would fall further behind.
// Counts within kRarityStep are alike. (Equal links in the simulator, two or three seeds each,
// chunk times beyond the bound without and with it: 3,000 peers and 512 chunks 106, 96; 1,000 peers
// and 239 chunks 83, 78; 100 peers no difference.)
constexpr std::uint32_t kBehind = 2;
constexpr std::uint32_t kMostCommon = 0xffffffff;
constexpr std::uint32_t kRarityStep = 4;

auto find_send(UploadClient& client, ChunkIndex chunk) {
  return std::find_if(client.sends.begin(), client.sends.end(),
                      [&](const UploadClient::Send& send) { return send.chunk == chunk; });
}

}  // namespace

UploadQueue::UploadQueue(Slots slots, Duration patience, const Bitfield& have, Random random)
    : slots_{std::max(slots.first, 1u), std::max({slots.first, slots.most, 1u})},
      mean_send_((slots.first < slots.most ? std::min(patience, kLeastPatience) : patience) /
                 kPatience),
      giveaway_(have, random) {}

UploadQueue::Pushed UploadQueue::push(UploadClient& client, ChunkIndex chunk,
                                      const Bitfield& theirs) {
  if (client.queue.size() + client.sends.size() >= kMaxQueuedRequests) return Pushed::kTooMany;
  if (chunk == kAnyChunk) {
    if (client.settled.size() != theirs.size()) {
      client.settled = theirs;
      for (ChunkIndex queued : client.queue) client.settled.set(queued);
      for (const UploadClient::Send& send : client.sends) client.settled.set(send.chunk);
    }
  } else {
    if (is_open(client, chunk)) return Pushed::kDuplicate;
    on_has(client, chunk);
  }
  if (client.queue.empty()) waiting_.push_back(&client);
  client.queue.push_back(chunk);
  ++load_;
  return Pushed::kQueued;
}

bool UploadQueue::is_open(UploadClient& client, ChunkIndex chunk) const {
  return std::find(client.queue.begin(), client.queue.end(), chunk) != client.queue.end() ||
         find_send(client, chunk) != client.sends.end();
}

bool UploadQueue::drop_request(UploadClient& client, ChunkIndex chunk) {
  // The last of several for kAnyChunk: the order of the others does not change.
  const auto found = std::find(client.queue.rbegin(), client.queue.rend(), chunk);
  if (found == client.queue.rend()) return false;
  client.queue.erase(std::next(found).base());
  --load_;
  if (client.queue.empty()) leave_waiting(client);
  return true;
}

UploadQueue::Cancelled UploadQueue::cancel(UploadClient& client, ChunkIndex chunk) {
  if (drop_request(client, chunk)) return Cancelled::kRemoved;
  const auto send = find_send(client, chunk);
  if (send == client.sends.end() || send->cancelled) return Cancelled::kUnknown;
  send->cancelled = true;
  if (send->stopping) return Cancelled::kUnknown;
  send->stopping = true;
  return Cancelled::kStop;
}

void UploadQueue::remove(UploadClient& client) {
  load_ -= static_cast<std::uint32_t>(client.queue.size() + client.sends.size());
  if (!client.queue.empty()) leave_waiting(client);
  client.queue.clear();
  for (const UploadClient::Send& send : client.sends) giveaway_.on_taken_back(send.chunk);
  client.sends.clear();
  std::erase_if(slots_used_, [&](const Slot& slot) { return slot.client == &client; });
}

void UploadQueue::on_has(UploadClient& client, ChunkIndex chunk) {
  if (client.settled.size() > 0) client.settled.set(chunk);
}

void UploadQueue::on_lost(UploadClient& client, ChunkIndex chunk) {
  if (client.settled.size() > 0) client.settled.reset(chunk);
}

std::size_t UploadQueue::open_slots() const {
  return std::min<std::uint64_t>(slots_.most, slots_.first + whole_sends_ / kSendsPerSlot);
}

UploadQueue::Waiting UploadQueue::next_request(const Availability* availability) const {
  std::uint64_t held = 0;
  std::size_t count = 0;
  for (const UploadClient* client : waiting_) {
    if (client->blocked) continue;
    held += client->has();
    ++count;
  }
  if (count == 0) return {};
  const std::uint64_t mean = held / count;
  const auto rarity = [&](ChunkIndex chunk) {
    // Only who is complete is to be asked for any chunk: nobody gains by asking others for it.
    return chunk == kAnyChunk ? kMostCommon : availability->count(chunk) / kRarityStep;
  };
  // Two chunks to one neighbour share its connection: they fill no more of our uplink than one.
  using Rank = std::tuple<std::size_t, bool, std::uint32_t, std::uint32_t, std::uint64_t>;
  Waiting best;
  Rank best_rank;
  for (UploadClient* client : waiting_) {
    if (client->blocked) continue;
    Waiting own{client, 0};
    std::uint32_t rarest = 0;
    if (availability != nullptr) {
      rarest = rarity(client->queue[0]);
      for (std::size_t place = 1; place < client->queue.size(); ++place) {
        const std::uint32_t its = rarity(client->queue[place]);
        if (its >= rarest) continue;
        rarest = its;
        own.place = place;
      }
    }
    const bool is_behind = client->has() + kBehind < mean;
    const Rank rank{client->sends.size(), !is_behind, is_behind ? 0 : rarest, client->has(),
                    client->turn};
    if (best.client != nullptr && rank >= best_rank) continue;
    best = own;
    best_rank = rank;
  }
  return best;
}

void UploadQueue::leave_waiting(UploadClient& client) {
  const auto found = std::find(waiting_.begin(), waiting_.end(), &client);
  P2P_CHECK(found != waiting_.end());
  waiting_.erase(found);
}

std::optional<UploadQueue::Start> UploadQueue::start(Time now, const Availability* availability) {
  if (waiting_.empty() || slots_used_.size() >= open_slots()) return std::nullopt;
  const auto [client, place] = next_request(availability);
  if (client == nullptr) return std::nullopt;
  Start start{client, client->queue[place]};
  client->queue.erase(client->queue.begin() + static_cast<std::ptrdiff_t>(place));
  if (client->queue.empty()) leave_waiting(*client);
  if (start.chunk == kAnyChunk) {
    const auto chunk = giveaway_.choose(client->settled);
    if (!chunk) {
      --load_;
      return start;
    }
    start.chunk = *chunk;
    start.chosen = true;
    client->settled.set(*chunk);
  }
  client->turn = ++turns_;
  client->sends.push_back({start.chunk, now});
  slots_used_.push_back({client, start.chunk, now});
  giveaway_.on_given(start.chunk);
  return start;
}

std::optional<UploadClient::Send> UploadQueue::finish(UploadClient& client, ChunkIndex chunk,
                                                      bool whole, Time now) {
  const auto found = find_send(client, chunk);
  if (found == client.sends.end()) return std::nullopt;
  const UploadClient::Send send = *found;
  client.sends.erase(found);
  --load_;
  const auto slot = std::find_if(slots_used_.begin(), slots_used_.end(), [&](const Slot& used) {
    return used.client == &client && used.chunk == chunk;
  });
  if (slot != slots_used_.end()) slots_used_.erase(slot);
  client.blocked = client.blocked && !client.sends.empty();
  if (whole) {
    ++whole_sends_;
    ++client.got;
    mean_send_ += (now - send.since - mean_send_) / kMeanParts;
  } else {
    giveaway_.on_taken_back(chunk);
  }
  return send;
}

Duration UploadQueue::patience() const {
  return std::clamp(kPatience * mean_send_, kLeastPatience, kMostPatience);
}

void UploadQueue::on_timeout(Time now) {
  std::erase_if(slots_used_, [&](const Slot& slot) {
    if (now - slot.since < patience()) return false;
    return slot.client->blocked = true;
  });
}

Time UploadQueue::next_timeout() const {
  if (waiting_.empty() || slots_used_.empty()) return kNever;
  return slots_used_.front().since + patience();
}

std::uint32_t UploadQueue::load_beside(const UploadClient& client) const {
  return load_ - static_cast<std::uint32_t>(client.queue.size() + client.sends.size());
}

}  // namespace p2p::peer
