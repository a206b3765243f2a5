// LineServer: short text lines over a Unix socket, for who is on this host and may open it. It
// knows nothing of what they say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/loop.h"

namespace p2p::net {

// Of one line, without its end; a client that sends a longer one is cut off.
inline constexpr std::size_t kMaxLineBytes = 64 * 1024;
// At once; one more is closed when it is accepted.
inline constexpr std::size_t kMaxLineClients = 256;
// Lines that a client has not read yet: one that reads nothing is cut off.
inline constexpr std::size_t kMaxUnreadLineBytes = 4 * 1024 * 1024;

using LineClientId = std::uint64_t;  // never reused

struct LineHandlers {
  // Without its end; valid during the call.
  std::function<void(LineClientId, std::string_view line)> on_line;
  // The other side is gone, or was cut off or closed: nothing of it follows.
  std::function<void(LineClientId)> on_closed;
};

// Must be destroyed on the loop's thread, before the loop; not within a handler.
class LineServer {
 public:
  // Listens at `path`, for the user and the group (mode 0660). A socket that nobody listens at any
  // more is replaced. Errors: kExists where somebody listens there, kIo.
  static Result<std::unique_ptr<LineServer>> listen(Loop& loop, const std::filesystem::path& path,
                                                    LineHandlers handlers);
  ~LineServer();

  // Sends it and an end of line. Nothing, where the client is gone.
  void send(LineClientId client, std::string_view line);
  // After what was sent.
  void close(LineClientId client);

 private:
  struct State;
  explicit LineServer(State* state) : state_(state) {}
  State* state_;  // freed when all its handles are closed
};

}  // namespace p2p::net
