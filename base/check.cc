#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace p2p::internal {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "p2p: this is a bug: check '%s' failed at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace p2p::internal
