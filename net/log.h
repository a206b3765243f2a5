// Log lines for the person at stderr. Cores never log; the shells say what matters, once, with
// addresses and paths and never with secrets.
#pragma once

#include <string>

namespace p2p::net {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// kText: "p2p 20:14:21.508 info: ...". kJson: an object a line, {"time": in UTC, "level": debug,
// info, warning or error, "message"}, whatever bytes a message holds.
enum class LogFormat { kText, kJson };

void set_log_level(LogLevel level);
void set_log_format(LogFormat format);
LogFormat log_format();
bool logs(LogLevel level);  // is a line of this level shown?
void log_debug(const std::string& text);
void log_info(const std::string& text);
void log_warn(const std::string& text);
void log_error(const std::string& text);

// A terminal's progress line is below the log: it is wiped before a log line is written. Called on
// the logging thread.
void set_before_log_line(void (*wipe)());

}  // namespace p2p::net
