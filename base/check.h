// Checks for bugs of our own: they abort, in release too. Never for input from outside, which is a
// Result.
#pragma once

namespace p2p::internal {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace p2p::internal

#define P2P_CHECK(condition) \
  ((condition) ? (void)0 : ::p2p::internal::check_failed(#condition, __FILE__, __LINE__))
