#include "net/http_core.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"
#include "net/log.h"

namespace p2p::net {
namespace {

constexpr int kBacklog = 512;
// Where there is no descriptor left for a connection.
constexpr timeval kRetryListening = {0, 100'000};
// Longer than anything of ours: what evhttp does by itself is done by HttpConnections.
constexpr int kEvhttpTimeoutSeconds = 24 * 3600;

// Of those that evhttp has no words for.
const char* reason_of(int status) {
  if (status == 421) return "Misdirected Request";
  if (status == 431) return "Request Header Fields Too Large";
  return nullptr;
}

bool has_body(int status) { return status >= 200 && status != 204 && status != 304; }

void append_owned(evbuffer* out, std::string text) {
  auto* owned = new std::string(std::move(text));
  evbuffer_add_reference(
      out, owned->data(), owned->size(),
      [](const void*, std::size_t, void* string) { delete static_cast<std::string*>(string); },
      owned);
}

void append_owned(evbuffer* out, Bytes bytes) {
  auto* owned = new Bytes(std::move(bytes));
  evbuffer_add_reference(
      out, owned->data(), owned->size(),
      [](const void*, std::size_t, void* block) { delete static_cast<Bytes*>(block); }, owned);
}

Endpoint remote_of(evhttp_request* request) {
  char* address = nullptr;
  std::uint16_t port = 0;
  evhttp_connection_get_peer(evhttp_request_get_connection(request), &address, &port);
  const auto ip = IpAddress::parse(address ? address : "");
  return {ip ? *ip : IpAddress(), port};
}

}  // namespace

struct HttpCore::Stream {
  std::shared_ptr<HttpBody> body;
  std::optional<std::uint64_t> left;  // to be read
  DiskThread* reader;
  Bytes ready{};         // read, and not sent yet
  bool reading = false;  // a read is under way
  bool woken = false;    // meanwhile
  bool sending = false;  // the socket has not taken all of the last block
  bool ended = false;
};

struct HttpCore::Exchange {
  std::uint64_t id;
  evhttp_request* request;
  evhttp_connection* connection;
  bool head;
  bool answered = false;
  std::size_t unsent = 0;  // counted in the core's
  std::optional<Stream> stream = {};
};

HttpCore::HttpCore(HttpLimits limits, std::function<void(HttpRequest, HttpReply)> on_request)
    : limits_(std::move(limits)), handle_(std::move(on_request)) {
  event_set_log_callback([](int, const char* text) { log_debug(absl::StrCat("http: ", text)); });
  base_ = event_base_new();
  P2P_CHECK(base_ != nullptr);
  http_ = evhttp_new(base_);
  P2P_CHECK(http_ != nullptr);
  connections_ = std::make_unique<HttpConnections>(base_, http_, limits_);
  evhttp_set_timeout(http_, kEvhttpTimeoutSeconds);
  evhttp_set_max_headers_size(
      http_, static_cast<ev_ssize_t>(2 * (limits_.target_bytes + limits_.header_bytes)));
  evhttp_set_max_body_size(http_, 0);
  // All that it knows, so that the answer to the others is ours.
  evhttp_set_allowed_methods(http_, UINT16_MAX);
  evhttp_set_gencb(
      http_,
      [](evhttp_request* request, void* self) {
        static_cast<HttpCore*>(self)->on_request(request);
      },
      this);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  P2P_CHECK(wake_ >= 0);
  woken_ = event_new(
      base_, wake_, EV_READ | EV_PERSIST,
      [](evutil_socket_t, short, void* self) { static_cast<HttpCore*>(self)->run_posted(); }, this);
  event_add(woken_, nullptr);
  for (std::size_t i = 0; i < kHttpBodyThreads; ++i)
    readers_.push_back(std::make_unique<DiskThread>());
}

HttpCore::~HttpCore() {
  event_free(woken_);
  if (http_ != nullptr) evhttp_free(http_);
  connections_.reset();
  event_base_free(base_);
  close(wake_);
}

Result<Endpoint> HttpCore::listen(const Endpoint& where) {
  sockaddr_storage address = sockaddr_of(where);
  const auto fail = [&] {
    return Error{ErrorCode::kIo, absl::StrCat("cannot listen for HTTP on ", where.to_string(), ": ",
                                              std::strerror(errno))};
  };
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (fd < 0) return fail();
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  const socklen_t length =
      address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  socklen_t bound = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(fd, kBacklog) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bound) != 0) {
    const Error error = fail();
    close(fd);
    return error;
  }
  evconnlistener* const listener = evconnlistener_new(
      base_, nullptr, nullptr, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
  P2P_CHECK(listener != nullptr && evhttp_bind_listener(http_, listener) != nullptr);
  evconnlistener_set_error_cb(listener, [](evconnlistener* failed, void*) { pause(failed); });
  return endpoint_of(reinterpret_cast<sockaddr*>(&address));
}

// Else the loop would try again at once, and again.
void HttpCore::pause(evconnlistener* listener) {
  evconnlistener_disable(listener);
  event_base_once(
      evconnlistener_get_base(listener), -1, EV_TIMEOUT,
      [](evutil_socket_t, short, void* paused) {
        evconnlistener_enable(static_cast<evconnlistener*>(paused));
      },
      listener, &kRetryListening);
}

void HttpCore::start() {
  thread_ = std::thread([this] { event_base_dispatch(base_); });
}

void HttpCore::stop() {
  if (thread_.joinable()) {
    post([this] { event_base_loopbreak(base_); });
    thread_.join();
  }
  readers_.clear();  // each waits for its read
  std::vector<std::function<void()>> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    dropped.swap(posted_);
  }
  evhttp_free(std::exchange(http_, nullptr));
  exchanges_.clear();
}

