// p2p man: manual pages, made from the parser's own tree of commands. Hidden: packages install what
// it prints. Each command of the program has a page; those below it stand on the same page.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/version.h"
#include "tools/p2p/command_tree.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"

namespace p2p::cli {
namespace {

struct File {
  const char* path;
  const char* text;
  std::vector<std::string> commands;  // on whose pages it stands, beside the program's
};

const std::vector<File>& files() {
  static const std::vector<File> all = {
      {"$XDG_STATE_HOME/p2p",
       "What is remembered from one run to the next, readable by the user alone: the secret and "
       "port "
       "of each content that was seeded, hashes of what was scanned, a member's identity and whom "
       "it has known. Without that variable ~/.local/state/p2p.",
       {"seed", "fetch", "node", "members", "reachability", "lookup"}},
      {"/etc/p2p/tracker.toml",
       "Flags of the tracker that the service p2p-tracker.service runs.",
       {"tracker"}},
      {"/etc/p2p/agent.toml",
       "Flags of the agent that the service p2p-agent.service runs.",
       {"agent"}},
      {"/run/p2p/agent.sock",
       "Where that agent listens. Who may write to it may ask for anything: the group p2p.",
       {"agent"}},
      {"/var/lib/p2p", "The state of both services.", {"tracker", "agent"}},
  };
  return all;
}

// ---- roff ----

// Characters that roff would take for something else. Those for quotes and so on are named, so that
// they can be copied from the page to a shell.
std::string escaped(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"\\", "\\(rs"}, {"-", "\\-"}, {"'", "\\(aq"}, {"^", "\\(ha"}, {"~", "\\(ti"}});
}

// A line or paragraph of prose; what stands between backticks is bold. A line that began with a dot
// or an apostrophe would be a request.
std::string prose(const std::string& text) {
  std::string roff = text.compare(0, 1, ".") == 0 ? "\\&" : "";
  bool bold = false;
  for (const char c : text) {
    if (c != '`') {
      roff += escaped(std::string(1, c));
      continue;
    }
    bold = !bold;
    roff += bold ? "\\fB" : "\\fR";
  }
  return roff;
}

std::string sentence(const std::string& text) {
  const bool ended = text.empty() || std::strchr(".?!:", text.back()) != nullptr;
  return prose(text) + (ended ? "" : ".");
}

std::string bold(const std::string& text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + escaped(text) + "\\fR"; }
std::string section(const std::string& name) { return ".SH " + name + "\n"; }

// An entry of a list: what it is about, and a paragraph.
std::string entry(const std::string& head, const std::string& text) {
  return absl::StrCat(".TP\n", head, "\n", text, "\n");
}

// ---- sections ----

std::string page_name(const Command& command) { return absl::StrJoin(command.words, "-"); }

std::string reference(const std::string& page) { return bold(page) + "(1)"; }

std::string name_section(const Command& command) {
  std::string help = command.help;
  while (!help.empty() && std::strchr(".?", help.back()) != nullptr) help.pop_back();
  return absl::StrCat(section("NAME"), escaped(page_name(command)), " \\- ", prose(help), "\n");
}

std::string usage_line(const Command& command) {
  std::string line = bold(command.name()) + " [" + italic("FLAG") + "]...";
  if (!command.commands.empty()) return line + " " + italic("COMMAND") + " ...";
  for (const Parameter& argument : command.arguments)
    absl::StrAppend(&line, argument.required ? " " : " [", italic(argument.value),
                    argument.required ? "" : "]", argument.repeats ? "..." : "");
  return line;
}

std::string synopsis_section(const Command& command, bool is_program) {
  std::vector<std::string> lines;
  if (is_program || command.commands.empty()) {
    lines.push_back(usage_line(command));
  } else {
    for (const Command& below : command.commands) lines.push_back(usage_line(below));
  }
  return section("SYNOPSIS") + absl::StrJoin(lines, "\n.br\n") + "\n";
}

std::string description_section(const Command& command) {
  std::string text = section("DESCRIPTION") + sentence(command.help) + "\n";
  for (const std::string& paragraph : parse_footer(command.footer).paragraphs)
    absl::StrAppend(&text, ".PP\n", prose(paragraph), "\n");
  return text;
}

std::string flag_head(const Parameter& flag) {
  std::vector<std::string> heads;
  for (const std::string& name : flag.names) {
    const char* joint = name[1] == '-' ? "=" : " ";
    heads.push_back(bold(name) + (flag.value.empty() ? "" : joint + italic(flag.value)));
  }
  return absl::StrJoin(heads, ", ");
}

std::string parameter_text(const Parameter& parameter) {
  std::string text = sentence(parameter.help);
  if (!parameter.choices.empty() && parameter.value.find('|') == std::string::npos)
    absl::StrAppend(&text, "\nPossible: ", bold(absl::StrJoin(parameter.choices, ", ")), ".");
  if (!parameter.fallback.empty())
    absl::StrAppend(&text, "\nDefault: ", bold(parameter.fallback), ".");
  return text;
}

