#include "net/line_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace p2p::net {
namespace {

constexpr int kBacklog = 64;

struct Client {
  uv_pipe_t pipe;
  LineClientId id = 0;
  std::string unread;  // of a line that has no end yet
  bool closing = false;
  bool closed = false;
  void* state = nullptr;
};

struct Write {
  uv_write_t request;
  std::string text;
  std::shared_ptr<Client> client;  // lives until the write is done
};

Error socket_failure(const std::string& what, const std::filesystem::path& path, int number) {
  return Error{ErrorCode::kIo,
               absl::StrCat("cannot ", what, " ", path.string(), ": ", std::strerror(number))};
}

// Does somebody answer there?
bool is_served(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool served = probe >= 0 && connect(probe, reinterpret_cast<const sockaddr*>(&address),
                                            sizeof address) == 0;
  if (probe >= 0) ::close(probe);
  return served;
}

// A listening socket, or why there is none.
Result<int> open_socket(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.empty() || text.size() >= sizeof address.sun_path)
    return Error{ErrorCode::kUsage, absl::StrCat("the path of a socket has at most ",
                                                 sizeof address.sun_path - 1, " bytes: ", text)};
  std::memcpy(address.sun_path, text.data(), text.size());
  struct stat found {};
  if (lstat(text.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode))
      return Error{ErrorCode::kExists, text + " is there already, and is no socket"};
    if (is_served(address))
      return Error{ErrorCode::kExists, "somebody listens at " + text + " already"};
    unlink(text.c_str());
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return socket_failure("make the socket", path, errno);
  // Before it listens nobody can connect, so the mode is right from the first.
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(text.c_str(), 0660) != 0 || ::listen(fd, kBacklog) != 0) {
    const int why = errno;
    ::close(fd);
    return socket_failure("listen at", path, why);
  }
  return fd;
}

}  // namespace

struct LineServer::State {
  Loop& loop;
  std::filesystem::path path;
  LineHandlers handlers;
  uv_pipe_t listener;
  bool gone = false;  // the server
  std::map<LineClientId, std::shared_ptr<Client>> clients;
  LineClientId next_id = 1;
  std::size_t handles = 0;  // not closed yet

  void accept();
  void read(const std::shared_ptr<Client>& client);
  void on_read(Client& client, std::string_view text);
  void close(Client& client);
  void closed();
};

// The last one takes the state with it.
void LineServer::State::closed() {
  if (--handles == 0 && gone) delete this;
}

void LineServer::State::accept() {
  auto client = std::make_shared<Client>();
  client->state = this;
  client->id = next_id++;
  client->pipe.data = client.get();
  if (uv_pipe_init(loop.raw(), &client->pipe, 0) != 0) return;
  ++handles;
  clients.emplace(client->id, client);
  if (uv_accept(reinterpret_cast<uv_stream_t*>(&listener),
                reinterpret_cast<uv_stream_t*>(&client->pipe)) != 0 ||
      clients.size() > kMaxLineClients)
    return close(*client);
  read(client);
}

void LineServer::State::read(const std::shared_ptr<Client>& client) {
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&client->pipe),
      [](uv_handle_t*, std::size_t, uv_buf_t* buffer) {
        static thread_local char bytes[16 * 1024];
        *buffer = uv_buf_init(bytes, sizeof bytes);
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
        auto& self = *static_cast<Client*>(stream->data);
        auto& state = *static_cast<State*>(self.state);
        if (count == 0) return;
        if (count < 0) return state.close(self);
        state.on_read(self, std::string_view(buffer->base, static_cast<std::size_t>(count)));
      });
}

void LineServer::State::on_read(Client& client, std::string_view text) {
  // A handler may close the client.
  const std::shared_ptr<Client> held = clients.at(client.id);
  while (!client.closing) {
    const std::size_t end = text.find('\n');
    client.unread.append(text.substr(0, end));
    if (client.unread.size() > kMaxLineBytes) return close(client);
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
    const std::string line = std::exchange(client.unread, {});
    handlers.on_line(client.id, line);
  }
}

void LineServer::State::close(Client& client) {
  if (std::exchange(client.closed, true)) return;
  client.closing = true;
  const std::shared_ptr<Client> held = clients.at(client.id);
  clients.erase(client.id);
  // The handle's memory goes with the callback's copy.
  auto* const keep = new std::shared_ptr<Client>(held);
  client.pipe.data = keep;
  uv_close(reinterpret_cast<uv_handle_t*>(&client.pipe), [](uv_handle_t* handle) {
    const std::unique_ptr<std::shared_ptr<Client>> last(
        static_cast<std::shared_ptr<Client>*>(handle->data));
    static_cast<State*>((*last)->state)->closed();
  });
  if (!gone) handlers.on_closed(client.id);
}

Result<std::unique_ptr<LineServer>> LineServer::listen(Loop& loop,
                                                       const std::filesystem::path& path,
                                                       LineHandlers handlers) {
  P2P_ASSIGN(const int fd, open_socket(path));
  auto* const state = new State{loop, path, std::move(handlers), {}};
  auto* const stream = reinterpret_cast<uv_stream_t*>(&state->listener);
  uv_pipe_init(loop.raw(), &state->listener, 0);
  state->listener.data = state;
  ++state->handles;
  std::unique_ptr<LineServer> server(new LineServer(state));
  int status = uv_pipe_open(&state->listener, fd);
  if (status == 0)
    status = uv_listen(stream, kBacklog, [](uv_stream_t* listener, int failure) {
      if (failure == 0) static_cast<State*>(listener->data)->accept();
    });
  else
    ::close(fd);
  if (status != 0) return socket_failure("listen at", path, -status);
  return server;
}

LineServer::~LineServer() {
  State& state = *state_;
  state.gone = true;
  unlink(state.path.c_str());
  while (!state.clients.empty()) state.close(*state.clients.begin()->second);
  uv_close(reinterpret_cast<uv_handle_t*>(&state.listener),
           [](uv_handle_t* handle) { static_cast<State*>(handle->data)->closed(); });
}

void LineServer::send(LineClientId id, std::string_view line) {
  const auto found = state_->clients.find(id);
  if (found == state_->clients.end() || found->second->closing) return;
  const std::shared_ptr<Client> client = found->second;
  auto* const stream = reinterpret_cast<uv_stream_t*>(&client->pipe);
  if (uv_stream_get_write_queue_size(stream) + line.size() > kMaxUnreadLineBytes)
    return state_->close(*client);
  auto* const write = new Write{{}, std::string(line) + "\n", client};
  write->request.data = write;
  const uv_buf_t text = uv_buf_init(write->text.data(), static_cast<unsigned>(write->text.size()));
  const int status = uv_write(&write->request, stream, &text, 1, [](uv_write_t* request, int) {
    const std::unique_ptr<Write> done(static_cast<Write*>(request->data));
    // The last of one that is to be closed.
    Client& sent_to = *done->client;
    if (sent_to.closing && !sent_to.closed &&
        uv_stream_get_write_queue_size(reinterpret_cast<uv_stream_t*>(&sent_to.pipe)) == 0)
      static_cast<State*>(sent_to.state)->close(sent_to);
  });
  if (status == 0) return;
  delete write;
  state_->close(*client);
}

void LineServer::close(LineClientId id) {
  const auto found = state_->clients.find(id);
  if (found == state_->clients.end()) return;
  Client& client = *found->second;
  client.closing = true;
  if (uv_stream_get_write_queue_size(reinterpret_cast<uv_stream_t*>(&client.pipe)) == 0)
    state_->close(client);
}

}  // namespace p2p::net
