// The one line of progress at the foot of a terminal. Nothing is drawn when stderr is no terminal.
#pragma once

#include <string>

namespace p2p::cli {

class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  // Draws the text over the last one, cut to the terminal's width.
  void draw(const std::string& text);
  void wipe();
  bool enabled() const { return enabled_; }

 private:
  bool enabled_;
  bool drawn_ = false;
};

}  // namespace p2p::cli
