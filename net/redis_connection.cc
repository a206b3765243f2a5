#include "net/redis_connection.h"

#include <hiredis/hiredis.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"

namespace p2p::net {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kMaxShownBytes = 200;
constexpr std::string_view kTooLarge = "larger than what is read of the store";

}  // namespace

struct RedisConnection::Socket {
  uv_tcp_t tcp;
  uv_connect_t connect;
  std::weak_ptr<RedisConnection> owner;
  char buffer[kReadBytes];

  // Ours while it is the connection's socket.
  static std::shared_ptr<RedisConnection> owner_of(void* socket) {
    auto owner = static_cast<Socket*>(socket)->owner.lock();
    return owner && owner->socket_ == socket ? owner : nullptr;
  }
  void close() {
    uv_close(reinterpret_cast<uv_handle_t*>(&tcp),
             [](uv_handle_t* handle) { delete static_cast<Socket*>(handle->data); });
  }
};

std::string shown(const redisReply& reply) {
  std::string text(reply.str == nullptr ? "" : reply.str,
                   reply.str == nullptr ? 0 : std::min<std::size_t>(reply.len, kMaxShownBytes));
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

bool is_too_large(const redisReply& reply) {
  return reply.type == REDIS_REPLY_ERROR && reply.str == kTooLarge.data();
}

RedisConnection::RedisConnection(Loop& loop, StoreAddress address, Handlers handlers)
    : loop_(loop),
      address_(std::move(address)),
      handlers_(std::move(handlers)),
      reader_(nullptr, redisReaderFree),
      timeout_(loop, [this] {
        const auto self = shared_from_this();
        lose(error(ErrorCode::kUnreachable, "does not answer"));
      }) {
  new_reader();
}

RedisConnection::~RedisConnection() { close(); }

void RedisConnection::start(std::size_t attempt) {
  timeout_.arm(Loop::now() + kRedisTimeout);
  loop_.resolve(address_.where,
                [weak = weak_from_this(), attempt](const Result<std::vector<Endpoint>>& found) {
                  const auto self = weak.lock();
                  if (!self || self->closed_) return;
                  if (!found) return self->lose(found.error());
                  self->endpoints_.assign(found->rbegin(), found->rend());
                  // One that does not answer at all takes the time of the others.
                  auto& ends = self->endpoints_;
                  std::rotate(ends.rbegin(), ends.rbegin() + attempt % ends.size(), ends.rend());
                  self->try_next_endpoint();
                });
}

void RedisConnection::close() {
  closed_ = true;
  ready_ = false;
  timeout_.arm(kNever);
  waiting_.clear();
  if (socket_ != nullptr) std::exchange(socket_, nullptr)->close();
}

void RedisConnection::lose(Error why) {
  if (closed_) return;
  close();
  handlers_.on_lost(why);
}

Error RedisConnection::error(ErrorCode code, std::string_view problem) const {
  return Error{code, absl::StrCat(address_.to_string(), " ", std::string(problem))};
}

void RedisConnection::try_next_endpoint() {
  const sockaddr_storage to = sockaddr_of(endpoints_.back());
  endpoints_.pop_back();
  socket_ = new Socket;
  P2P_CHECK(uv_tcp_init(loop_.raw(), &socket_->tcp) == 0);
  socket_->tcp.data = socket_;
  socket_->connect.data = socket_;
  socket_->owner = weak_from_this();
  const auto on_result = [](uv_connect_t* request, int result) {
    const auto self = Socket::owner_of(request->data);
    if (!self) return;
    result == 0 ? self->on_connected() : self->on_unreachable(result);
  };
  const int status = uv_tcp_connect(&socket_->connect, &socket_->tcp,
                                    reinterpret_cast<const sockaddr*>(&to), on_result);
  if (status != 0) on_unreachable(status);
}

void RedisConnection::on_unreachable(int status) {
  std::exchange(socket_, nullptr)->close();
  if (!endpoints_.empty()) return try_next_endpoint();
  lose(error(ErrorCode::kUnreachable, "cannot be reached: " + uv_text(status)));
}

void RedisConnection::on_connected() {
  uv_tcp_nodelay(&socket_->tcp, 1);
  uv_tcp_keepalive(&socket_->tcp, 1, 30);
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&socket_->tcp),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto* socket = static_cast<Socket*>(handle->data);
        *buffer = uv_buf_init(socket->buffer, sizeof(socket->buffer));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        if (const auto self = Socket::owner_of(stream->data)) self->on_read(count);
      });
  const auto login = [this](const std::vector<std::string_view>& command) {
    const Login step = command[0] == "AUTH"   ? Login::kPassword
                       : command[0] == "PING" ? Login::kLast
                                              : Login::kDatabase;
    call(command, [this, step](const redisReply& reply) { on_login_reply(reply, step); });
  };
  const std::string database = absl::StrCat(address_.database);
  if (!address_.user.empty())
    login({"AUTH", address_.user, address_.password});
  else if (!address_.password.empty())
    login({"AUTH", address_.password});
  if (address_.database != 0) login({"SELECT", database});
  login({"PING"});
  flush();
}