void HttpCore::post(std::function<void()> task) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (!first) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_, &one, sizeof one);  // fails when it is full
}

void HttpCore::run_posted() {
  std::uint64_t count;
  [[maybe_unused]] const auto taken = read(wake_, &count, sizeof count);
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

void HttpCore::on_request(evhttp_request* request) {
  evhttp_connection* connection = evhttp_request_get_connection(request);
  const std::uint64_t id = next_exchange_++;
  const bool head = evhttp_request_get_command(request) == EVHTTP_REQ_HEAD;
  exchanges_.emplace(id, std::make_unique<Exchange>(Exchange{id, request, connection, head}));
  exchange_of_[connection] = id;
  connections_->begin_request(connection);
  evhttp_connection_set_closecb(
      connection,
      [](evhttp_connection* closed, void* self) {
        static_cast<HttpCore*>(self)->on_closed(closed);
      },
      this);
  evhttp_request_set_on_complete_cb(
      request,
      [](evhttp_request* answered, void* self) {
        static_cast<HttpCore*>(self)->on_answered(answered);
      },
      this);
  HttpRequest asked;
  std::string why;
  const int refused = check(request, asked, why);
  HttpReply reply(weak_from_this(), id);
  if (refused == 0) return handle_(std::move(asked), std::move(reply));
  HttpHeaders extra;
  if (refused == HTTP_BADMETHOD) extra = {{"Allow", "GET, HEAD"}};
  reply.text(refused, why, std::move(extra));
}

int HttpCore::check(evhttp_request* request, HttpRequest& out, std::string& why) const {
  const auto method = evhttp_request_get_command(request);
  if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD)
    return why = "only GET and HEAD are answered", HTTP_BADMETHOD;
  if (std::strlen(evhttp_request_get_uri(request)) > limits_.target_bytes)
    return why = absl::StrCat("the address is longer than ", limits_.target_bytes, " bytes"), 414;
  std::size_t header_bytes = 0;
  const evkeyvalq* headers = evhttp_request_get_input_headers(request);
  for (const evkeyval* header = headers->tqh_first; header != nullptr;
       header = header->next.tqe_next) {
    header_bytes += std::strlen(header->key) + std::strlen(header->value) + 4;  // ": " and CR LF
    out.headers.emplace_back(absl::AsciiStrToLower(header->key), header->value);
  }
  if (header_bytes > limits_.header_bytes)
    return why = absl::StrCat("the headers are longer than ", limits_.header_bytes, " bytes"), 431;
  if (!is_own_host(out.header("host"), limits_.host_names))
    return why =
               "this host does not know itself by that name; ask by its address, or name it where "
               "the server is started (--http-host)",
           421;
  const evhttp_uri* uri = evhttp_request_get_evhttp_uri(request);
  const char* path = evhttp_uri_get_path(uri);
  const char* query = evhttp_uri_get_query(uri);
  auto decoded = decode_url(path ? path : "");
  if (!decoded || !decoded->starts_with('/'))
    return why = "the address is not well-formed", HTTP_BADREQUEST;
  out.head = method == EVHTTP_REQ_HEAD;
  out.path = *std::move(decoded);
  out.query = query ? query : "";
  out.remote = remote_of(request);
  return 0;
}

