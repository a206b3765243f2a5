#include "net/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

namespace p2p::net {
namespace {

std::atomic<void (*)()> before_line = nullptr;

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = spdlog::stderr_logger_mt("p2p");
    made->set_pattern("p2p %H:%M:%S.%e %l: %v");
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

void write(spdlog::level::level_enum level, const std::string& text) {
  if (!logger().should_log(level)) return;
  if (auto wipe = before_line.load()) wipe();
  logger().log(level, text);
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(level_of(level)); }
bool logs(LogLevel level) { return logger().should_log(level_of(level)); }

void log_debug(const std::string& text) { write(spdlog::level::debug, text); }
void log_info(const std::string& text) { write(spdlog::level::info, text); }
void log_warn(const std::string& text) { write(spdlog::level::warn, text); }
void log_error(const std::string& text) { write(spdlog::level::err, text); }

void set_before_log_line(void (*wipe)()) { before_line = wipe; }

}  // namespace p2p::net
