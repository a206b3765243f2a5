#include "tools/p2p/progress_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "net/log.h"

namespace p2p::cli {
namespace {

ProgressLine* current = nullptr;

std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// Cuts after so many characters; never within a UTF-8 sequence.
std::string cut(const std::string& text, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
    if (starts && characters++ == columns) return text.substr(0, i);
  }
  return text;
}

}  // namespace

ProgressLine::ProgressLine() : enabled_(isatty(STDERR_FILENO) == 1) {
  current = this;
  net::set_before_log_line([] {
    if (current) current->wipe();
  });
}

ProgressLine::~ProgressLine() {
  wipe();
  net::set_before_log_line(nullptr);
  current = nullptr;
}

void ProgressLine::draw(const std::string& text) {
  if (!enabled_) return;
  std::fprintf(stderr, "\r%s\x1b[K", cut(text, terminal_columns() - 1).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressLine::wipe() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace p2p::cli
