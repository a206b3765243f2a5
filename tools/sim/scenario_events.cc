// The events that a scenario lists: what the cluster lab reads too (tools/cluster/scenario.py).
#include <algorithm>
#include <array>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/sim/scenario.h"

namespace p2p::sim {
namespace {

constexpr std::array kActions = {"kill", "restart", "pause", "resume", "cut", "join"};
constexpr const char* kEvent = R"({ at = "3s", do = "kill", host = "fetcher-7" })";
constexpr std::string_view kKey = "events";
constexpr std::string_view kTable = "[[events]]";

Error refuse(std::string text) { return Error{ErrorCode::kUsage, std::move(text)}; }

// As much of TOML as a list of tables of strings needs.
class TomlReader {
 public:
  explicit TomlReader(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }
  bool at_end() {
    skip_blank();
    return at_ == text_.size();
  }
  // Takes this sign, if it is the next.
  bool take(char sign) {
    if (at_end() || text_[at_] != sign) return false;
    ++at_;
    return true;
  }
  // A key, or a value that is no table and no list; nothing where there is none.
  std::optional<std::string> word() {
    if (at_end()) return {};
    const char quote = text_[at_];
    if (quote == '"' || quote == '\'') {
      const std::size_t end = text_.find(quote, at_ + 1);
      if (end == std::string_view::npos) return {};
      return take_until(at_ + 1, end, end + 1);
    }
    std::size_t end = at_;
    while (end < text_.size() &&
           (absl::ascii_isalnum(text_[end]) ||
            std::string_view("-_.:+").find(text_[end]) != std::string_view::npos))
      ++end;
    if (end == at_) return {};
    return take_until(at_, end, end);
  }

