#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>

#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"

namespace p2p::cli {
namespace {

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  const auto first =
      std::find_if(text.begin(), text.end(), [](unsigned char c) { return !std::isspace(c); });
  return std::string(first, text.end());
}

}  // namespace

int fail(const Error& error) {
  std::fprintf(stderr, "p2p: %s\n", error.message.c_str());
  return exit_code_of(error.code);
}

Result<Endpoint> parse_listen(const std::string& text) {
  auto endpoint = Endpoint::parse(text);
  if (!endpoint)
    return Error{ErrorCode::kUsage,
                 "--listen: " + endpoint.error().message +
                     "; write it like 0.0.0.0:7000, [::]:7000 or 127.0.0.1:0 (0: any free port)"};
  return endpoint;
}

Result<Link> read_link(const std::string& argument) {
  if (argument != "-") return Link::parse(argument);
  std::string line;
  std::getline(std::cin, line);
  return Link::parse(trimmed(line));
}

Result<std::optional<Secret>> read_cluster_key(const std::string& path) {
  if (path.empty()) return std::optional<Secret>();
  std::ifstream file(path);
  if (!file)
    return Error{ErrorCode::kUsage, "--cluster-key: cannot read " + path + ": " +
                                        std::strerror(errno) + "; `p2p keygen -o FILE` makes one"};
  // One short line; what follows it would be a mistake.
  std::string text(256, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  auto key = Secret::parse(trimmed(text));
  if (!key)
    return Error{ErrorCode::kUsage, "--cluster-key: " + path + " is no key file of `p2p keygen`"};
  return std::optional<Secret>(*key);
}

Result<Secret> peer_secret(const Link& link, const std::optional<Secret>& cluster_key) {
  if (link.secret) return *link.secret;
  if (cluster_key) return *cluster_key;
  return Error{ErrorCode::kMalformed,
               "this link has no secret after a '#': copy all of it, or give the --cluster-key "
               "that it was seeded with"};
}

unsigned default_lanes() { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u); }

}  // namespace p2p::cli
