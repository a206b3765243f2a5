#include "tools/p2p/agent_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/json_line.h"
#include "tools/p2p/exit_code.h"

namespace p2p::cli {
namespace {

constexpr const char* kSystemSocket = "/run/p2p/agent.sock";
// How soon an interruption is noticed.
constexpr int kPollMs = 100;

volatile std::sig_atomic_t interrupted = 0;

void notice_interruptions() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

std::filesystem::path user_socket() {
  const char* folder = std::getenv("XDG_RUNTIME_DIR");
  return folder && *folder == '/' ? std::filesystem::path(folder) / "p2p" / "agent.sock"
                                  : std::filesystem::path();
}

// A connected socket, or the error number.
Result<int> try_connect(const std::filesystem::path& path, int& failure) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof address.sun_path)
    return Error{ErrorCode::kUsage, absl::StrCat("--agent: the path of a socket has at most ",
                                                 sizeof address.sun_path - 1, " bytes")};
  std::memcpy(address.sun_path, text.data(), text.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  failure = fd < 0 ? errno : 0;
  if (fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    failure = errno;
    ::close(fd);
  }
  return fd;
}

}  // namespace

bool is_interrupted() { return interrupted != 0; }

void add_agent_options(CLI::App& command, AgentOptions& options, bool can_do_without) {
  add_file_option(command, "--agent", options.socket,
                  can_do_without ? "The socket of this host's agent, which does the work where it "
                                   "runs; looked for at the usual places by default"
                                 : "The socket of this host's agent; looked for at the usual "
                                   "places by default");
  if (!can_do_without) return;
  command.add_flag("--no-agent", options.never, "Do it in this process, also where an agent runs")
      ->envname("P2P_NO_AGENT");
}

std::string own_network_flag(const std::string& listen, const GossipOptions& gossip,
                             const std::string& cluster_key, const LimitOptions& limits) {
  if (!listen.empty()) return "--listen";
  if (gossip.given()) return gossip.gossip.empty() ? "--join" : "--gossip";
  if (!cluster_key.empty()) return "--cluster-key";
  return limits.first_given();
}

std::filesystem::path default_agent_socket() {
  if (const char* folder = std::getenv("RUNTIME_DIRECTORY"); folder && *folder == '/')
    return std::filesystem::path(folder) / "agent.sock";
  const std::filesystem::path own = user_socket();
  return geteuid() == 0 || own.empty() ? kSystemSocket : own;
}

Result<std::optional<AgentClient>> AgentClient::connect(const AgentOptions& options) {
  std::vector<std::filesystem::path> places = {kSystemSocket, user_socket()};
  const bool named = !options.socket.empty();
  if (named) places = {options.socket};
  if (options.never) places.clear();
  for (const std::filesystem::path& place : places) {
    if (place.empty()) continue;
    int failure = 0;
    P2P_ASSIGN(const int fd, try_connect(place, failure));
    if (failure == 0) {
      notice_interruptions();
      return std::optional(AgentClient(fd));
    }
    if (named)
      return Error{
          ErrorCode::kUnreachable,
          absl::StrCat("no agent answers at ", place.string(), ": ", std::strerror(failure),
                       failure == EACCES ? "; its socket is for its user and group"
                                         : ". Does `p2p agent` run?")};
  }
  return std::optional<AgentClient>();
}

Result<AgentClient> AgentClient::require(const AgentOptions& options) {
  P2P_ASSIGN(auto client, connect(options));
  if (client) return *std::move(client);
  return Error{ErrorCode::kUnreachable,
               absl::StrCat("no agent runs on this host that this user may speak to: start `p2p "
                            "agent`, or name its socket by --agent (looked at ",
                            kSystemSocket,
                            user_socket().empty() ? "" : " and " + user_socket().string(), ")")};
}

AgentClient::AgentClient(AgentClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), unread_(std::move(other.unread_)) {}

AgentClient::~AgentClient() {
  if (fd_ >= 0) ::close(fd_);
}

Status AgentClient::send(const nlohmann::json& request) {
  const std::string line = agent::json_line(request) + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t count = ::send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR && !is_interrupted()) continue;
    if (count < 0)
      return Error{ErrorCode::kUnreachable,
                   absl::StrCat("the agent does not take the request: ", std::strerror(errno))};
    sent += static_cast<std::size_t>(count);
  }
  return {};
}

Result<nlohmann::json> AgentClient::next() {
  for (;;) {
    const std::size_t end = unread_.find('\n');
    if (end != std::string::npos) {
      auto answer = nlohmann::json::parse(unread_.substr(0, end), nullptr, false);
      unread_.erase(0, end + 1);
      if (!answer.is_object() || !answer.contains("event"))
        return Error{ErrorCode::kMalformed,
                     "the agent's answer makes no sense: is it of another "
                     "version of p2p?"};
      if (answer["event"] != "error") return answer;
      return Error{error_code_of(answer.value("exit_code", 1)), answer.value("message", "")};
    }
    if (is_interrupted()) return Error{ErrorCode::kInterrupted, "interrupted"};
    pollfd waiting{fd_, POLLIN, 0};
    if (poll(&waiting, 1, kPollMs) <= 0) continue;
    char block[16 * 1024];
    const ssize_t count = recv(fd_, block, sizeof block, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0)
      return Error{ErrorCode::kUnreachable,
                   "the agent has gone; when it is back, run the same command again"};
    unread_.append(block, static_cast<std::size_t>(count));
  }
}

Result<nlohmann::json> AgentClient::ask(const nlohmann::json& request) {
  P2P_TRY(send(request));
  return next();
}

}  // namespace p2p::cli
