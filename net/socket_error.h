// What went wrong with a socket, in words: who it was with, and why.
#pragma once

#include <string_view>

#include "base/endpoint.h"
#include "base/result.h"

namespace p2p::net {

// `status` is libuv's. kUnreachable where nobody answers there, else kIo.
Error socket_error(std::string_view what, const Endpoint& remote, int status);

}  // namespace p2p::net
