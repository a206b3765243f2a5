// p2p completion: what a shell needs to complete command lines of p2p, made from the parser's own
// tree of commands. Each script is a table of the commands, and the shell's few lines that find
// out which of them is being typed.
#include <algorithm>
#include <cstdio>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "tools/p2p/command_tree.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"

namespace p2p::cli {
namespace {

// A word that the shell takes as it is. Bash and zsh know no way to have ' within it; fish takes a
// backslash as well.
std::string quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}
std::string fish_quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

// The flags that may be typed at a command: its own, and those of the program that stand anywhere.
std::vector<Parameter> flags_at(const Command& command, const Command& program) {
  std::vector<Parameter> flags = command.flags;
  if (&command == &program) return flags;
  for (Parameter& flag : common_flags(program)) flags.push_back(std::move(flag));
  return flags;
}

std::string names_of(const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.words.back());
  return absl::StrJoin(names, " ");
}

// ---- bash ----

constexpr char kBashHead[] =
    R"(# Completes command lines of p2p in bash: source <(p2p completion bash), or install it as
# /usr/share/bash-completion/completions/p2p. Made by that command.

# What may stand at the command $1: its commands, its flags, what the flags take that take a value,
# and what its arguments are. @file and @folder are paths; other values are listed, or unknown.
_p2p_table() {
  commands='' flags='' values=() arguments=()
  case $1 in
)";

constexpr char kBashTail[] = R"(  esac
}

# $1: what is expected, as in the table.
_p2p_offer() {
  case $1 in
    @file) compopt -o default ;;
    @folder) compopt -o dirnames ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current") ;;
  esac
}

_p2p() {
  local current=${COMP_WORDS[COMP_CWORD]} command=p2p commands flags word flag='' count=0 i
  local -A values
  local -a arguments
  COMPREPLY=()
  _p2p_table "$command"
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ $word == -?* ]]; then
      [[ ${values[$word]+takes one} ]] || continue
      flag=$word
      # --flag=value comes as three words.
      [[ ${COMP_WORDS[i + 1]} == = ]] && ((++i))
      ((++i < COMP_CWORD)) && flag=''
    elif [[ $word && " $commands " == *" $word "* ]]; then
      command+=" $word"
      _p2p_table "$command"
    else
      ((++count))
    fi
  done
  [[ $current == = ]] && current=''
  if [[ $flag ]]; then
    _p2p_offer "${values[$flag]}"
  elif [[ $current == -* ]]; then
    _p2p_offer "$flags"
  elif [[ $commands ]]; then
    _p2p_offer "$commands"
  else
    _p2p_offer "${arguments[count]-}"
  fi
}
complete -F _p2p p2p
)";

std::string bash_value(const Parameter& parameter) {
  if (parameter.kind == ValueKind::kFile) return "@file";
  if (parameter.kind == ValueKind::kFolder) return "@folder";
  return absl::StrJoin(parameter.choices, " ");
}

std::string bash_script(const Command& program) {
  std::string script = kBashHead;
  for (const Command* command : all_commands(program)) {
    std::vector<std::string> flags, values, arguments;
    for (const Parameter& flag : flags_at(*command, program)) {
      flags.insert(flags.end(), flag.names.begin(), flag.names.end());
      if (flag.value.empty()) continue;
      for (const std::string& name : flag.names)
        values.push_back(absl::StrCat("[", name, "]=", quoted(bash_value(flag))));
    }
    for (const Parameter& argument : command->arguments)
      arguments.push_back(quoted(bash_value(argument)));
    absl::StrAppend(&script, "    ", quoted(command->name()),
                    ")\n      commands=", quoted(names_of(command->commands)),
                    "\n      flags=", quoted(absl::StrJoin(flags, " ")), "\n      values=(",
                    absl::StrJoin(values, " "), ")\n      arguments=(",
                    absl::StrJoin(arguments, " "), ")\n      ;;\n");
  }
  return script + kBashTail;
}

// ---- zsh ----

constexpr char kZshHead[] =
    R"(#compdef p2p
# Completes command lines of p2p in zsh: source <(p2p completion zsh) after compinit, or install it
# as _p2p in a folder of fpath. Made by that command.
)";

