// A hint to the processor, for who works on more than its cache can hold.
#pragma once

#include <cstddef>

namespace p2p {

inline constexpr std::size_t kCacheLineBytes = 64;

// What lies there is going to be used soon. It need not be there.
inline void fetch_into_cache(const void* from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kCacheLineBytes)
    __builtin_prefetch(static_cast<const char*>(from) + at);
  // g++ takes a function that does nothing but fetch for one that does nothing, and drops its
  // calls.
  asm volatile("");
}

}  // namespace p2p