std::string parameter_entries(const Command& command) {
  std::string text;
  for (const Parameter& argument : command.arguments)
    text += entry(italic(argument.value), parameter_text(argument));
  for (const Parameter& flag : command.flags) text += entry(flag_head(flag), parameter_text(flag));
  return text;
}

// The program lists its commands, which have pages; a command describes those below it here.
std::string commands_section(const Command& command, bool is_program) {
  if (command.commands.empty()) return "";
  std::string text = section("COMMANDS");
  for (const Command& below : command.commands) {
    if (is_program) {
      text += entry(reference(page_name(below)), sentence(below.help));
    } else {
      absl::StrAppend(&text, ".SS ", escaped(below.words.back()), "\n", sentence(below.help), "\n",
                      parameter_entries(below));
    }
  }
  return text;
}

std::string options_section(const Command& command, const Command& program) {
  std::string text = section("OPTIONS") + parameter_entries(command);
  if (&command == &program) return text;
  std::vector<std::string> common;
  for (const Parameter& flag : common_flags(program)) common.push_back(bold(flag.names.back()));
  return absl::StrCat(text, ".PP\n", absl::StrJoin(common, ", "), " of ",
                      reference(page_name(program)), " can stand here too.\n");
}

std::string exit_section() {
  std::string text = section("EXIT STATUS");
  for (const ExitMeaning& meaning : kExitMeanings)
    text += entry(bold(absl::StrCat(static_cast<int>(meaning.code))), sentence(meaning.text));
  return text;
}

std::string environment_section(const Command& command) {
  std::string entries;
  for (const Command* one : all_commands(command)) {
    // The commands of the program have pages of their own.
    if (command.words.size() == 1 && one != &command) continue;
    for (const auto* parameters : {&one->arguments, &one->flags})
      for (const Parameter& parameter : *parameters)
        if (!parameter.variable.empty())
          entries += entry(bold(parameter.variable),
                           "Stands for " +
                               (parameter.names.empty() ? italic(parameter.value)
                                                        : bold(parameter.names.back())) +
                               (parameter.repeats ? "; several with commas between them." : "."));
  }
  return entries.empty() ? "" : section("ENVIRONMENT") + entries;
}

std::string files_section(const Command& command, bool is_program) {
  std::string entries;
  for (const File& file : files())
    if (is_program || std::count(file.commands.begin(), file.commands.end(), command.words.back()))
      entries += entry(italic(file.path), sentence(file.text));
  return entries.empty() ? "" : section("FILES") + entries;
}

std::string example_section(const Command& command) {
  const std::vector<std::string> examples = parse_footer(command.footer).examples;
  if (examples.empty()) return "";
  std::string text = section("EXAMPLE") + ".EX\n";
  for (const std::string& line : examples) absl::StrAppend(&text, prose(line), "\n");
  return text + ".EE\n";
}

std::string see_also_section(const Command& command, const Command& program) {
  std::vector<std::string> pages;
  if (&command != &program) pages.push_back(page_name(program));
  for (const Command& other : program.commands)
    if (&other != &command) pages.push_back(page_name(other));
  std::sort(pages.begin(), pages.end());
  return section("SEE ALSO") +
         absl::StrJoin(pages, ",\n",
                       [](std::string* text, const auto& page) { *text += reference(page); }) +
         "\n";
}

std::string page(const Command& command, const Command& program) {
  const bool is_program = &command == &program;
  return absl::StrCat(
      ".\\\" Made by `p2p man`.\n.TH ", absl::AsciiStrToUpper(escaped(page_name(command))), " 1 ",
      kReleaseDate, " \"p2p ", kProgramVersion, "\" \"p2p\"\n", name_section(command),
      synopsis_section(command, is_program), description_section(command),
      commands_section(command, is_program), options_section(command, program), exit_section(),
      environment_section(command), files_section(command, is_program), example_section(command),
      see_also_section(command, program));
}

struct ManOptions {
  std::string command;
  bool list = false;
};

int print_man(const ManOptions& options, const Command& program) {
  std::vector<const Command*> commands = {&program};
  for (const Command& command : program.commands) commands.push_back(&command);
  for (const Command* command : commands) {
    const std::string wanted = options.command.empty() ? program.words.back() : options.command;
    if (options.list) {
      std::printf("%s\n", page_name(*command).c_str());
    } else if (wanted == command->words.back() || wanted == page_name(*command)) {
      std::fputs(page(*command, program).c_str(), stdout);
      return kOk;
    }
  }
  return options.list ? kOk
                      : fail({ErrorCode::kUsage, "there is no command " + options.command +
                                                     "; `p2p man --list` names the pages"});
}

}  // namespace

void add_man(CLI::App& app, Run& run) {
  auto options = std::make_shared<ManOptions>();
  CLI::App* command = app.add_subcommand("man", "Print a manual page, for man -l")->group("");
  command->add_option("COMMAND", options->command, "The command; without it p2p itself");
  command->add_flag("--list", options->list, "Print the names of the pages");
  command->callback([options, &app, &run] {
    run = [options, &app] { return print_man(*options, describe(app)); };
  });
}

}  // namespace p2p::cli
