#include "net/redis_store.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "net/log.h"

namespace p2p::net {
namespace {

constexpr std::string_view kKeyPrefix = "p2p:swarm:";

std::string_view view_of(const redisReply* reply) {
  return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS
             ? std::string_view(reply->str, reply->len)
             : std::string_view();
}

bool is_array(const redisReply& reply, std::size_t elements) {
  return reply.type == REDIS_REPLY_ARRAY && reply.elements == elements;
}

bool read_number(std::string_view text, std::int64_t& number) {
  const char* const end = text.data() + text.size();
  return std::from_chars(text.data(), end, number) == std::from_chars_result{end, std::errc()};
}

// Nobody announces it again: it must not be lost.
bool is_end(const std::optional<tracker::StorePut>& change) {
  return !change || change->expires <= Loop::now() + tracker::kDisconnectGrace;
}

}  // namespace

RedisStore::RedisStore(Loop& loop, StoreAddress address, tracker::Owner& owner, Random random,
                       std::function<void()> drain)
    : loop_(loop),
      address_(std::move(address)),
      owner_(owner),
      random_(random.fork("store")),
      drain_(std::move(drain)),
      writer_(random_.next()),
      // Channels, unlike keys, are the same in all databases of a server.
      channel_prefix_(absl::StrCat("p2p:news:", address_.database, ":")),
      retry_timer_(loop, [this] { connect(); }),
      check_timer_(loop, [this] { on_check(); }),
      batch_timer_(loop, [this] { write_changes(); }),
      resync_timer_(loop, [this] { on_tick(); }) {
  connect();
}

RedisStore::~RedisStore() { disconnect(); }

// ---- the connections ----

void RedisStore::connect() {
  const auto open = [this](RedisConnection::OnReply on_message) {
    RedisConnection::Handlers handlers;
    handlers.on_ready = [this] { on_ready(); };
    handlers.on_message = std::move(on_message);
    handlers.on_lost = [this](const Error& why) { on_lost(why); };
    return std::make_shared<RedisConnection>(loop_, address_, std::move(handlers));
  };
  commands_ = open([](const redisReply&) {});
  news_ = open([this](const redisReply& reply) { on_news(reply); });
  commands_->start(attempts_);
  news_->start(attempts_++);
}

void RedisStore::on_ready() {
  if (commands_->ready() && news_->ready()) ask_time();
}

// A connection that hangs without a word is found out, and the clocks do not drift apart.
void RedisStore::on_check() {
  news_->call({"PING"}, nullptr);
  news_->flush();
  ask_time();
}

void RedisStore::ask_time() {
  commands_->call({"TIME"}, [this](const redisReply& reply) { on_time(reply); });
  commands_->flush();
  check_timer_.arm(Loop::now() + kStoreCheckEvery);
}

void RedisStore::on_time(const redisReply& reply) {
  std::int64_t seconds = 0, microseconds = 0;
  constexpr std::int64_t kLastSecond = tracker::kMaxStoreTimeMs / 1000 / 1000;  // the year 2255
  clock_.reset();
  if (is_array(reply, 2) && read_number(view_of(reply.element[0]), seconds) &&
      read_number(view_of(reply.element[1]), microseconds) && seconds >= 0 &&
      seconds <= kLastSecond && microseconds >= 0 && microseconds < 1'000'000)
    clock_ = std::chrono::seconds(seconds) + std::chrono::microseconds(microseconds) -
             Loop::now().time_since_epoch();
  else
    skip("its time, by this machine's clock now; nothing is removed that seems over: " +
         shown(reply));
  const Duration ahead = std::chrono::system_clock::now().time_since_epoch() - unix_now();
  const bool off = std::chrono::abs(ahead) > kStoreClockOff;
  if (off && !clock_told_)
    log_warn(absl::StrCat("this machine's clock is ", std::llround(std::abs(to_seconds(ahead))),
                          ahead > Duration::zero() ? " s ahead of" : " s behind",
                          " that of the store ", address_.to_string(), ", which counts"));
  clock_told_ = off;
  if (!up()) begin_sharing();
}

void RedisStore::begin_sharing() {
  up_ = true;
  up_since_ = Loop::now();
  log_info(absl::StrCat("sharing peers through ", address_.to_string(),
                        told_ ? " again; what is known here is written to it" : ""));
  told_.reset();
  for (auto& [swarm, followed] : followed_) to_read_.push_back(swarm);
  write_changes();
  read_more();
}

void RedisStore::on_lost(const Error& why) {
  // One that breaks again at once is not met ever faster.
  if (up() && Loop::now() - up_since_ > kLastStoreRetry) retry_ = kFirstStoreRetry;
  disconnect();
  if (told_ != why.code) {
    told_ = why.code;
    const std::string text = "the store " + why.message;
    if (why.code == ErrorCode::kRefused)
      log_error(text + "; peers are kept in memory alone, trying again");
    else
      log_warn(text + "; peers are kept in memory alone until it is back, trying again");
  }
  retry_timer_.arm(Loop::now() +
                   std::chrono::duration_cast<Duration>(retry_ * (0.5 + 0.5 * random_.unit())));
  retry_ = std::min(2 * retry_, kLastStoreRetry);
}

void RedisStore::disconnect() {
  up_ = false;
  check_timer_.arm(kNever);
  // A connection may be in the middle of calling us: it frees itself when that is over.
  for (auto* connection : {&commands_, &news_})
    if (*connection) std::exchange(*connection, nullptr)->close();
  for (auto& [swarm, followed] : followed_) followed = Followed{};
  to_read_.clear();
  subscribing_.clear();
  resyncs_.clear();
  being_read_ = 0;
  held_up_ = false;
  keep_ends();
}

// ---- writing ----

// Tables are written again when the server is back; who left must not be forgotten till then.
void RedisStore::keep_ends() {
  for (auto& [swarm, changes] : changes_)
    std::erase_if(changes, [](const auto& change) { return !is_end(change.second); });
  // The last word on a peer stays.
  for (auto batch = ends_.rbegin(); batch != ends_.rend(); ++batch)
    for (auto& [swarm, changes] : batch->second) changes_[swarm].merge(changes);
  ends_.clear();
  absl::erase_if(changes_, [](const auto& swarm) { return swarm.second.empty(); });
  change_count_ = 0;
  for (const auto& [swarm, changes] : changes_) change_count_ += changes.size();
}

void RedisStore::put(const tracker::StorePut& put) {
  const auto found = followed_.find(put.swarm);
  if (found == followed_.end()) return;
  // All of the swarm is written after it was read.
  const bool shared = up() && found->second.stage == Stage::kShared;
  shared || is_end(put) ? change(put.swarm, put.peer.peer, put)
                        : forget_change(put.swarm, put.peer.peer);
}

void RedisStore::remove(const tracker::StoreRemove& removal) {
  change(removal.swarm, removal.peer, std::nullopt);
}

void RedisStore::change(const SwarmId& swarm, const PeerId& peer, Change change) {
  const std::size_t most = is_end(change) ? 2 * kMaxPendingChanges : kMaxPendingChanges;
  const auto known = changes_.find(swarm);
  const bool waits = known != changes_.end() && known->second.contains(peer);
  if (!waits && change_count_ >= most) {
    if (!std::exchange(overflows_, true))
      log_warn(up() ? "the store does not keep up; some changes are not written"
                    : "the store is away for long; of some peers that leave it will not be told");
    return;
  }
  changes_[swarm].insert_or_assign(peer, std::move(change));
  if (!waits && change_count_++ == 0 && up()) batch_timer_.arm(Loop::now() + kStoreBatchDelay);
}

void RedisStore::forget_change(const SwarmId& swarm, const PeerId& peer) {
  const auto found = changes_.find(swarm);
  if (found == changes_.end()) return;
  change_count_ -= found->second.erase(peer);
  if (found->second.empty()) changes_.erase(found);
}

void RedisStore::write_changes() {
  if (!up()) return;
  held_up_ = commands_->unanswered() >= kMaxUnansweredCommands;
  if (held_up_) return;  // on_written goes on
  overflows_ = false;
  change_count_ = 0;
  absl::flat_hash_map<SwarmId, Changes> ends;
  for (auto& [swarm, changes] : std::exchange(changes_, {})) {
    write_swarm(swarm, changes);
    std::erase_if(changes, [](const auto& change) { return !is_end(change.second); });
    if (!changes.empty()) ends.emplace(swarm, std::move(changes));
  }
  if (!ends.empty()) {
    const std::uint64_t batch = ++batches_;
    ends_.emplace(batch, std::move(ends));
    commands_->call({"PING"}, [this, batch](const redisReply&) { ends_.erase(batch); });
  }
  commands_->flush();
}

void RedisStore::write_swarm(const SwarmId& swarm, const Changes& changes) {
  const std::string key = key_of(swarm);
  const std::string channel = channel_of(swarm);
  const std::string life =
      absl::StrCat(std::chrono::ceil<std::chrono::milliseconds>(kStoreKeyLife).count());
  std::vector<std::string_view> kept = {"HSET", key}, removed = {"HDEL", key};
  std::vector<Bytes> news;
  news.reserve(changes.size());  // the views of `kept` stay
  for (const auto& [peer, put] : changes) {
    // Its grace may have passed while the server was away.
    if (put && put->expires > Loop::now()) {
      news.push_back(record_of(*put));
      kept.push_back(text_of(peer.view()));
      kept.push_back(text_of(news.back()));
    } else {
      removed.push_back(text_of(peer.view()));
      news.push_back(encode(tracker::StoreRemoval{writer_, swarm, peer}));
    }
  }
  const auto call = [this, &swarm](const std::vector<std::string_view>& command) {
    commands_->call(command, [this, swarm](const redisReply& reply) { on_written(swarm, reply); });
  };
  if (kept.size() > 2) {
    call(kept);
    call({"PEXPIRE", key, life});
  }
  if (removed.size() > 2) call(removed);
  for (const Bytes& message : news) call({"PUBLISH", channel, text_of(message)});
}

void RedisStore::on_written(const SwarmId& swarm, const redisReply& reply) {
  const Time now = Loop::now();
  if (reply.type == REDIS_REPLY_ERROR &&
      (refusal_logged_ == Time::min() || now - refusal_logged_ >= kSkipLogEvery)) {
    refusal_logged_ = now;
    log_warn(absl::StrCat("the store ", address_.to_string(),
                          " does not take what is written: ", key_of(swarm), ": ", shown(reply)));
  }
  if (held_up_ && commands_->unanswered() < kMaxUnansweredCommands / 2) write_changes();
}

Bytes RedisStore::record_of(const tracker::StorePut& put) const {
  return encode(tracker::StoreRecord{writer_, put.swarm, put.peer, unix_ms(put.expires)});
}

// ---- reading ----

void RedisStore::follow(const SwarmId& swarm) {
  followed_.insert_or_assign(swarm, Followed{});
  if (!up()) return;
  to_read_.push_back(swarm);
  read_more();
}

void RedisStore::unfollow(const SwarmId& swarm) {
  followed_.erase(swarm);
  if (!up()) return;
  news_->call({"UNSUBSCRIBE", channel_of(swarm)}, nullptr);
  news_->flush();
}

void RedisStore::on_tick() {
  const Time now = Loop::now();
  while (!resyncs_.empty() && resyncs_.front().first <= now) {
    const auto found = followed_.find(resyncs_.front().second);
    if (found != followed_.end() && found->second.read_again == resyncs_.front().first)
      to_read_.push_back(found->first);
    resyncs_.pop_front();
  }
  resync_timer_.arm(resyncs_.empty() ? kNever : resyncs_.front().first);
  read_more();
}

// First the news, then what is kept: so nothing is missed between the two.
void RedisStore::read_more() {
  while (up() && being_read_ < kMaxSwarmsRead && !to_read_.empty()) {
    const SwarmId swarm = to_read_.front();
    to_read_.pop_front();
    const auto found = followed_.find(swarm);
    if (found == followed_.end() || found->second.stage == Stage::kReading) continue;
    // What is shared already stays so while it is read anew.
    if (found->second.stage == Stage::kToRead) found->second.stage = Stage::kReading;
    found->second.reading = ++readings_;
    found->second.entries = 0;
    found->second.being_read = true;
    found->second.heard.clear();
    const std::string channel = channel_of(swarm);
    // An earlier one that nobody wants any more gives this one its place.
    if (subscribing_.insert_or_assign(channel, Reading{swarm, readings_}).second) ++being_read_;
    news_->call({"SUBSCRIBE", channel}, nullptr);
  }
  if (up()) news_->flush();
}

RedisStore::Followed* RedisStore::still(const Reading& reading) {
  const auto found = followed_.find(reading.swarm);
  return found != followed_.end() && found->second.reading == reading.number ? &found->second
                                                                             : nullptr;
}

void RedisStore::on_news(const redisReply& reply) {
  if (is_too_large(reply)) return skip("news: " + shown(reply));
  if (reply.type == REDIS_REPLY_ERROR)
    return on_lost(Error{ErrorCode::kRefused,
                         absl::StrCat(address_.to_string(), " tells no news: ", shown(reply))});
  if (!is_array(reply, 3)) return;
  const std::string_view kind = view_of(reply.element[0]);
  if (kind == "subscribe") on_subscribed(view_of(reply.element[1]));
  if (kind == "message") on_published(view_of(reply.element[1]), view_of(reply.element[2]));
}

void RedisStore::on_subscribed(std::string_view channel) {
  const auto found = subscribing_.find(channel);
  if (found == subscribing_.end()) return;
  const Reading reading = found->second;
  subscribing_.erase(found);
  scan(reading, "0");
}

bool RedisStore::note_news(std::string_view channel, const SwarmId& swarm, const PeerId& peer) {
  if (channel != channel_of(swarm)) {
    skip("news: of another swarm than its channel's");
    return false;
  }
  const auto found = followed_.find(swarm);
  if (found != followed_.end() && found->second.being_read &&
      found->second.heard.size() < kMaxEntriesRead)
    found->second.heard.insert(peer);
  return true;
}

void RedisStore::on_published(std::string_view channel, std::string_view payload) {
  const auto message = tracker::decode_store_message(bytes_of(payload));
  if (!message) return skip("news: " + message.error().message);
  const Time now = Loop::now();
  if (const auto* record = std::get_if<tracker::StoreRecord>(&*message)) {
    if (!note_news(channel, record->swarm, record->peer.peer) || record->writer == writer_) return;
    owner_.on_stored_peer(record->swarm, record->peer, time_of(record->expires_ms), now);
  } else {
    // Also our own: while a swarm is read, a peer may leave that has just been read.
    const auto& removal = std::get<tracker::StoreRemoval>(*message);
    if (!note_news(channel, removal.swarm, removal.peer)) return;
    owner_.on_stored_removal(removal.swarm, removal.peer, now);
  }
  drain_();
}

void RedisStore::scan(const Reading& reading, std::string_view cursor) {
  commands_->call(
      {"HSCAN", key_of(reading.swarm), cursor, "COUNT", absl::StrCat(kStorePageEntries)},
      [this, reading](const redisReply& reply) { on_page(reading, reply); });
  commands_->flush();
}

void RedisStore::on_page(const Reading& reading, const redisReply& reply) {
  if (still(reading) == nullptr) return end_reading(reading, false);
  if (!is_array(reply, 2) || reply.element[1]->type != REDIS_REPLY_ARRAY) {
    // As of a key that is something else than ours.
    skip(absl::StrCat(key_of(reading.swarm), ": ",
                      reply.type == REDIS_REPLY_ERROR ? shown(reply) : "no hash"));
  } else {
    take_page(reading, *reply.element[1]);
    Followed* followed = still(reading);  // the owner may have changed its mind
    if (followed == nullptr) return end_reading(reading, false);
    const std::string_view cursor = view_of(reply.element[0]);
    if (cursor != "0" && followed->entries < kMaxEntriesRead) return scan(reading, cursor);
    if (cursor != "0")
      skip(absl::StrCat(key_of(reading.swarm), ": what is past ", kMaxEntriesRead, " entries"));
  }
  if (Followed* followed = still(reading)) {
    followed->being_read = false;
    followed->heard.clear();
  }
  owner_.on_store_loaded(reading.swarm, Loop::now());
  drain_();
  write_own(reading, 0);
}

void RedisStore::take_page(const Reading& reading, const redisReply& fields) {
  const Time now = Loop::now();
  const std::string key = key_of(reading.swarm);
  std::vector<std::string_view> over = {"HDEL", key};
  Followed& followed = *still(reading);
  for (std::size_t i = 0; i + 1 < fields.elements; i += 2) {
    ++followed.entries;
    const std::string_view field = view_of(fields.element[i]);
    const auto message = tracker::decode_store_message(bytes_of(view_of(fields.element[i + 1])));
    const auto* record = message ? std::get_if<tracker::StoreRecord>(&*message) : nullptr;
    if (record == nullptr || record->swarm != reading.swarm ||
        text_of(record->peer.peer.view()) != field) {
      skip(absl::StrCat(key, ": ",
                        message ? "a record of something else" : message.error().message));
      continue;
    }
    const Time expires = time_of(record->expires_ms);
    if (followed.heard.contains(record->peer.peer)) continue;
    if (clock_ && expires + kStoreSweepAfter <= now) over.push_back(field);
    owner_.on_stored_peer(reading.swarm, record->peer, expires, now, tracker::Heard::kInReading);
  }
  if (over.size() > 2)
    commands_->call(over,
                    [this, reading](const redisReply& reply) { on_written(reading.swarm, reply); });
  drain_();
}

void RedisStore::write_own(const Reading& reading, std::size_t first) {
  Followed* followed = still(reading);
  const auto own = owner_.own_entries(reading.swarm, first, kStorePageEntries);
  if (followed == nullptr || !own) return end_reading(reading, followed != nullptr);
  followed->stage = Stage::kShared;  // what changes from here on is written one by one
  Changes records;
  for (const tracker::StorePut& put : *own) records.emplace(put.peer.peer, put);
  if (!records.empty()) write_swarm(reading.swarm, records);
  // The next page when this one has been taken.
  commands_->call({"PING"}, [this, reading, first](const redisReply&) {
    write_own(reading, first + kStorePageEntries);
  });
  commands_->flush();
}

void RedisStore::end_reading(const Reading& reading, bool shared) {
  --being_read_;
  if (shared) {
    Followed& followed = followed_.at(reading.swarm);
    followed.stage = Stage::kShared;
    followed.read_again = Loop::now() + kStoreResync;
    resyncs_.emplace_back(followed.read_again, reading.swarm);
    resync_timer_.arm(resyncs_.front().first);
  }
  read_more();
}

void RedisStore::skip(const std::string& what) {
  ++skipped_;
  const Time now = Loop::now();
  if (skip_logged_ != Time::min() && now - skip_logged_ < kSkipLogEvery) return;
  skip_logged_ = now;
  log_warn(absl::StrCat("skipped in the store ", address_.to_string(), ", now ", skipped_,
                        " times: ", what));
}

// ---- names and times ----

std::string RedisStore::key_of(const SwarmId& swarm) const {
  return std::string(kKeyPrefix) + swarm.hex();
}

std::string RedisStore::channel_of(const SwarmId& swarm) const {
  return channel_prefix_ + swarm.hex();
}

// By the server's clock: the machines of the trackers may be minutes apart.
Duration RedisStore::unix_now() const {
  return clock_ ? Loop::now().time_since_epoch() + *clock_
                : Duration(std::chrono::system_clock::now().time_since_epoch());
}

std::uint64_t RedisStore::unix_ms(Time at) const {
  const Duration since_1970 = unix_now() + (at - Loop::now());
  return static_cast<std::uint64_t>(
      std::max(std::chrono::floor<std::chrono::milliseconds>(since_1970).count(), std::int64_t{0}));
}

// Held within what a Duration can take.
Time RedisStore::time_of(std::uint64_t unix_ms) const {
  constexpr auto kFarMs =
      std::chrono::duration_cast<std::chrono::milliseconds>(2 * kStoreKeyLife).count();
  const auto now_ms = std::chrono::floor<std::chrono::milliseconds>(unix_now()).count();
  const auto left =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(unix_ms) - now_ms, -kFarMs, kFarMs);
  return Loop::now() + std::chrono::milliseconds(left);
}

}  // namespace p2p::net
