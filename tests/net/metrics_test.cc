#include "net/metrics.h"

#include <catch2/catch.hpp>
#include <limits>

using namespace p2p::net;

TEST_CASE("a family is its help, its type and its samples") {
  MetricsText text;
  text.counter("p2p_things_total", "Things that came in.")
      .sample(3, {{"kind", "large"}, {"zone", "a"}})
      .sample(4, {{"kind", "small"}, {"zone", "a"}});
  text.gauge("p2p_open", "Open ones.").sample(0.25);
  CHECK(text.take() ==
        "# HELP p2p_things_total Things that came in.\n"
        "# TYPE p2p_things_total counter\n"
        "p2p_things_total{kind=\"large\",zone=\"a\"} 3\n"
        "p2p_things_total{kind=\"small\",zone=\"a\"} 4\n"
        "# HELP p2p_open Open ones.\n"
        "# TYPE p2p_open gauge\n"
        "p2p_open 0.25\n");
}

TEST_CASE("numbers keep all their digits, and whole ones have no exponent") {
  MetricsText text;
  const double infinite = std::numeric_limits<double>::infinity();
  text.gauge("a", "b").sample(123456789012).sample(0.1).sample(1e20).sample(infinite).sample(-1);
  CHECK(text.take() ==
        "# HELP a b\n# TYPE a gauge\na 123456789012\na 0.1\na 1e+20\na +Inf\na -1\n");
}

TEST_CASE("a label and a help may hold any bytes") {
  MetricsText text;
  text.gauge("a", "one\\two\nthree \"four\"").sample(1, {{"b", "x\"\\\n\xff"}});
  CHECK(text.take() ==
        "# HELP a one\\\\two\\nthree \"four\"\n# TYPE a gauge\na{b=\"x\\\"\\\\\\n\xEF\xBF\xBD\"} "
        "1\n");
}

TEST_CASE("what a process says of itself is not nothing") {
  MetricsText text;
  add_process_metrics(text);
  const std::string said = text.take();
  for (const char* name : {"process_cpu_seconds_total", "process_resident_memory_bytes",
                           "process_open_fds", "process_max_fds", "process_start_time_seconds"}) {
    const std::size_t at = said.find("\n" + std::string(name) + " ");
    REQUIRE(at != std::string::npos);
    CHECK(std::stod(said.substr(at + std::string(name).size() + 2)) > 0);
  }
}