 private:
  std::string take_until(std::size_t from, std::size_t to, std::size_t next) {
    at_ = next;
    return std::string(text_.substr(from, to - from));
  }
  // And comments.
  void skip_blank() {
    while (at_ < text_.size() && (absl::ascii_isspace(text_[at_]) || text_[at_] == '#')) {
      if (text_[at_] == '#')
        at_ = std::min(text_.find('\n', at_), text_.size());
      else
        ++at_;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

using Table = std::map<std::string, std::string>;

// From after its brace; nothing where it is malformed.
std::optional<Table> read_table(TomlReader& reader) {
  Table table;
  while (!reader.take('}')) {
    if (!table.empty() && !reader.take(',')) return {};
    const auto key = reader.word();
    if (!key || !reader.take('=')) return {};
    const auto value = reader.word();
    if (!value || !table.emplace(*key, *value).second) return {};
  }
  return table;
}

std::optional<std::vector<Table>> read_list(TomlReader& reader) {
  std::vector<Table> list;
  if (!reader.take('[')) return {};
  bool more = true;
  while (!reader.take(']')) {
    if (!more || !reader.take('{')) return {};
    const auto table = read_table(reader);
    if (!table) return {};
    list.push_back(*table);
    more = reader.take(',');
  }
  return list;
}

std::string text_of(const Table& table) {
  return absl::StrCat("{ ",
                      absl::StrJoin(table, ", ",
                                    [](std::string* out, const auto& entry) {
                                      absl::StrAppend(out, entry.first, " = \"", entry.second,
                                                      "\"");
                                    }),
                      " }");
}

Result<ListedEvent> event_of(const Table& table) {
  const bool whole =
      table.size() == 3 && table.contains("at") && table.contains("do") && table.contains("host");
  if (!whole || std::find(kActions.begin(), kActions.end(), table.at("do")) == kActions.end())
    return refuse(absl::StrCat("an event has at, do (", absl::StrJoin(kActions, ", "),
                               ") and host, not ", text_of(table)));
  const std::string& action = table.at("do");
  if (action != "kill" && action != "restart")
    return refuse(absl::StrCat("the event '", action,
                               "' is for the lab only: the simulator does kill and restart"));
  ListedEvent event;
  P2P_ASSIGN(event.at, parse_moment(table.at("at")));
  event.kill = action == "kill";
  event.host = table.at("host");
  return event;
}

// Of "fetcher-7", from 1 to `count`.
std::optional<std::uint32_t> number_of(const std::string& host, std::string_view kind,
                                       std::uint32_t count) {
  std::uint32_t number = 0;
  if (!host.starts_with(kind) || !absl::SimpleAtoi(host.substr(kind.size()), &number) ||
      number < 1 || number > count || host != absl::StrCat(std::string(kind), number))
    return {};
  return number;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && absl::ascii_isspace(text.front())) text.remove_prefix(1);
  while (!text.empty() && absl::ascii_isspace(text.back())) text.remove_suffix(1);
  return text;
}

// The first line, without blanks around it; takes it from the text.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return trimmed(line);
}

// Tables with headers of their own, which are the rest of the file, as a list.
std::string list_of_tables(std::string_view text) {
  std::string list = "[";
  bool first_key = true;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (line.starts_with(kTable)) {
      list += list.size() > 1 ? "}, {" : "{";
      first_key = true;
    } else if (!line.empty() && line.front() != '#') {
      absl::StrAppend(&list, first_key ? "" : ", ", std::string(line), "\n");
      first_key = false;
    }
  }
  return list + "}]";
}

}  // namespace

Status parse_events(const std::string& text, Scenario& scenario) {
  TomlReader reader(text);
  const auto list = read_list(reader);
  if (!list || !reader.at_end())
    return refuse(absl::StrCat("not a list of events: '", text, "'; write it like [", kEvent, "]"));
  scenario.events.clear();
  for (const Table& table : *list) {
    P2P_ASSIGN(ListedEvent event, event_of(table));
    scenario.events.push_back(std::move(event));
  }
  return {};
}

std::optional<std::string> take_events(std::string& toml) {
  std::string_view rest = toml;
  while (!rest.empty()) {
    const std::size_t begin = toml.size() - rest.size();
    const std::string_view line = take_line(rest);
    if (line.starts_with(kTable)) {
      std::string list = list_of_tables(std::string_view(toml).substr(begin));
      toml.resize(begin);
      return list;
    }
    if (!line.starts_with(kKey) || !trimmed(line.substr(kKey.size())).starts_with('=')) continue;
    const std::size_t from = toml.find('=', begin) + 1;
    const std::size_t end = toml.size() - rest.size();
    TomlReader reader(std::string_view(toml).substr(from));
    // What is no list is left for parse_events() to refuse.
    const std::size_t size = read_list(reader) ? reader.at() : end - from;
    std::string list = toml.substr(from, size);
    toml.erase(begin, from + size - begin);
    return list;
  }
  return {};
}

std::string events_text(const Scenario& scenario) {
  return absl::StrCat("[",
                      absl::StrJoin(scenario.events, ", ",
                                    [](std::string* out, const ListedEvent& event) {
                                      absl::StrAppend(
                                          out, text_of({{"at", moment_text(event.at)},
                                                        {"do", event.kill ? "kill" : "restart"},
                                                        {"host", event.host}}));
                                    }),
                      "]");
}

Status check_events(const Scenario& scenario) {
  for (const ListedEvent& event : scenario.events) {
    if (scenario.fetcher_of(event) || (event.is_of_tracker() && scenario.tracker)) continue;
    if (number_of(event.host, "seeder-", scenario.seeders))
      return refuse(absl::StrCat("events of '", event.host,
                                 "' are for the lab only: the simulator kills and restarts "
                                 "fetchers and the tracker"));
    return refuse(absl::StrCat("there is no host '", event.host, "'"));
  }
  return {};
}

std::optional<std::uint32_t> Scenario::fetcher_of(const ListedEvent& event) const {
  const auto number = number_of(event.host, "fetcher-", peers);
  return number ? std::optional(*number - 1) : std::nullopt;
}

}  // namespace p2p::sim
