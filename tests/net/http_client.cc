#include "tests/net/http_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <future>

#include "net/address.h"

namespace p2p::test {
namespace {

constexpr int kDeadlineMs = 20'000;

}  // namespace

HttpClient::HttpClient(const Endpoint& server, int receive_bytes) {
  sockaddr_storage address = net::sockaddr_of(server);
  socket_ = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(socket_ >= 0);
  if (receive_bytes > 0)
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  REQUIRE(connect(socket_, reinterpret_cast<sockaddr*>(&address),
                  address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) == 0);
}

HttpClient::~HttpClient() { close(); }

void HttpClient::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

// What cannot be sent is not the test's matter: the server may have cut.
void HttpClient::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool HttpClient::fill() {
  pollfd readable = {socket_, POLLIN, 0};
  if (poll(&readable, 1, kDeadlineMs) <= 0) FAIL("nothing came within the deadline");
  char bytes[65536];
  const ssize_t got = recv(socket_, bytes, sizeof bytes, 0);
  if (got > 0) read_.append(bytes, static_cast<std::size_t>(got));
  return got > 0;
}

std::string HttpClient::read_head() {
  std::size_t end;
  while ((end = read_.find("\r\n\r\n")) == std::string::npos)
    if (!fill()) return "";
  const std::string head = read_.substr(0, end);
  read_.erase(0, end + 4);
  return head;
}

std::string HttpClient::read_body(std::size_t bytes) {
  while (read_.size() < bytes && fill()) {
  }
  const std::string body = read_.substr(0, bytes);
  read_.erase(0, body.size());
  return body;
}

std::string HttpClient::read_all() {
  while (fill()) {
  }
  return std::exchange(read_, {});
}

bool HttpClient::is_cut() {
  pollfd end = {socket_, POLLRDHUP, 0};
  return poll(&end, 1, kDeadlineMs) > 0;
}

std::string HttpAnswer::header(std::string_view name) const {
  const std::string start = "\r\n" + std::string(name) + ": ";
  const std::size_t at = head.find(start);
  if (at == std::string::npos) return "";
  const std::size_t value = at + start.size();
  return head.substr(value, head.find("\r\n", value) - value);
}

HttpAnswer ask(const Endpoint& server, std::string_view target, std::string_view headers,
               std::string_view method) {
  HttpClient client(server);
  client.send(std::string(method) + " " + std::string(target) +
              " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + std::string(headers) +
              "\r\n");
  HttpAnswer answer;
  answer.head = client.read_head();
  answer.body = client.read_all();
  if (answer.head.starts_with("HTTP/1.1 ")) answer.status = std::stoi(answer.head.substr(9));
  return answer;
}

HttpFixture::HttpFixture(net::HttpServer::Handler handler, net::HttpLimits limits) {
  auto started = net::HttpServer::start(loop_, *Endpoint::parse("127.0.0.1:0"), std::move(handler),
                                        std::move(limits));
  REQUIRE(started);
  server_ = std::move(*started);
  thread_ = std::thread([this] { loop_.run(); });
}

HttpFixture::~HttpFixture() {
  end_server();
  loop_.post([this] { loop_.stop(); });
  thread_.join();
}

void HttpFixture::on_loop(const std::function<void()>& task) {
  std::promise<void> done;
  loop_.post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

void HttpFixture::end_server() {
  on_loop([this] { server_.reset(); });
}

}  // namespace p2p::test
