// p2p list, pin, unpin, rm, gc, link and status: what the agent of this host has.
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/json_line.h"
#include "base/units.h"
#include "content/link.h"
#include "tools/p2p/agent_client.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/table_text.h"

namespace p2p::cli {
namespace {

struct StoreOptions {
  AgentOptions agent;
  std::vector<std::string> contents;
  bool json = false;
};

// Where two states meet, what a person wants to know first.
std::string shown_state(const nlohmann::json& content) {
  const std::string activity = content.at("activity");
  if (activity == "fetching") {
    const auto total = content.at("bytes").get<double>();
    if (total <= 0) return "looking";
    return absl::StrFormat("%.0f %%", 100 * content.at("bytes_verified").get<double>() / total);
  }
  if (activity == "checking") return activity;
  if (!content.at("problem").get<std::string>().empty()) return "damaged";
  return content.at("state");
}

std::string used_ago(const nlohmann::json& content) {
  const auto seconds = content.at("idle_seconds").get<std::int64_t>();
  return seconds < 1 ? "now" : format_duration(std::chrono::seconds(seconds)) + " ago";
}

void print_contents(const nlohmann::json& contents) {
  std::vector<std::vector<std::string>> rows = {
      {"ID", "NAME", "SIZE", "STATE", "KEPT", "USED", "PEERS"}};
  for (const nlohmann::json& content : contents) {
    const std::string source = content.at("source");
    const std::string name = content.at("name");
    std::string kept = content.at("pinned").get<bool>() ? "pinned" : "";
    if (!source.empty()) kept = "at " + source;
    if (kept.empty()) kept = content.at("in_use").get<bool>() ? "in use" : "-";
    rows.push_back({content.at("id").get<std::string>().substr(0, 12), name.empty() ? "-" : name,
                    format_bytes(content.at("bytes").get<std::uint64_t>()), shown_state(content),
                    kept, used_ago(content),
                    absl::StrCat(content.at("peers").get<std::uint64_t>())});
  }
  std::fputs(table_text(rows).c_str(), stdout);
  for (const nlohmann::json& content : contents)
    if (const std::string problem = content.at("problem"); !problem.empty())
      std::printf("%s: %s\n", content.at("id").get<std::string>().substr(0, 12).c_str(),
                  problem.c_str());
}

Result<int> list_contents(const StoreOptions& options) {
  P2P_ASSIGN(AgentClient agent, AgentClient::require(options.agent));
  P2P_ASSIGN(const nlohmann::json answer, agent.ask({{"op", "list"}}));
  const nlohmann::json& contents = answer.at("contents");
  if (!options.json) {
    print_contents(contents);
    return kOk;
  }
  for (const nlohmann::json& content : contents)
    std::printf("%s\n", agent::json_line(content).c_str());
  return kOk;
}

Result<int> show_status(const StoreOptions& options) {
  P2P_ASSIGN(AgentClient agent, AgentClient::require(options.agent));
  P2P_ASSIGN(nlohmann::json answer, agent.ask({{"op", "status"}}));
  answer.erase("event");
  if (options.json) {
    std::printf("%s\n", agent::json_line(answer).c_str());
    return kOk;
  }
  const auto bytes = [&](const char* name) {
    return format_bytes(answer.at(name).get<std::uint64_t>());
  };
  const bool limited = answer.at("max_bytes").get<std::uint64_t>() > 0;
  std::printf("store      %s: %s%s\n", answer.at("store").get<std::string>().c_str(),
              bytes("stored_bytes").c_str(),
              limited ? absl::StrCat(" of ", bytes("max_bytes")).c_str() : "");
  std::printf("contents   %s, %s complete, %s being fetched\n",
              agent::json_line(answer.at("contents")).c_str(),
              agent::json_line(answer.at("complete")).c_str(),
              agent::json_line(answer.at("fetching")).c_str());
  // Not said by agents of older versions.
  if (answer.contains("received_bytes") && answer.contains("older_bytes"))
    std::printf("received   %s since its start, %s more were in older versions\n",
                bytes("received_bytes").c_str(), bytes("older_bytes").c_str());
  if (answer.contains("sent_bytes")) std::printf("sent       %s\n", bytes("sent_bytes").c_str());
  for (const auto& address : answer.at("addresses"))
    std::printf("peers      at %s\n", address.get<std::string>().c_str());
  std::printf("process    %s%s\n", agent::json_line(answer.at("pid")).c_str(),
              answer.at("stopping").get<bool>() ? ", stopping" : "");
  return kOk;
}

// A content as a person names it: its link, its id, or the first digits of that.
std::string id_of(const std::string& text) {
  const auto link = Link::parse(text);
  return link ? link->content.hex() : text;
}

// One request for each content, on a connection of its own.
Result<int> for_each(const StoreOptions& options, const std::string& op,
                     const std::function<void(const nlohmann::json&)>& done) {
  for (const std::string& content : options.contents) {
    P2P_ASSIGN(AgentClient agent, AgentClient::require(options.agent));
    P2P_ASSIGN(const nlohmann::json answer, agent.ask({{"op", op}, {"id", id_of(content)}}));
    done(answer);
  }
  return kOk;
}

Result<int> pin_contents(const StoreOptions& options) {
  return for_each(options, "pin", [](const auto&) {});
}
Result<int> unpin_contents(const StoreOptions& options) {
  return for_each(options, "unpin", [](const auto&) {});
}
Result<int> remove_contents(const StoreOptions& options) {
  return for_each(options, "rm", [](const auto&) {});
}
Result<int> print_links(const StoreOptions& options) {
  return for_each(options, "link", [](const nlohmann::json& answer) {
    std::printf("%s\n", answer.at("link").get<std::string>().c_str());
  });
}

Result<int> collect_garbage(const StoreOptions& options) {
  P2P_ASSIGN(AgentClient agent, AgentClient::require(options.agent));
  P2P_ASSIGN(const nlohmann::json answer, agent.ask({{"op", "gc"}}));
  std::printf("removed %s\n", format_bytes(answer.at("bytes").get<std::uint64_t>()).c_str());
  return kOk;
}

using Body = Result<int> (*)(const StoreOptions&);

int run_with_agent(const Run& run) {
  try {
    return run();
  } catch (const nlohmann::json::exception& problem) {
    return fail(Error{ErrorCode::kMalformed,
                      absl::StrCat("the agent's answer makes no sense: is it of another version of "
                                   "p2p? ",
                                   problem.what())});
  }
}

std::pair<CLI::App*, std::shared_ptr<StoreOptions>> add(CLI::App& app, Run& run, const char* name,
                                                        const char* help, Body body) {
  auto options = std::make_shared<StoreOptions>();
  CLI::App* command = app.add_subcommand(name, help);
  add_agent_options(*command, options->agent, false);
  command->callback([options, &run, body] {
    run = [asked = body_of(options, body)] { return run_with_agent(asked); };
  });
  return {command, options};
}

void add_for_contents(CLI::App& app, Run& run, const char* name, const char* help, Body body) {
  const auto [command, options] = add(app, run, name, help, body);
  command
      ->add_option("CONTENT", options->contents,
                   "Its link, its id, or the first digits of that (4 or more)")
      ->required();
  command->footer(absl::StrCat("Example:\n  p2p ", name, " 3b1f09ac"));
}

}  // namespace

void add_store_commands(CLI::App& app, Run& run) {
  for (const auto& [name, help, body] :
       {std::tuple("list", "What the agent of this host has", Body(list_contents)),
        std::tuple("status", "How the agent of this host stands", Body(show_status))}) {
    const auto [command, options] = add(app, run, name, help, body);
    command->add_flag("--json", options->json, "As JSON, one object a line")->envname("P2P_JSON");
    command->footer(absl::StrCat("Example:\n  p2p ", name));
  }
  add_for_contents(app, run, "link", "Print the link of a content that the agent has", print_links);
  add_for_contents(app, run, "pin", "Keep a content in the agent's store", pin_contents);
  add_for_contents(app, run, "unpin", "Let the agent remove a content when it needs room",
                   unpin_contents);
  add_for_contents(app, run, "rm", "Remove a content from the agent's store", remove_contents);
  const auto [command, options] =
      add(app, run, "gc", "Remove all that is neither pinned nor in use from the agent's store",
          collect_garbage);
  command->footer("Example:\n  p2p gc");
}

}  // namespace p2p::cli
