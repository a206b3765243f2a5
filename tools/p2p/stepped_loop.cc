#include "tools/p2p/stepped_loop.h"

#include <utility>

namespace p2p::cli {

SteppedLoop::SteppedLoop()
    : look_(loop_, [this] {
        if (interrupted_ || done_() || net::Loop::now() >= deadline_) return loop_.stop();
        look_.arm(net::Loop::now() + kLook);
      }) {
  loop_.on_termination([this](int) { interrupted_ = true; });
}

Result<bool> SteppedLoop::run_until(Time deadline, std::function<bool()> done) {
  done_ = std::move(done);
  deadline_ = deadline;
  look_.arm(net::Loop::now());
  loop_.run();
  if (interrupted_) return Error{ErrorCode::kInterrupted, "interrupted"};
  return done_();
}

}  // namespace p2p::cli
