// The commands of p2p. Each adds its subcommand and flags to the app; when it was chosen, `run` is
// set to its body, which returns the exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/endpoint.h"
#include "base/result.h"
#include "base/time.h"
#include "content/link.h"
#include "content/manifest.h"
#include "content/scan.h"
#include "crypto/keys.h"
#include "tools/p2p/progress_line.h"

namespace p2p::cli {

using Run = std::function<int()>;

void add_seed(CLI::App& app, Run& run);
void add_fetch(CLI::App& app, Run& run);
void add_tracker(CLI::App& app, Run& run);
void add_agent(CLI::App& app, Run& run);
void add_store_commands(CLI::App& app, Run& run);
void add_node(CLI::App& app, Run& run);
void add_members(CLI::App& app, Run& run);
void add_reachability(CLI::App& app, Run& run);
void add_lookup(CLI::App& app, Run& run);
void add_keygen(CLI::App& app, Run& run);
void add_keys(CLI::App& app, Run& run);
void add_inspect(CLI::App& app, Run& run);
void add_verify(CLI::App& app, Run& run);
// What these two print is made from all that was added to the app, which must outlive the run.
void add_completion(CLI::App& app, Run& run);
void add_man(CLI::App& app, Run& run);

// A flag that can also stand in the environment: --chunk-size is P2P_CHUNK_SIZE there.
template <typename T>
CLI::Option* add_flag_option(CLI::App& command, const std::string& flags, T& value,
                             const std::string& help) {
  CLI::Option* option = command.add_option(flags, value, help);
  std::string name = "P2P_" + option->get_lnames().front();
  for (char& c : name)
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return option->envname(name);
}

// One whose value is a path, which completions then offer.
inline CLI::Option* add_file_option(CLI::App& command, const std::string& flags, std::string& value,
                                    const std::string& help) {
  return add_flag_option(command, flags, value, help)->type_name("FILE");
}

// One that may be repeated, or hold several with commas between them. Each takes one argument, so
// that what follows is not taken for one more.
inline CLI::Option* add_list_option(CLI::App& command, const std::string& flags,
                                    std::vector<std::string>& values, const std::string& help) {
  return add_flag_option(command, flags, values, help)->delimiter(',')->allow_extra_args(false);
}

// Thirty years are for ever, and fit a Duration.
inline const CLI::Range kSeconds(0.0, 1e9);

// Reads the command line and its --config file once more, for a daemon that takes over changes:
// callbacks of the commands are called again, with new options.
Status parse_command_line_again();

// Prints the error to stderr and returns its exit code.
int fail(const Error& error);

// What a command runs: its body, whose error is printed and gives the exit code.
template <typename Options>
Run body_of(std::shared_ptr<Options> options, Result<int> (*body)(const Options&)) {
  return [options = std::move(options), body] {
    const Result<int> result = body(*options);
    return result ? *result : fail(result.error());
  };
}

// ADDR:PORT, with a name for the flag in the error.
Result<Endpoint> parse_listen(const std::string& text);
// A zone's name (base/zone.h).
Result<std::string> parse_zone(const std::string& text);
// The HOST:PORT of each --tracker. A link must have room for them: at most kMaxLinkAddresses.
Result<std::vector<HostPort>> parse_trackers(const std::vector<std::string>& texts);
// The HOST[:PORT] of each --advertise.
Result<std::vector<HostPort>> parse_advertised(const std::vector<std::string>& texts);
// A link as an argument, or "-": the first line of stdin, which keeps its secret out of the process
// list.
Result<Link> read_link(const std::string& argument);
// A file of one short line (a password), without the blanks around it.
Result<std::string> read_short_file(const std::string& flag, const std::string& path);
// The key that is in use, of the key file (tools/p2p/key_file.h).
Result<std::optional<Secret>> read_cluster_key(const std::string& path);
// The secret that peers of a link share: its own, or the cluster key.
Result<Secret> peer_secret(const Link& link, const std::optional<Secret>& cluster_key);

// A manifest that only peers know; `trackers` are asked beside those of the link. Runs a loop of
// its own; Ctrl-C ends it.
Result<Manifest> manifest_from_peers(const Link& link, const std::optional<Secret>& cluster_key,
                                     Duration patience, std::vector<HostPort> trackers = {});

// How to scan: progress on the line, and the chunk size of the flag where it is given.
Result<ScanOptions> scan_options(ProgressLine& line, const std::string& chunk_size);

// Unmaps the code and constants that were mapped so far: for a daemon that is ready, and needs few
// of the pages that starting took. What is needed again is mapped again, from the system's cache.
void forget_startup_pages();

// Worker lanes: half of the cores, 1 to 4.
unsigned default_lanes();

}  // namespace p2p::cli
