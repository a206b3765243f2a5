// MetricsText: what Prometheus reads, in its text format (version 0.0.4). Names are p2p_..., in
// base units (seconds, bytes); those of counters end in _total. `promtool check metrics` has
// nothing to say of it.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace p2p::net {

inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

class MetricsText {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // Begins a family of samples, of which each name is begun once.
  MetricsText& gauge(std::string_view name, std::string_view help);
  MetricsText& counter(std::string_view name, std::string_view help);
  // Of the family that was begun last. Label values may hold any bytes.
  MetricsText& sample(double value, Labels labels = {});

  std::string take() { return std::move(text_); }

 private:
  void begin(std::string_view name, std::string_view help, std::string_view type);

  std::string text_;
  std::string name_;
};

// What Prometheus' own clients say of their process, and p2p_build_info.
void add_process_metrics(MetricsText& metrics);

}  // namespace p2p::net
