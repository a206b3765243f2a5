// RedisStore: the store through which trackers share what they know, in a redis server. It writes
// what its owner (tracker/owner.h) says and tells the owner what others wrote. Nothing waits for
// it: without the server the tracker goes on from memory, and what is in the table is written again
// when the server is back.
//
// One connection for commands, one for news: a redis connection that is subscribed takes no other
// command. docs/protocol.md has the keys and channels.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/random.h"
#include "net/redis_connection.h"
#include "tracker/owner.h"

namespace p2p::net {

// Changes of a peer within this time are written as one.
inline constexpr Duration kStoreBatchDelay = std::chrono::milliseconds(10);
// Changes that wait to be written: past these one is dropped, and the peer's next announce is
// written again. Of peers that leave, which announce no more, twice as many may wait. While more
// commands wait for an answer, changes wait.
inline constexpr std::size_t kMaxPendingChanges = 65'536;
inline constexpr std::size_t kMaxUnansweredCommands = 4096;
// Swarms that are read at the same time, entries that are asked for or written at once, and those
// that are read of one swarm.
inline constexpr std::size_t kMaxSwarmsRead = 16;
inline constexpr std::size_t kStorePageEntries = 512;
inline constexpr std::size_t kMaxEntriesRead = 100'000;
// A swarm is read and written anew so often: what is missed or lost does not stay so, and entries
// whose time is over by so much are removed.
inline constexpr Duration kStoreResync = std::chrono::minutes(30);
inline constexpr Duration kStoreSweepAfter = std::chrono::minutes(1);
// A swarm's key ends by itself when nobody writes to it.
inline constexpr Duration kStoreKeyLife = tracker::kMaxStoredLife;
// So often both connections are asked for an answer, and the server for its time.
inline constexpr Duration kStoreCheckEvery = std::chrono::seconds(10);
// This machine's clock should not differ by more from the server's, which is the one that counts.
inline constexpr Duration kStoreClockOff = std::chrono::seconds(10);
// Between attempts to reach the server: doubling, with jitter.
inline constexpr Duration kFirstStoreRetry = std::chrono::milliseconds(250);
inline constexpr Duration kLastStoreRetry = std::chrono::seconds(10);
// What is skipped in the store, and what it does not take, is told of not more often.
inline constexpr Duration kSkipLogEvery = std::chrono::seconds(10);

class RedisStore {
 public:
  // `drain` carries out the owner's actions; it is called after the owner was told something, and
  // may call back.
  RedisStore(Loop& loop, StoreAddress address, tracker::Owner& owner, Random random,
             std::function<void()> drain);
  ~RedisStore();

  void follow(const SwarmId& swarm);
  void unfollow(const SwarmId& swarm);
  void put(const tracker::StorePut& put);
  void remove(const tracker::StoreRemove& removal);

  // Does the server answer?
  bool up() const { return up_; }
  // Peers whose changes wait to be written.
  std::size_t waiting_changes() const { return change_count_; }

 private:
  // Of a swarm, in this order: until the table has been written too, single changes need not be.
  enum class Stage { kToRead, kReading, kShared };
  struct Followed {
    Stage stage = Stage::kToRead;
    std::uint64_t reading = 0;  // the number of the reading that counts
    std::size_t entries = 0;    // read in it
    Time read_again = kNever;
    // While it is read: peers of which news came. What the pages say of them may be older.
    bool being_read = false;
    std::set<PeerId> heard;
  };
  // What is to be written of a peer; none: it is removed.
  using Change = std::optional<tracker::StorePut>;
  using Changes = std::map<PeerId, Change>;
  // One reading of a swarm, which may be overtaken by another.
  struct Reading {
    SwarmId swarm;
    std::uint64_t number;
  };

  void connect();
  void on_ready();
  void on_check();
  void ask_time();
  void on_time(const redisReply& reply);
  void begin_sharing();
  void on_lost(const Error& why);
  void disconnect();

  void change(const SwarmId& swarm, const PeerId& peer, Change change);
  void forget_change(const SwarmId& swarm, const PeerId& peer);
  void keep_ends();
  void write_changes();
  void write_swarm(const SwarmId& swarm, const Changes& changes);
  void on_written(const SwarmId& swarm, const redisReply& reply);
  Bytes record_of(const tracker::StorePut& put) const;

  void on_tick();
  void read_more();
  Followed* still(const Reading& reading);
  void on_news(const redisReply& reply);
  void on_subscribed(std::string_view channel);
  void on_published(std::string_view channel, std::string_view payload);
  // False: of another channel than its swarm's.
  bool note_news(std::string_view channel, const SwarmId& swarm, const PeerId& peer);
  void scan(const Reading& reading, std::string_view cursor);
  void on_page(const Reading& reading, const redisReply& reply);
  void take_page(const Reading& reading, const redisReply& fields);
  void write_own(const Reading& reading, std::size_t first);
  void end_reading(const Reading& reading, bool shared);
  void skip(const std::string& what);

  std::string key_of(const SwarmId& swarm) const;
  std::string channel_of(const SwarmId& swarm) const;
  Duration unix_now() const;
  std::uint64_t unix_ms(Time at) const;
  Time time_of(std::uint64_t unix_ms) const;

  Loop& loop_;
  StoreAddress address_;
  tracker::Owner& owner_;
  Random random_;
  std::function<void()> drain_;
  std::uint64_t writer_;
  std::string channel_prefix_;

  std::shared_ptr<RedisConnection> commands_, news_;
  bool up_ = false;
  Duration retry_ = kFirstStoreRetry;
  Time up_since_;
  std::optional<ErrorCode> told_;  // the trouble that was logged; none: all is well
  std::size_t attempts_ = 0;
  Timer retry_timer_;
  Timer check_timer_;
  // The server's time since 1970, less ours of Loop::now(). None: it does not tell.
  std::optional<Duration> clock_;
  bool clock_told_ = false;

  absl::flat_hash_map<SwarmId, Changes> changes_;
  std::size_t change_count_ = 0;
  // Of what was sent and not yet answered, what says that peers leave: by batch.
  std::map<std::uint64_t, absl::flat_hash_map<SwarmId, Changes>> ends_;
  std::uint64_t batches_ = 0;  // ever sent
  Time refusal_logged_ = Time::min();
  bool overflows_ = false;
  bool held_up_ = false;  // changes wait until more commands are answered
  Timer batch_timer_;

  absl::flat_hash_map<SwarmId, Followed> followed_;
  std::deque<SwarmId> to_read_;
  std::map<std::string, Reading, std::less<>> subscribing_;  // by channel
  std::deque<std::pair<Time, SwarmId>> resyncs_;
  std::uint64_t readings_ = 0;  // ever begun
  std::size_t being_read_ = 0;
  Timer resync_timer_;

  std::size_t skipped_ = 0;
  Time skip_logged_ = Time::min();
};

}  // namespace p2p::net
