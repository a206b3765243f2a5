// RedisConnection: one connection to a redis server, from its name to its end. Commands go out in
// the order of call(), a batch at each flush(), and their replies come in that order. The parser is
// hiredis's; the socket is the loop's, like every other.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/loop.h"
#include "net/redis_framing.h"
#include "net/store_address.h"

struct redisReply;
struct redisReader;

namespace p2p::net {

// From the start to the server's welcome, and from a command to the next byte of a reply.
inline constexpr Duration kRedisTimeout = std::chrono::seconds(5);
// A reply past a limit of redis_framing.h is read and dropped, and the connection goes on; past
// this it ends. A value has up to 512 MB.
inline constexpr std::size_t kMaxRedisDroppedBytes = std::size_t{4} * 1024 * 1024 * 1024;

class RedisConnection : public std::enable_shared_from_this<RedisConnection> {
 public:
  using OnReply = std::function<void(const redisReply&)>;
  // After on_lost, and after close(), none is called any more.
  struct Handlers {
    std::function<void()> on_ready;
    OnReply on_message;  // what no command waits for: news, and confirmations of subscribing
    // kRefused: the server is there and does not let us in.
    std::function<void(const Error&)> on_lost;
  };

  RedisConnection(Loop& loop, StoreAddress address, Handlers handlers);
  ~RedisConnection();

  // `attempt`: with which of the name's addresses it begins; each gets its turn.
  void start(std::size_t attempt);
  void close();
  bool ready() const { return ready_; }

  // To be sent by the next flush(). Without `on_reply` the command is one that is answered by
  // messages; something must come within kRedisTimeout all the same. Instead of a reply that was
  // dropped for its size, an error comes: is_too_large().
  void call(const std::vector<std::string_view>& arguments, OnReply on_reply);
  void flush();
  std::size_t unanswered() const { return waiting_.size(); }

 private:
  struct Socket;
  enum class Login { kPassword, kDatabase, kLast };

  void try_next_endpoint();
  void on_connected();
  void on_unreachable(int status);
  void on_read(std::ptrdiff_t count);
  void on_login_reply(const redisReply& reply, Login step);
  // Up to the end of a reply. How many were taken; none: the connection is lost.
  std::size_t take_bytes(std::string_view bytes);
  void new_reader();
  void take_reply(const redisReply& reply);
  void lose(Error why);
  Error error(ErrorCode code, std::string_view problem) const;

  Loop& loop_;
  StoreAddress address_;
  Handlers handlers_;
  std::unique_ptr<redisReader, void (*)(redisReader*)> reader_;
  RedisFraming framing_;
  std::vector<Endpoint> endpoints_;  // not yet tried, the next one last
  Socket* socket_ = nullptr;         // freed by its close callback
  std::string out_;
  std::deque<OnReply> waiting_;
  bool message_due_ = false;  // a command is to be answered by messages
  bool ready_ = false;
  bool closed_ = false;
  Timer timeout_;
};

// Text of the server as a person may see it: printable ASCII, not too long.
std::string shown(const redisReply& reply);
// Stands for one that was dropped?
bool is_too_large(const redisReply& reply);

}  // namespace p2p::net
