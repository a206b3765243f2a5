#include "tools/sim/scenario.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/random.h"
#include "base/units.h"

namespace p2p::sim {
namespace {

// Nothing takes longer, and nothing happens later.
constexpr double kLatestSeconds = 1e6;

Error bad(std::string_view what, const std::string& text, std::string_view example) {
  return Error{ErrorCode::kUsage, absl::StrCat("not ", std::string(what), ": '", text,
                                               "'; write it like ", std::string(example))};
}

// Number and unit of "100us".
std::pair<double, std::string> split_unit(const std::string& text) {
  const std::size_t digits = text.find_first_not_of("0123456789.");
  double value = -1;
  if (digits == 0 || !absl::SimpleAtod(text.substr(0, digits), &value)) return {-1, ""};
  return {value, digits == std::string::npos ? "" : text.substr(digits)};
}

// "0.05" or "5%".
Result<double> parse_share(const std::string& text) {
  const auto [value, unit] = split_unit(text);
  const double share = unit == "%" ? value / 100 : value;
  if ((unit.empty() || unit == "%") && share >= 0 && share <= 1) return share;
  return bad("a share between 0 and 1", text, "0.05 or 5%");
}

std::string rate_text(double rate) { return absl::StrCat(std::llround(rate), "B/s"); }
std::string time_text(Duration time) { return absl::StrCat(time.count() / 1000, "us"); }

// As to_flags() writes them, so that the flags make the same run.
double whole(double rate) { return std::max(1.0, std::round(rate)); }
double six_digits(double value) {
  double written = 0;
  return absl::SimpleAtod(absl::StrCat(value), &written) ? written : value;
}
double short_share(double share) { return std::round(share * 1000) / 1000; }
Duration whole_us(double seconds) { return std::chrono::microseconds(std::llround(seconds * 1e6)); }

}  // namespace

Result<double> parse_link_rate(const std::string& text) {
  auto rate = parse_rate(text);
  if (rate && *rate == 0) return bad("a rate", text, "300MB/s or 25Mbit/s");
  return rate;
}

Result<Duration> parse_duration(const std::string& text) {
  const auto [value, unit] = split_unit(text);
  if (value >= 0) {
    for (const auto& [name, seconds] :
         {std::pair{"us", 1e-6}, {"ms", 1e-3}, {"s", 1.0}, {"min", 60.0}, {"h", 3600.0}})
      if (unit == name && value * seconds < kLatestSeconds)
        return Duration(std::llround(value * seconds * 1e9));
  }
  return bad("a time", text, "100us, 1ms, 5s or 2min");
}

Result<Moment> parse_moment(const std::string& text) {
  const auto [value, unit] = split_unit(text);
  if (value >= 0 && unit == "%") return Moment{value / 100, true};
  const auto duration = parse_duration(text);
  if (!duration) return bad("a moment", text, "50% (of the fluid bound) or 3s");
  return Moment{to_seconds(*duration), false};
}

std::string moment_text(const Moment& moment) {
  // All digits: what it prints must lead to the same run.
  return moment.is_share ? absl::StrFormat("%.17g%%", moment.value * 100)
                         : absl::StrFormat("%.17gs", moment.value);
}

Status parse_arrive(const std::string& text, Scenario& scenario) {
  if (text.starts_with("poisson:")) {
    scenario.arrival = Scenario::Arrival::kPoisson;
    if (absl::SimpleAtod(text.substr(8), &scenario.arrive_rate) && scenario.arrive_rate > 0)
      return {};
    return bad("a rate of arrival", text, "poisson:100 (peers a second)");
  }
  scenario.arrival = Scenario::Arrival::kSpread;
  P2P_ASSIGN(scenario.arrive_over, parse_duration(text));
  return {};
}

Status parse_churn(const std::string& text, Scenario& scenario) {
  const std::size_t at = text.find('@');
  P2P_ASSIGN(scenario.churn, parse_share(text.substr(0, at)));
  if (at == std::string::npos) return {};
  const std::size_t plus = text.find('+', at);
  scenario.churn_at_once = true;
  P2P_ASSIGN(scenario.churn_at, parse_moment(text.substr(at + 1, plus - at - 1)));
  if (plus == std::string::npos) return {};
  P2P_ASSIGN(scenario.churn_back, parse_duration(text.substr(plus + 1)));
  return {};
}

Status parse_slow(const std::string& text, Scenario& scenario) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return bad("a share and a rate", text, "0.1:2.5Mbit/s");
  P2P_ASSIGN(scenario.slow, parse_share(text.substr(0, colon)));
  P2P_ASSIGN(scenario.slow_rate, parse_link_rate(text.substr(colon + 1)));
  return {};
}

