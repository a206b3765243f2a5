#include "tools/sim/tape.h"

#include <variant>

#include "absl/hash/hash.h"

namespace p2p::sim {

void ActionHash::operator()(const peer::SwarmAction& action) {
  const auto add = [this](const auto& value) { value_ = absl::HashOf(value_, value); };
  add(action.index());
  std::visit(
      [&](const auto& of) {
        if constexpr (requires { of.connection; }) add(of.connection);
        if constexpr (requires { of.chunk; }) add(of.chunk);
        if constexpr (requires { of.message; }) add(peer::encode(of.message));
        if constexpr (requires { of.bye; }) add(peer::encode(of.bye));
      },
      action);
}

}  // namespace p2p::sim
