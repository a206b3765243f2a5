#include "content/on_threads.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include "crypto/digest.h"

namespace p2p {

void on_threads(unsigned threads, std::size_t jobs, const std::function<void()>& work) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  threads = static_cast<unsigned>(std::min<std::size_t>(threads, std::max<std::size_t>(1, jobs)));
  // BLAKE3 notes what the processor can do when it is first used, and takes no care of threads.
  if (threads > 1) chunk_digest({});
  std::vector<std::jthread> helpers;
  try {
    for (unsigned i = 1; i < threads; ++i) helpers.emplace_back(work);
  } catch (const std::system_error&) {
    // No more threads to be had: those there are do it.
  }
  work();
}

}  // namespace p2p