Status parse_tracker_down(const std::string& text, Scenario& scenario) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return bad("two moments", text, "20%:80%");
  P2P_ASSIGN(scenario.tracker_from, parse_moment(text.substr(0, colon)));
  P2P_ASSIGN(scenario.tracker_to, parse_moment(text.substr(colon + 1)));
  scenario.has_tracker_down = true;
  return {};
}

Status parse_racks(const std::string& text, Scenario& scenario) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(0, colon), &scenario.racks) ||
      scenario.racks == 0)
    return bad("a number of racks and a rate", text, "4:1GB/s");
  P2P_ASSIGN(scenario.rack_rate, parse_link_rate(text.substr(colon + 1)));
  return {};
}

Status check(const Scenario& scenario) {
  const auto fail = [](std::string text) { return Error{ErrorCode::kUsage, std::move(text)}; };
  if (scenario.peers == 0 || scenario.seeders == 0)
    return fail("there must be at least one peer and one seeder");
  if (scenario.peers + scenario.seeders > 1'000'000) return fail("at most 1,000,000 hosts");
  if (scenario.size_bytes == 0) return fail("the size must not be 0");
  if (scenario.chunk_bytes != 0 && !is_valid_chunk_size(scenario.chunk_bytes))
    return fail("the chunk size must be a power of two from 64KiB to 4MiB");
  if (scenario.size_bytes > std::uint64_t{kMaxChunks} * scenario.layout().chunk_bytes)
    return fail(absl::StrCat("more than ", kMaxChunks, " chunks"));
  if (!scenario.tracker && !scenario.direct)
    return fail("peers need a tracker or the seeders' addresses");
  if (scenario.has_tracker_down && !scenario.tracker) return fail("there is no tracker to be down");
  if (scenario.has_tracker_down &&
      scenario.seconds_of(scenario.tracker_from) >= scenario.seconds_of(scenario.tracker_to))
    return fail("the tracker must go down before it comes back");
  const auto is_too_late = [&](const Moment& moment) {
    return !(scenario.seconds_of(moment) < kLatestSeconds);
  };
  if ((scenario.has_tracker_down && is_too_late(scenario.tracker_to)) ||
      (scenario.churn_at_once && is_too_late(scenario.churn_at)) ||
      std::any_of(scenario.events.begin(), scenario.events.end(),
                  [&](const ListedEvent& event) { return is_too_late(event.at); }))
    return fail("nothing may happen later than after 1,000,000 s");
  return check_events(scenario);
}

Layout Scenario::layout() const {
  return {size_bytes, chunk_bytes != 0 ? chunk_bytes : pick_chunk_bytes(size_bytes)};
}

std::uint32_t Scenario::slow_peers() const {
  return static_cast<std::uint32_t>(std::lround(slow * peers));
}

double Scenario::fluid_bound_seconds() const {
  const auto size = static_cast<double>(size_bytes);
  const double seeder_ups = seeders * seeder_up();
  const double slow_count = slow_peers();
  const double ups = (peers - slow_count) * up + slow_count * slow_rate;
  double slowest = down;
  if (slow_count > 0) slowest = std::min(slowest, slow_rate);
  return std::max({size / seeder_ups, size / slowest, peers * size / (seeder_ups + ups)});
}

double Scenario::chunks_bound_seconds() const {
  const double hops = std::bit_width(std::max(1u, peers / seeders)) - 1.0;
  const double rate = std::min(up, down);
  return fluid_bound_seconds() + hops * layout().chunk_bytes / rate;
}

double Scenario::seconds_of(const Moment& moment) const {
  return moment.is_share ? moment.value * fluid_bound_seconds() : moment.value;
}

