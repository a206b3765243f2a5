#include "tools/p2p/command_tree.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace p2p::cli {
namespace {

// By what stands for the value: FILE, or PATH in LINK-OR-PATH.
ValueKind kind_of_value(const std::string& value) {
  const std::string last = value.substr(value.rfind('-') + 1);
  if (last == "FILE" || last == "PATH") return ValueKind::kFile;
  return last == "FOLDER" ? ValueKind::kFolder : ValueKind::kText;
}

// "text|json" as the option shows it, or what the parser says of CLI::IsMember,
// "TEXT:{alive,dead}", and of CLI::CheckedTransformer, "ENUM:value in {auto->0,copy->3} OR {0,3}".
std::vector<std::string> choices_of(const std::string& shown, const std::string& type) {
  if (shown.find('|') != std::string::npos) return absl::StrSplit(shown, '|');
  const std::size_t open = type.find('{'), close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  std::vector<std::string> choices = absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
  for (std::string& choice : choices) choice = choice.substr(0, choice.find("->"));
  return choices;
}

// What stands for a value: one of the choices, or a noun instead of the parser's type and ranges.
std::string value_of(const CLI::Option& option, const std::vector<std::string>& choices) {
  if (!choices.empty()) return absl::StrJoin(choices, "|");
  const std::string full = option.get_type_name();
  const std::string type = full.substr(0, full.find(':'));
  return type == "FLOAT" || type == "UINT" || type == "INT" ? "NUMBER" : type;
}

Parameter describe_option(const CLI::Option& option) {
  Parameter parameter;
  for (const std::string& name : option.get_snames()) parameter.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) parameter.names.push_back("--" + name);
  const std::string type = option.get_type_name();
  parameter.choices = choices_of(option.get_option_text(), type);
  if (parameter.names.empty())
    parameter.value = option.get_name(true);
  else if (option.get_items_expected_max() > 0)
    parameter.value = value_of(option, parameter.choices);
  parameter.help = option.get_description();
  parameter.variable = option.get_envname();
  parameter.fallback = option.get_default_str();
  parameter.kind = kind_of_value(parameter.value);
  parameter.required = option.get_required();
  parameter.repeats = option.get_expected_max() > 1;
  return parameter;
}

Command describe_command(const CLI::App& app, std::vector<std::string> words) {
  words.push_back(app.get_name());
  Command command;
  command.words = words;
  command.help = app.get_description();
  command.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    Parameter parameter = describe_option(*option);
    (parameter.names.empty() ? command.arguments : command.flags).push_back(std::move(parameter));
  }
  for (const CLI::App* below : app.get_subcommands({}))
    if (!below->get_group().empty()) command.commands.push_back(describe_command(*below, words));
  return command;
}

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    const Parameter parameter = describe_option(*option);
    std::string text;
    if (!parameter.names.empty() && !parameter.value.empty()) text = " " + parameter.value;
    if (parameter.names.empty() && !parameter.choices.empty())
      text = " " + absl::StrJoin(parameter.choices, "|");
    if (!parameter.fallback.empty()) absl::StrAppend(&text, "=", parameter.fallback);
    if (parameter.repeats) text += " ...";
    if (parameter.required) text += " REQUIRED";
    if (!parameter.variable.empty()) absl::StrAppend(&text, " (Env:", parameter.variable, ")");
    return text;
  }
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_formatter() { return std::make_shared<HelpFormatter>(); }

std::string Command::name() const { return absl::StrJoin(words, " "); }

Command describe(const CLI::App& app) { return describe_command(app, {}); }

std::vector<Parameter> common_flags(const Command& program) {
  std::vector<Parameter> flags;
  for (const Parameter& flag : program.flags)
    if (flag.names.back() != "--help" && flag.names.back() != "--version") flags.push_back(flag);
  return flags;
}

std::vector<const Command*> all_commands(const Command& command) {
  std::vector<const Command*> all = {&command};
  for (const Command& below : command.commands) {
    const std::vector<const Command*> more = all_commands(below);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

Footer parse_footer(const std::string& text) {
  Footer footer;
  for (const auto paragraph : absl::StrSplit(text, "\n\n", absl::SkipEmpty())) {
    std::vector<std::string> lines = absl::StrSplit(paragraph, '\n');
    if (lines.front() != "Example:") {
      footer.paragraphs.push_back(absl::StrJoin(lines, " "));
      continue;
    }
    for (std::size_t i = 1; i < lines.size(); ++i)
      footer.examples.emplace_back(absl::StripPrefix(lines[i], "  "));
  }
  return footer;
}

}  // namespace p2p::cli