// As a file of fpath it is the function's body when it is called first.
constexpr char kZshTail[] = R"(
if [[ $funcstack[1] == _p2p ]]; then
  _p2p "$@"
else
  compdef _p2p p2p
fi
)";

std::string zsh_escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

// ":what it is:how to complete it". Nothing is offered by "()": " " would say what is expected, and
// then no flag could be completed in the place of an argument.
std::string zsh_value(const Parameter& parameter) {
  std::string action = "()";
  if (parameter.kind == ValueKind::kFile) action = "_files";
  if (parameter.kind == ValueKind::kFolder) action = "_files -/";
  if (!parameter.choices.empty())
    action = absl::StrCat("(", absl::StrJoin(parameter.choices, " "), ")");
  return absl::StrCat(":", zsh_escaped(parameter.value), ":", action);
}

// One word for each of its names; a flag that stands there already is not offered again.
std::string zsh_flag(const Parameter& flag) {
  std::string lines;
  for (const std::string& name : flag.names) {
    const bool is_long = name.compare(0, 2, "--") == 0;
    const char* joint = flag.value.empty() ? "" : is_long ? "=" : "+";
    const std::string once =
        flag.repeats ? "*" : absl::StrCat("(", absl::StrJoin(flag.names, " "), ")");
    absl::StrAppend(&lines, " \\\n    ",
                    quoted(absl::StrCat(once, name, joint, "[", zsh_escaped(flag.help), "]",
                                        flag.value.empty() ? "" : zsh_value(flag))));
  }
  return lines;
}

std::string zsh_function_name(const Command& command) {
  return "_" + absl::StrJoin(command.words, "_");
}

// The commands below a command, after its own flags.
std::string zsh_commands(const Command& command) {
  std::string text =
      " \\\n    '1: :->command' '*:: :->rest'\n"
      "  case $state in\n"
      "    command)\n"
      "      commands=(\n";
  for (const Command& below : command.commands)
    absl::StrAppend(&text, "        ", quoted(absl::StrCat(below.words.back(), ":", below.help)),
                    "\n");
  text +=
      "      )\n"
      "      _describe -t commands command commands ;;\n"
      "    rest)\n"
      "      case $line[1] in\n";
  for (const Command& below : command.commands)
    absl::StrAppend(&text, "        ", below.words.back(), ") ", zsh_function_name(below), " ;;\n");
  return text + "      esac ;;\n  esac\n";
}

std::string zsh_script(const Command& program) {
  std::string script = kZshHead;
  for (const Command* command : all_commands(program)) {
    absl::StrAppend(&script, "\n", zsh_function_name(*command),
                    "() {\n"
                    "  local context curcontext=\"$curcontext\" state state_descr line\n"
                    "  local -a commands\n"
                    "  typeset -A opt_args\n"
                    "  _arguments -C -s");
    for (const Parameter& flag : flags_at(*command, program)) script += zsh_flag(flag);
    for (std::size_t i = 0; i < command->arguments.size(); ++i) {
      const Parameter& argument = command->arguments[i];
      absl::StrAppend(&script, " \\\n    ",
                      quoted(argument.repeats ? absl::StrCat("*", zsh_value(argument))
                                              : absl::StrCat(i + 1, argument.required ? "" : ":",
                                                             zsh_value(argument))));
    }
    script += command->commands.empty() ? "\n" : zsh_commands(*command);
    script += "}\n";
  }
  return script + kZshTail;
}

// ---- fish ----

constexpr char kFishHead[] =
    R"(# Completes command lines of p2p in fish: p2p completion fish | source, or install it as
# /usr/share/fish/vendor_completions.d/p2p.fish. Made by that command.

# The words before the one that is typed, without p2p, flags and their values.
function __p2p_words
    set -l takes_value )";

constexpr char kFishTail[] = R"(
    set -l words (commandline -opc)
    set -l is_value 0
    for word in $words[2..-1]
        if test $is_value = 1
            set is_value 0
        else if contains -- $word $takes_value
            set is_value 1
        else if not string match -q -- '-?*' $word
            echo $word
        end
    end