std::string to_flags(const Scenario& s) {
  std::string flags = absl::StrCat(
      "--peers ", s.peers, " --size ", s.size_bytes, " --chunk ", s.layout().chunk_bytes, " --up ",
      rate_text(s.up), " --down ", rate_text(s.down), " --seeders ", s.seeders, " --seed-up ",
      rate_text(s.seeder_up()), " --latency ", time_text(s.latency), " --seed ", s.seed);
  if (s.loss > 0) absl::StrAppend(&flags, " --loss ", s.loss);
  if (s.arrival == Scenario::Arrival::kPoisson)
    absl::StrAppend(&flags, " --arrive poisson:", s.arrive_rate);
  else if (s.arrive_over > Duration::zero())
    absl::StrAppend(&flags, " --arrive ", time_text(s.arrive_over));
  if (s.churn > 0) {
    absl::StrAppend(&flags, " --churn ", s.churn);
    if (s.churn_at_once)
      absl::StrAppend(&flags, "@", moment_text(s.churn_at), "+", time_text(s.churn_back));
  }
  if (s.slow > 0) absl::StrAppend(&flags, " --slow ", s.slow, ":", rate_text(s.slow_rate));
  if (s.liars > 0) absl::StrAppend(&flags, " --liars ", s.liars);
  if (s.has_tracker_down)
    absl::StrAppend(&flags, " --tracker-down ", moment_text(s.tracker_from), ":",
                    moment_text(s.tracker_to));
  if (!s.events.empty()) absl::StrAppend(&flags, " --events '", events_text(s), "'");
  if (s.racks > 1) absl::StrAppend(&flags, " --racks ", s.racks, ":", rate_text(s.rack_rate));
  if (!s.zones) absl::StrAppend(&flags, " --no-zones");
  absl::StrAppend(&flags, " --linger ", time_text(s.linger));
  if (s.disk > 0) absl::StrAppend(&flags, " --disk ", rate_text(s.disk));
  if (s.disk_faults > 0) absl::StrAppend(&flags, " --disk-faults ", s.disk_faults);
  if (!s.tracker) absl::StrAppend(&flags, " --no-tracker");
  if (!s.direct) absl::StrAppend(&flags, " --no-direct");
  return flags;
}

Scenario random_scenario(std::uint64_t seed) {
  Random random = Random(seed).fork("scenario");
  const auto between = [&](double low, double high) {  // evenly on a scale of powers
    return low * std::pow(high / low, random.unit());
  };
  Scenario s;
  s.seed = seed;
  s.peers = static_cast<std::uint32_t>(between(1, 60));
  s.chunk_bytes = kMinChunkBytes << random.below(3);
  s.size_bytes = static_cast<std::uint64_t>(between(1, 200 * s.chunk_bytes));
  s.up = whole(between(1e5, 1e9));
  s.down = random.chance(0.5) ? s.up : whole(between(s.up / 4, s.up * 4));
  s.seeders = 1 + static_cast<std::uint32_t>(random.below(3));
  s.seed_up = random.chance(0.5) ? 0 : whole(between(s.up / 4, s.up * 4));
  s.latency = whole_us(between(2e-5, 0.1));
  if (random.chance(0.3)) s.loss = short_share(random.unit() * 0.1);
  const double bound = s.fluid_bound_seconds();
  if (random.chance(0.2)) {
    s.arrival = Scenario::Arrival::kPoisson;
    s.arrive_rate = six_digits(s.peers / bound);
  } else if (random.chance(0.5)) {
    s.arrive_over = whole_us(bound * random.unit() * 2);
  }
  if (random.chance(0.4)) s.churn = short_share(random.unit() * 0.5);
  if (random.chance(0.3)) {
    s.slow = short_share(random.unit() * 0.3);
    s.slow_rate = whole(s.up / (2 + random.unit() * 10));
  }
  if (random.chance(0.3)) s.liars = short_share(random.unit() * 0.2);
  if (random.chance(0.3)) {
    s.has_tracker_down = true;
    s.tracker_from = {short_share(random.unit() * 0.5), true};
    s.tracker_to = {short_share(0.501 + random.unit()), true};
  }
  if (random.chance(0.2)) {
    s.racks = 2 + static_cast<std::uint32_t>(random.below(3));
    s.rack_rate = whole(s.up * between(0.5, 20));
  }
  s.linger = random.chance(0.5) ? Duration{} : whole_us(bound * random.unit());
  if (random.chance(0.2)) s.disk = whole(s.down * between(0.5, 5));
  if (random.chance(0.2)) s.disk_faults = short_share(random.unit() * 0.2);
  s.direct = random.chance(0.7);
  s.tracker = !s.direct || random.chance(0.7);
  if (!s.tracker) s.has_tracker_down = false;
  return s;
}

}  // namespace p2p::sim