HttpCore::Exchange* HttpCore::find(std::uint64_t id) {
  const auto found = exchanges_.find(id);
  return found == exchanges_.end() ? nullptr : found->second.get();
}

HttpCore::Exchange* HttpCore::find(evhttp_connection* connection) {
  const auto found = exchange_of_.find(connection);
  return found == exchange_of_.end() ? nullptr : find(found->second);
}

// The connection is about to be freed.
void HttpCore::on_closed(evhttp_connection* connection) {
  Exchange* exchange = find(connection);
  if (exchange == nullptr) return;
  // Where the client went while it was answered, evhttp leaves the request to us.
  if (evhttp_request_get_connection(exchange->request) == nullptr)
    evhttp_request_free(exchange->request);
  forget(*exchange);
}

void HttpCore::on_answered(evhttp_request* request) {
  evhttp_connection* connection = evhttp_request_get_connection(request);
  connections_->end_request(connection);
  if (const Exchange* exchange = find(connection)) forget(*exchange);
}

void HttpCore::forget(const Exchange& exchange) {
  unsent_ -= exchange.unsent;
  exchange_of_.erase(exchange.connection);
  const std::uint64_t id = exchange.id;  // goes with the exchange
  exchanges_.erase(id);
}

void HttpCore::begin_answer(Exchange& exchange, const HttpHeaders& headers) {
  exchange.answered = true;
  evkeyvalq* out = evhttp_request_get_output_headers(exchange.request);
  for (const auto& [name, value] : headers)
    if (evhttp_add_header(out, name.c_str(), value.c_str()) != 0)
      log_warn("HTTP: a header that has line breaks is left out: " + name);
  evhttp_add_header(out, "X-Content-Type-Options", "nosniff");
}

void HttpCore::send(std::uint64_t id, int status, const std::string& content_type, std::string body,
                    const HttpHeaders& extra) {
  Exchange* exchange = find(id);
  if (exchange == nullptr || exchange->answered) return;
  if (!exchange->head && unsent_ + body.size() > limits_.unsent_bytes && status < 500)
    return send(id, HTTP_SERVUNAVAIL, "text/plain; charset=utf-8",
                "too much waits for clients that do not take it\n", {});
  begin_answer(*exchange, extra);
  evkeyvalq* headers = evhttp_request_get_output_headers(exchange->request);
  evbuffer* buffer = nullptr;
  if (has_body(status)) {
    evhttp_add_header(headers, "Content-Type", content_type.c_str());
    evhttp_add_header(headers, "Content-Length", absl::StrCat(body.size()).c_str());
    if (!exchange->head && !body.empty()) {
      unsent_ += exchange->unsent = body.size();
      buffer = evbuffer_new();
      append_owned(buffer, std::move(body));
    }
  }
  evhttp_send_reply(exchange->request, status, reason_of(status), buffer);
  if (buffer != nullptr) evbuffer_free(buffer);
}

