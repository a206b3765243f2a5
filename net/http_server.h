// HttpServer: answers GET and HEAD, for people's browsers, for Prometheus and for whoever fetches
// by HTTP. Its sockets are served by a thread of its own (libevent); what is answered is decided on
// the loop. Nothing here is encrypted or asks who is there: the address that is listened on is what
// closes it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/result.h"
#include "base/time.h"
#include "net/http_message.h"
#include "net/loop.h"

namespace p2p::net {

// Read from a body and handed to the socket at once. Of a client that takes nothing two of these
// are held: one that is being sent, one that was read meanwhile.
inline constexpr std::size_t kHttpBlockBytes = 256 * 1024;
// Threads on which bodies are read: a slow disk holds up one of four.
inline constexpr std::size_t kHttpBodyThreads = 4;

struct HttpLimits {
  // One more pushes out who has waited longest without a request; where all have one, itself.
  std::size_t connections = 256;
  // Path and query: 414. All headers: 431. Twice both together: the connection is not read any
  // further (400).
  std::size_t target_bytes = 4096;
  std::size_t header_bytes = 8192;
  // From the first byte of a request to the end of its headers, however slowly they come.
  Duration header_time = std::chrono::seconds(10);
  // From the connection, or the end of an answer, to the first byte of a request.
  Duration idle_time = std::chrono::seconds(60);
  // A client that takes no byte of what is there for it.
  Duration stall_time = std::chrono::seconds(30);
  // Of whole bodies (HttpReply::send) that clients have not taken yet, all together: an answer
  // above it is a 503.
  std::size_t unsent_bytes = 64 * 1024 * 1024;
  // Names by which browsers may ask, beside those of is_own_host(): 421 for all others.
  std::vector<std::string> host_names;
};

// What one read of a body gave.
struct HttpPull {
  enum class What {
    kBytes,
    kLater,   // nothing yet: `wake` is called when to read again
    kEnd,     // all was read
    kFailed,  // it cannot go on: the connection is cut, so that the client sees that it is short
  };
  What what;
  std::size_t bytes = 0;
  static HttpPull of(std::size_t bytes) { return {What::kBytes, bytes}; }
};

// A body that is read as the client takes it. It is let go of, on any thread, when all is sent or
// the client has gone.
class HttpBody {
 public:
  virtual ~HttpBody() = default;
  // On a thread of the server, never twice at a time; it may wait for a disk. `wake` may be called
  // from any thread, also within this call, and when the body is gone: then it does nothing.
  virtual HttpPull read(MutableBytes out, const std::function<void()>& wake) = 0;
};

class HttpCore;

// Where the answer to a request goes. Answered once, now or later, from any thread; also when the
// client or the server has gone: then nothing happens. Destroyed unanswered, it answers 500.
class HttpReply {
 public:
  HttpReply(std::weak_ptr<HttpCore> core, std::uint64_t exchange)
      : core_(std::move(core)), exchange_(exchange) {}
  HttpReply(HttpReply&& other) noexcept
      : core_(std::move(other.core_)), exchange_(std::exchange(other.exchange_, 0)) {}
  HttpReply& operator=(HttpReply&&) = delete;
  ~HttpReply();

  void send(int status, const std::string& content_type, std::string body, HttpHeaders extra = {});
  // A text for the person; the line end is added.
  void text(int status, const std::string& line, HttpHeaders extra = {}) {
    send(status, "text/plain; charset=utf-8", line + "\n", std::move(extra));
  }
  // `length` bytes of the body; without one, what it has until its end. Headers say the type.
  void stream(int status, HttpHeaders headers, std::optional<std::uint64_t> length,
              std::shared_ptr<HttpBody> body);

 private:
  std::weak_ptr<HttpCore> core_;
  std::uint64_t exchange_;  // 0: answered
};

class HttpServer {
 public:
  // Called on the loop.
  using Handler = std::function<void(const HttpRequest&, HttpReply)>;

  // Listens. Errors: kIo with the address. To be destroyed on the loop's thread, before the loop;
  // clients that wait for an answer are cut then.
  static Result<std::unique_ptr<HttpServer>> start(Loop& loop, const Endpoint& where,
                                                   Handler handler, HttpLimits limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;

  // Where it listens, with the real port.
  const Endpoint& local() const { return local_; }

 private:
  HttpServer() = default;

  std::shared_ptr<Handler> handler_;  // requests that come too late find it gone
  std::shared_ptr<HttpCore> core_;
  Endpoint local_;
};

}  // namespace p2p::net
