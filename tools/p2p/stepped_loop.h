// SteppedLoop: a loop for commands that do one thing after another, print and end. Ctrl-C ends each
// step.
#pragma once

#include <functional>

#include "base/result.h"
#include "net/loop.h"

namespace p2p::cli {

class SteppedLoop {
 public:
  SteppedLoop();
  net::Loop& loop() { return loop_; }
  // Runs until `done`, which is looked at every kLook, or the deadline; tells whether it is done.
  // kInterrupted.
  Result<bool> run_until(Time deadline, std::function<bool()> done);

  static constexpr Duration kLook = std::chrono::milliseconds(10);

 private:
  net::Loop loop_;
  bool interrupted_ = false;
  std::function<bool()> done_;
  Time deadline_ = kNever;
  net::Timer look_;
};

}  // namespace p2p::cli
