#include "net/socket_error.h"

#include <uv.h>

#include "absl/strings/str_cat.h"
#include "net/loop.h"

namespace p2p::net {

Error socket_error(std::string_view what, const Endpoint& remote, int status) {
  const ErrorCode code = status == UV_ECONNREFUSED || status == UV_EHOSTUNREACH ||
                                 status == UV_ENETUNREACH || status == UV_ETIMEDOUT
                             ? ErrorCode::kUnreachable
                             : ErrorCode::kIo;
  return Error{code,
               absl::StrCat(std::string(what), " ", remote.to_string(), ": ", uv_text(status))};
}

}  // namespace p2p::net
