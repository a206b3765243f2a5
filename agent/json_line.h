// JSON as one line: for programs that read lines, and for the socket of an agent.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace p2p::agent {

// Names may hold any bytes: what is no UTF-8 is replaced.
inline std::string json_line(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace p2p::agent