void HttpCore::stream(std::uint64_t id, int status, const HttpHeaders& headers,
                      std::optional<std::uint64_t> length, std::shared_ptr<HttpBody> body) {
  Exchange* exchange = find(id);
  if (exchange == nullptr || exchange->answered) return;
  begin_answer(*exchange, headers);
  evkeyvalq* out = evhttp_request_get_output_headers(exchange->request);
  if (length) {
    evhttp_add_header(out, "Content-Length", absl::StrCat(*length).c_str());
  } else {
    evhttp_add_header(out, "Connection", "close");  // old clients know no other end
  }
  if (exchange->head || length == 0)
    return evhttp_send_reply(exchange->request, status, reason_of(status), nullptr);
  evhttp_send_reply_start(exchange->request, status, reason_of(status));
  DiskThread* reader = readers_[next_reader_++ % readers_.size()].get();
  exchange->stream.emplace(Stream{std::move(body), length, reader});
  pull(*exchange);
}

// Reads the next block, while the one before it is sent.
void HttpCore::pull(Exchange& exchange) {
  Stream& stream = *exchange.stream;
  if (stream.reading || stream.ended || !stream.ready.empty()) return;
  stream.reading = true;
  stream.woken = false;
  const auto size = static_cast<std::size_t>(
      std::min<std::uint64_t>(stream.left.value_or(UINT64_MAX), kHttpBlockBytes));
  auto wake = [weak = weak_from_this(), id = exchange.id] {
    if (auto core = weak.lock()) core->post([raw = core.get(), id] { raw->on_wake(id); });
  };
  // stop() waits for the reader, so that the core is there as long as it reads.
  stream.reader->post([this, id = exchange.id, size, body = stream.body, wake = std::move(wake)] {
    auto block = std::make_shared<Bytes>(size);
    const HttpPull pulled = body->read(*block, wake);
    post([this, id, pulled, block] { on_pulled(id, pulled, std::move(*block)); });
  });
}

void HttpCore::on_wake(std::uint64_t id) {
  Exchange* exchange = find(id);
  if (exchange == nullptr) return;
  exchange->stream->woken = true;
  pull(*exchange);
}

void HttpCore::on_pulled(std::uint64_t id, HttpPull pulled, Bytes block) {
  Exchange* exchange = find(id);
  if (exchange == nullptr) return;
  Stream& stream = *exchange->stream;
  stream.reading = false;
  switch (pulled.what) {
    case HttpPull::What::kBytes:
      P2P_CHECK(pulled.bytes > 0 && pulled.bytes <= block.size());
      block.resize(pulled.bytes);
      stream.ready = std::move(block);
      if (stream.left) *stream.left -= pulled.bytes;
      stream.ended = stream.left == 0u;
      break;
    case HttpPull::What::kLater:
      if (stream.woken) pull(*exchange);
      return;
    case HttpPull::What::kEnd:
      stream.ended = true;
      break;
    case HttpPull::What::kFailed:
      return connections_->cut(exchange->connection);
  }
  pump(*exchange);
}

void HttpCore::pump(Exchange& exchange) {
  Stream& stream = *exchange.stream;
  if (stream.sending) return;
  if (stream.ready.empty()) {
    if (!stream.ended) return pull(exchange);
    // Ended before its length: the client is to see that.
    if (stream.left.value_or(0) > 0) return connections_->cut(exchange.connection);
    return evhttp_send_reply_end(exchange.request);
  }
  stream.sending = true;
  evbuffer* buffer = evbuffer_new();
  append_owned(buffer, std::exchange(stream.ready, {}));
  evhttp_send_reply_chunk_with_cb(
      exchange.request, buffer,
      [](evhttp_connection* taken, void* core) {
        auto* self = static_cast<HttpCore*>(core);
        Exchange* drained = self->find(taken);
        if (drained == nullptr || !drained->stream) return;
        drained->stream->sending = false;
        self->pump(*drained);
      },
      this);
  evbuffer_free(buffer);
  pull(exchange);
}

}  // namespace p2p::net
