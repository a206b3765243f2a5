// The same work on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace p2p {

// Runs `work` on `threads` threads (0: one for each core), this one among them, but not on more
// than there are `jobs`. Returns when all have ended. Fewer threads where the system has no more.
void on_threads(unsigned threads, std::size_t jobs, const std::function<void()>& work);

}  // namespace p2p
