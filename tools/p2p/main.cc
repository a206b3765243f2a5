// p2p: the command line. Each command stands in a file of its own.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <map>
#include <string>

#include "base/version.h"
#include "crypto/keys.h"
#include "net/log.h"
#include "net/node.h"
#include "tools/p2p/command_tree.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"

namespace {

// glibc stops giving large blocks back to the system once one was freed, and chunks of 4 MiB then
// leave holes: a fetch stood at 115 MiB with 60 in use. Setting the size, here to what it is
// anyway, keeps it where it is.
void give_freed_memory_back() { mallopt(M_MMAP_THRESHOLD, 128 * 1024); }

}  // namespace

namespace p2p::cli {
namespace {

struct Globals {
  bool verbose = false, quiet = false;
  net::LogFormat log_format = net::LogFormat::kText;
};

// The whole command line. `run` is set to the body of the command that is chosen.
void build(CLI::App& app, Globals& globals, Run& run) {
  app.description("Distributes files and folders from peer to peer: chunked, encrypted, verified.");
  app.name("p2p");
  app.formatter(help_formatter());
  app.set_version_flag("--version", std::string("p2p ") + kProgramVersion);
  app.set_config("--config", "", "A TOML file with flags, in a [section] for each command");
  app.get_config_ptr()->envname("P2P_CONFIG")->type_name("FILE");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_flag("-v,--verbose", globals.verbose, "Say more about connections")
      ->envname("P2P_VERBOSE");
  app.add_flag("-q,--quiet", globals.quiet, "Warnings and errors only")->envname("P2P_QUIET");
  std::map<std::string, net::LogFormat> formats{{"text", net::LogFormat::kText},
                                                {"json", net::LogFormat::kJson}};
  app.add_option("--log-format", globals.log_format, "text, or json: an object a line on stderr")
      ->envname("P2P_LOG_FORMAT")
      ->transform(CLI::Transformer(formats, CLI::ignore_case))
      ->option_text("text|json");
  app.footer(
      "Example:\n"
      "  here:   p2p seed big.iso           prints a link\n"
      "  there:  p2p fetch 'p2p://...'      fetches it, any number of hosts at once\n\n"
      "Every flag can also stand in the environment (--chunk-size is P2P_CHUNK_SIZE) and in the "
      "file of --config.");

  add_seed(app, run);
  add_fetch(app, run);
  add_tracker(app, run);
  add_node(app, run);
  add_agent(app, run);
  add_store_commands(app, run);
  add_members(app, run);
  add_reachability(app, run);
  add_lookup(app, run);
  add_keygen(app, run);
  add_keys(app, run);
  add_inspect(app, run);
  add_verify(app, run);
  add_completion(app, run);
  add_man(app, run);
}

// The parser speaks of a file of another kind.
std::string text_of(const CLI::ParseError& error) {
  const std::string text = error.what(), unknown = "INI was not able to parse ";
  if (text.compare(0, unknown.size(), unknown) != 0) return text;
  const std::string name = text.substr(unknown.size());
  const std::size_t section = name.rfind(".++");
  return section == std::string::npos ? "--config: there is no flag " + name
                                      : "--config: there is no command " + name.substr(0, section);
}

int argument_count = 0;
char** arguments = nullptr;

}  // namespace

Status parse_command_line_again() {
  CLI::App app;
  Globals globals;
  Run run;
  build(app, globals, run);
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return Error{ErrorCode::kUsage, text_of(error)};
  }
  return {};
}

}  // namespace p2p::cli

int main(int argc, char** argv) {
  using namespace p2p;
  give_freed_memory_back();
  std::signal(SIGPIPE, SIG_IGN);
  init_crypto();
  net::raise_descriptor_limit();
  cli::argument_count = argc;
  cli::arguments = argv;

  CLI::App app;
  cli::Globals globals;
  cli::Run run;
  cli::build(app, globals, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are no errors.
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
    std::fprintf(stderr, "p2p: %s\nRun with --help for what is possible.\n",
                 cli::text_of(error).c_str());
    return cli::kUsage;
  }
  net::set_log_format(globals.log_format);
  if (globals.verbose) net::set_log_level(net::LogLevel::kDebug);
  if (globals.quiet) net::set_log_level(net::LogLevel::kWarn);
  return run();
}
