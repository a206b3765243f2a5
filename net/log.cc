#include "net/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "net/json_text.h"

namespace p2p::net {
namespace {

std::atomic<void (*)()> before_line = nullptr;
std::atomic<LogFormat> format = LogFormat::kText;

constexpr char kTextPattern[] = "p2p %H:%M:%S.%e %l: %v";

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = spdlog::stderr_logger_mt("p2p");
    made->set_pattern(kTextPattern);
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

// RFC 3339, in UTC, to the millisecond.
std::string time_text(std::chrono::system_clock::time_point now) {
  const auto milliseconds =
      std::chrono::floor<std::chrono::milliseconds>(now).time_since_epoch().count();
  const std::time_t seconds = static_cast<std::time_t>(milliseconds / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[64];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text + length, sizeof text - length, ".%03dZ",
                static_cast<int>(milliseconds % 1000));
  return text;
}

std::string json_line(spdlog::level::level_enum level, const std::string& text) {
  const auto name = spdlog::level::to_string_view(level);
  JsonWriter json;
  json.begin_object().field("time", time_text(std::chrono::system_clock::now()));
  json.field("level", std::string_view(name.data(), name.size())).field("message", text);
  return json.end_object().take();
}

void write(spdlog::level::level_enum level, const std::string& text) {
  if (!logger().should_log(level)) return;
  if (auto wipe = before_line.load()) wipe();
  logger().log(level, format == LogFormat::kJson ? json_line(level, text) : text);
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(level_of(level)); }
void set_log_format(LogFormat chosen) {
  format = chosen;
  logger().set_pattern(chosen == LogFormat::kJson ? "%v" : kTextPattern);
}
LogFormat log_format() { return format; }
bool logs(LogLevel level) { return logger().should_log(level_of(level)); }

void log_debug(const std::string& text) { write(spdlog::level::debug, text); }
void log_info(const std::string& text) { write(spdlog::level::info, text); }
void log_warn(const std::string& text) { write(spdlog::level::warn, text); }
void log_error(const std::string& text) { write(spdlog::level::err, text); }

void set_before_log_line(void (*wipe)()) { before_line = wipe; }

}  // namespace p2p::net
