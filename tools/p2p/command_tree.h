// The commands and flags of p2p as its parser has them, for what is generated from them:
// completions and manual pages. Nothing is written down a second time, so nothing goes stale.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

namespace p2p::cli {

enum class ValueKind { kText, kFile, kFolder };

// A flag, or an argument that is known by its place.
struct Parameter {
  std::vector<std::string> names;  // "-o", "--output"; none for one known by its place
  std::string value;               // what stands for its value, like FILE; empty: it takes none
  std::string help;
  std::string variable;              // of the environment; empty: none
  std::string fallback;              // its default, where the parser tells it
  std::vector<std::string> choices;  // all values that are possible; empty: others are
  ValueKind kind = ValueKind::kText;
  bool required = false;
  bool repeats = false;
};

// What is hidden from --help is in none of these.
struct Command {
  std::vector<std::string> words;  // like "p2p", "keys", "add"
  std::string help;
  std::string footer;
  std::vector<Parameter> flags;
  std::vector<Parameter> arguments;  // in their order
  std::vector<Command> commands;

  std::string name() const;  // the words with blanks between them
};

Command describe(const CLI::App& app);

// How --help shows flags: with the same words for their values.
std::shared_ptr<CLI::FormatterBase> help_formatter();

// Those flags of the whole program that may stand behind a command too.
std::vector<Parameter> common_flags(const Command& program);

// The command itself, then all below it, each before its own.
std::vector<const Command*> all_commands(const Command& command);

// The paragraphs of a footer: what stands under "Example:", line by line without its indentation,
// and the rest.
struct Footer {
  std::vector<std::string> examples;
  std::vector<std::string> paragraphs;
};
Footer parse_footer(const std::string& text);

}  // namespace p2p::cli