void RedisConnection::on_login_reply(const redisReply& reply, Login step) {
  if (reply.type == REDIS_REPLY_ERROR) {
    std::string text = shown(reply);
    const bool wrong = text.starts_with("WRONGPASS") || text.starts_with("ERR invalid password") ||
                       text.starts_with("ERR AUTH");
    const std::string_view what = wrong ? "does not accept the password: "
                                  : text.starts_with("NOAUTH")
                                      ? "asks for a password (--store-password-file): "
                                  : step == Login::kPassword ? "takes no password: "
                                                             : "refuses: ";
    // A server that does not know the command answers with what it was given: the password.
    if (step == Login::kPassword) text.resize(std::min(text.find(' '), text.size()));
    return lose(error(ErrorCode::kRefused, absl::StrCat(std::string(what), text)));
  }
  if (step != Login::kLast) return;
  ready_ = true;
  handlers_.on_ready();
}

void RedisConnection::on_read(std::ptrdiff_t count) {
  if (count < 0)
    return lose(error(ErrorCode::kUnreachable,
                      "ended the connection: " + uv_text(static_cast<int>(count))));
  message_due_ = false;
  std::string_view bytes(socket_->buffer, static_cast<std::size_t>(count));
  while (!bytes.empty()) {
    bytes.remove_prefix(take_bytes(bytes));
    if (closed_) return;
  }
  timeout_.arm(waiting_.empty() && !message_due_ ? kNever : Loop::now() + kRedisTimeout);
}

void RedisConnection::new_reader() {
  reader_.reset(redisReaderCreate());
  P2P_CHECK(reader_ != nullptr);
}

std::size_t RedisConnection::take_bytes(std::string_view bytes) {
  const bool was_dropped = framing_.too_large();
  std::size_t taken = 0;
  const RedisFraming::State state = framing_.take(bytes, taken);
  const bool complete = state == RedisFraming::State::kComplete;
  void* parsed = nullptr;
  const auto malformed = [this] {
    lose(error(ErrorCode::kMalformed, "is no redis server, or does not speak as one"));
    return std::size_t{0};
  };
  if (state == RedisFraming::State::kMalformed) return malformed();
  if (framing_.too_large()) {
    if (framing_.bytes() > kMaxRedisDroppedBytes) {
      lose(error(ErrorCode::kLimit, "sends a reply without an end"));
      return 0;
    }
    if (!was_dropped) new_reader();  // with the reply's beginning
    if (!complete) return taken;
    redisReply dropped{};
    dropped.type = REDIS_REPLY_ERROR;
    dropped.str = const_cast<char*>(kTooLarge.data());
    dropped.len = kTooLarge.size();
    take_reply(dropped);
    return taken;
  }
  redisReaderFeed(reader_.get(), bytes.data(), taken);
  if (redisReaderGetReply(reader_.get(), &parsed) != REDIS_OK || (parsed != nullptr) != complete)
    return malformed();
  if (parsed == nullptr) return taken;
  const std::unique_ptr<redisReply, void (*)(void*)> reply(static_cast<redisReply*>(parsed),
                                                           freeReplyObject);
  take_reply(*reply);
  return taken;
}

void RedisConnection::take_reply(const redisReply& reply) {
  if (waiting_.empty()) return handlers_.on_message(reply);
  const OnReply on_reply = std::move(waiting_.front());
  waiting_.pop_front();
  on_reply(reply);
}

void RedisConnection::call(const std::vector<std::string_view>& arguments, OnReply on_reply) {
  if (closed_) return;
  absl::StrAppend(&out_, "*", arguments.size(), "\r\n");
  for (const std::string_view argument : arguments) {
    absl::StrAppend(&out_, "$", argument.size(), "\r\n");
    out_.append(argument).append("\r\n");
  }
  // Not at each command: a server that hangs while more are sent would never be found out.
  if (waiting_.empty() && !message_due_) timeout_.arm(Loop::now() + kRedisTimeout);
  if (!on_reply) {
    message_due_ = true;
    return;
  }
  waiting_.push_back(std::move(on_reply));
}

void RedisConnection::flush() {
  if (closed_ || out_.empty()) return;
  struct Write {
    uv_write_t request;
    std::string bytes;
  };
  auto* write = new Write{{}, std::exchange(out_, {})};
  write->request.data = write;
  const uv_buf_t buffer =
      uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
  const int status =
      uv_write(&write->request, reinterpret_cast<uv_stream_t*>(&socket_->tcp), &buffer, 1,
               [](uv_write_t* request, int) { delete static_cast<Write*>(request->data); });
  // Where it cannot be written, reading tells the end of the connection, and why.
  if (status != 0) delete write;
}

}  // namespace p2p::net
