// A client of HTTP as a test wants it: bytes out, bytes in, with a deadline.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "net/http_server.h"

namespace p2p::test {

class HttpClient {
 public:
  explicit HttpClient(const Endpoint& server, int receive_bytes = 0);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;

  void send(std::string_view bytes) const;
  // The head of an answer, without the empty line after it; empty where the server cut instead.
  std::string read_head();
  // So many bytes of the body, or fewer where the server cut.
  std::string read_body(std::size_t bytes);
  // All up to the server's end.
  std::string read_all();
  // Has the server cut, or does it within a few seconds?
  bool is_cut();
  void close();

 private:
  bool fill();

  int socket_;
  std::string read_;
};

struct HttpAnswer {
  int status = 0;
  std::string head, body;
  std::string header(std::string_view name) const;
};

// One request on a connection of its own.
HttpAnswer ask(const Endpoint& server, std::string_view target, std::string_view headers = "",
               std::string_view method = "GET");

// A server on a loop that runs on a thread of its own.
class HttpFixture {
 public:
  explicit HttpFixture(net::HttpServer::Handler handler, net::HttpLimits limits = {});
  ~HttpFixture();
  const Endpoint& at() const { return server_->local(); }
  // Runs it on the loop, and waits for it.
  void on_loop(const std::function<void()>& task);
  void end_server();

 private:
  net::Loop loop_;
  std::unique_ptr<net::HttpServer> server_;
  std::thread thread_;
};

}  // namespace p2p::test