end

# Is the command $argv, or one below it, being typed?
function __p2p_in
    set -l words (__p2p_words)
    test (count $words) -ge (count $argv); and test "$words[1..$(count $argv)]" = "$argv"
end

# Is it the argument number $argv[1] of the command $argv[2..] that is being typed?
function __p2p_at
    set -l command $argv[2..-1]
    set -l words (__p2p_words)
    test (count $words) -eq (math (count $command) + $argv[1] - 1); or return 1
    test (count $command) -eq 0; or test "$words[1..$(count $command)]" = "$command"
end

complete -c p2p -f
)";

std::string fish_value(const Parameter& parameter) {
  if (!parameter.choices.empty())
    return " -x -a " + fish_quoted(absl::StrJoin(parameter.choices, " "));
  if (parameter.kind == ValueKind::kFile) return " -r -F";
  if (parameter.kind == ValueKind::kFolder) return " -x -a '(__fish_complete_directories)'";
  return " -x";
}

std::string fish_flag(const Parameter& flag, const std::string& condition) {
  std::string line = "complete -c p2p" + condition;
  for (const std::string& name : flag.names)
    absl::StrAppend(&line, name[1] == '-' ? " -l " + name.substr(2) : " -s " + name.substr(1));
  if (!flag.value.empty()) line += fish_value(flag);
  return absl::StrCat(line, " -d ", fish_quoted(flag.help), "\n");
}

std::string fish_command(const Command& command, const Command& program) {
  const std::vector<std::string> below(command.words.begin() + 1, command.words.end());
  const std::string words = absl::StrJoin(below, " ");
  const auto at = [&](std::size_t place) {
    return absl::StrCat(" -n '__p2p_at ", place, words.empty() ? "" : " ", words, "'");
  };
  std::string script = absl::StrCat("\n# ", command.name(), "\n");
  const std::vector<Parameter> common = common_flags(program);
  for (const Parameter& flag : command.flags) {
    const bool anywhere = &command == &program &&
                          std::any_of(common.begin(), common.end(), [&](const Parameter& other) {
                            return other.names == flag.names;
                          });
    script += fish_flag(flag, anywhere        ? ""
                              : words.empty() ? at(1)
                                              : " -n '__p2p_in " + words + "'");
  }
  for (const Command& one : command.commands)
    absl::StrAppend(&script, "complete -c p2p", at(1), " -a ", one.words.back(), " -d ",
                    fish_quoted(one.help), "\n");
  for (std::size_t i = 0; i < command.arguments.size(); ++i) {
    const Parameter& argument = command.arguments[i];
    if (!argument.choices.empty() || argument.kind != ValueKind::kText)
      absl::StrAppend(&script, "complete -c p2p", at(i + 1),
                      argument.kind == ValueKind::kFile ? " -F" : fish_value(argument), "\n");
  }
  return script;
}

std::string fish_script(const Command& program) {
  std::set<std::string> takes_value;
  for (const Command* command : all_commands(program))
    for (const Parameter& flag : command->flags)
      if (!flag.value.empty()) takes_value.insert(flag.names.begin(), flag.names.end());
  std::string script = absl::StrCat(kFishHead, absl::StrJoin(takes_value, " "), kFishTail);
  for (const Command* command : all_commands(program)) script += fish_command(*command, program);
  return script;
}

}  // namespace

void add_completion(CLI::App& app, Run& run) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print what a shell needs to complete command lines of p2p");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer(
      "Example:\n"
      "  source <(p2p completion bash)       in ~/.bashrc\n"
      "  source <(p2p completion zsh)        in ~/.zshrc, after compinit\n"
      "  p2p completion fish | source        in ~/.config/fish/config.fish\n\n"
      "The Debian package has all three in their places.");
  command->callback([shell, &app, &run] {
    run = [shell, &app] {
      const Command program = describe(app);
      const std::string script = *shell == "bash"  ? bash_script(program)
                                 : *shell == "zsh" ? zsh_script(program)
                                                   : fish_script(program);
      std::fputs(script.c_str(), stdout);
      return kOk;
    };
  });
}

}  // namespace p2p::cli
