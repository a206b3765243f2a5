#include "net/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/version.h"
#include "net/json_text.h"

namespace p2p::net {
namespace {

std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : valid_utf8(text)) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || (quotes && c == '"')) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> digits;
  // Whole numbers as people write them.
  const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
  const auto end = whole ? std::to_chars(digits.data(), digits.data() + digits.size(),
                                         static_cast<std::int64_t>(value))
                               .ptr
                         : std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return {digits.data(), end};
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

// Since 1970; 0 where the system does not tell.
double start_seconds() {
  std::ifstream boot_file("/proc/stat");
  double boot = 0;
  for (std::string line; std::getline(boot_file, line);)
    if (line.starts_with("btime ")) boot = std::stod(line.substr(6));
  std::ifstream own_file("/proc/self/stat");
  std::string line;
  std::getline(own_file, line);
  // After the name, which may hold spaces, the state is field 3; the start is field 22.
  std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 1)));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  if (field.empty() || boot == 0) return 0;
  return boot + std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

std::size_t open_descriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator entries("/proc/self/fd", error);
  if (error) return 0;
  const auto count = std::distance(begin(entries), end(entries));
  return static_cast<std::size_t>(count) - 1;  // without the one that looked
}

}  // namespace

MetricsText& MetricsText::gauge(std::string_view name, std::string_view help) {
  begin(name, help, "gauge");
  return *this;
}

MetricsText& MetricsText::counter(std::string_view name, std::string_view help) {
  begin(name, help, "counter");
  return *this;
}

void MetricsText::begin(std::string_view name, std::string_view help, std::string_view type) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ").append(escaped(help, false)).append("\n");
  text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

MetricsText& MetricsText::sample(double value, Labels labels) {
  text_ += name_;
  char before = '{';
  for (const auto& [name, of] : labels) {
    text_.push_back(before);
    text_.append(name).append("=\"").append(escaped(of, true)).append("\"");
    before = ',';
  }
  if (before == ',') text_.push_back('}');
  text_.append(" ").append(number_text(value)).append("\n");
  return *this;
}

void add_process_metrics(MetricsText& metrics) {
  metrics.gauge("p2p_build_info", "The version that runs.")
      .sample(1, {{"version", kProgramVersion}});
  metrics.counter("process_cpu_seconds_total", "CPU time spent, by user and system.")
      .sample(cpu_seconds());
  std::ifstream memory("/proc/self/statm");
  double size_pages = 0, resident_pages = 0;
  memory >> size_pages >> resident_pages;
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  metrics.gauge("process_virtual_memory_bytes", "Virtual memory.").sample(size_pages * page);
  metrics.gauge("process_resident_memory_bytes", "Resident memory.").sample(resident_pages * page);
  metrics.gauge("process_open_fds", "Open file descriptors.")
      .sample(static_cast<double>(open_descriptors()));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  metrics.gauge("process_max_fds", "File descriptors that may be open.")
      .sample(static_cast<double>(limit.rlim_cur));
  static const double started = start_seconds();
  metrics.gauge("process_start_time_seconds", "When the process started, since 1970.")
      .sample(started);
}

}  // namespace p2p::net
