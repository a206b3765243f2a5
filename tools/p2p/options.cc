#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/units.h"
#include "base/zone.h"
#include "net/fetch.h"
#include "net/log.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/gossip_options.h"
#include "tools/p2p/key_file.h"

namespace p2p::cli {
namespace {

// One short line; what follows it would be a mistake.
constexpr std::size_t kMaxShortFileBytes = 1024;

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  const auto first =
      std::find_if(text.begin(), text.end(), [](unsigned char c) { return !std::isspace(c); });
  return std::string(first, text.end());
}

Result<HostPort> parse_one_advertised(const std::string& text) {
  if (auto address = IpAddress::parse(text)) return HostPort{address->to_string(), 0};
  // A bare name gets a port to be parsed with, and loses it again.
  const bool has_port = text.rfind(':') != std::string::npos;
  auto parsed = HostPort::parse(has_port ? text : text + ":0");
  if (!parsed) return Error{ErrorCode::kUsage, "--advertise: " + parsed.error().message};
  return parsed;
}

}  // namespace

int fail(const Error& error) {
  if (net::log_format() == net::LogFormat::kJson)
    net::log_error(error.message);
  else
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

Result<std::string> parse_zone(const std::string& text) {
  if (!is_zone(text))
    return Error{ErrorCode::kUsage,
                 absl::StrCat("--zone: at most ", kMaxZoneBytes,
                              " letters, digits and signs of ASCII without spaces, like rack-17")};
  return text;
}

Result<std::vector<HostPort>> parse_trackers(const std::vector<std::string>& texts) {
  std::vector<HostPort> trackers;
  for (const std::string& text : texts) {
    auto tracker = HostPort::parse(trimmed(text));
    if (!tracker) return Error{ErrorCode::kUsage, "--tracker: " + tracker.error().message};
    if (tracker->port == 0)
      return Error{ErrorCode::kUsage, "--tracker: " + text + " has no port from 1 to 65535"};
    trackers.push_back(*std::move(tracker));
  }
  if (trackers.size() > kMaxLinkAddresses)
    return Error{ErrorCode::kUsage, absl::StrCat("--tracker: ", trackers.size(), " trackers, ",
                                                 "more than the ", kMaxLinkAddresses, " allowed")};
  return trackers;
}

Result<std::vector<HostPort>> parse_advertised(const std::vector<std::string>& texts) {
  std::vector<HostPort> advertised;
  for (const std::string& text : texts) {
    P2P_ASSIGN(HostPort one, parse_one_advertised(text));
    advertised.push_back(std::move(one));
  }
  return advertised;
}

Result<Link> read_link(const std::string& argument) {
  if (argument != "-") return Link::parse(argument);
  std::string line;
  std::getline(std::cin, line);
  return Link::parse(trimmed(line));
}

Result<std::string> read_short_file(const std::string& flag, const std::string& path) {
  std::ifstream file(path);
  if (!file)
    return Error{ErrorCode::kUsage, flag + ": cannot read " + path + ": " + std::strerror(errno)};
  std::string text(kMaxShortFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxShortFileBytes)
    return Error{ErrorCode::kUsage,
                 absl::StrCat(flag, ": ", path, " is longer than ", kMaxShortFileBytes, " bytes")};
  return trimmed(std::move(text));
}

Result<std::optional<Secret>> read_cluster_key(const std::string& path) {
  P2P_ASSIGN(const Keyring keys, read_cluster_keys(path));
  return keys.empty() ? std::nullopt : std::optional(keys[0]);
}

Result<Secret> peer_secret(const Link& link, const std::optional<Secret>& cluster_key) {
  if (link.secret) return *link.secret;
  if (cluster_key) return *cluster_key;
  return Error{ErrorCode::kMalformed,
               "this link has no secret after a '#': copy all of it, or give the --cluster-key "
               "that it was seeded with"};
}

Result<Manifest> manifest_from_peers(const Link& link, const std::optional<Secret>& cluster_key,
                                     Duration patience, std::vector<HostPort> trackers) {
  net::FetchConfig config;
  config.link = link;
  config.more_trackers = std::move(trackers);
  P2P_ASSIGN(config.psk, peer_secret(link, cluster_key));
  config.tracker_psk = cluster_key.value_or(open_tracker_key());
  config.patience = patience;
  config.manifest_only = true;
  if (!link.members.empty()) {
    Keyring keys;
    if (cluster_key) keys = Keyring::of({*cluster_key}).value();
    P2P_ASSIGN(config.gossip, observer_of({}, link.members, keys));
  }
  net::Loop loop;
  net::Fetch query(loop, config, {});
  loop.on_termination([&](int) { query.interrupt(); });
  P2P_TRY(query.run());
  return decode_manifest(query.encoded_manifest());
}

Result<ScanOptions> scan_options(ProgressLine& line, const std::string& chunk_size) {
  ScanOptions options;
  if (line.enabled())
    options.job.progress = [&line](std::uint64_t done, std::uint64_t total) {
      line.draw(absl::StrCat("hashing: ", format_bytes(done), " of ", format_bytes(total)));
    };
  if (chunk_size.empty()) return options;
  P2P_ASSIGN(const std::uint64_t bytes, parse_size(chunk_size));
  if (!is_valid_chunk_size(bytes))
    return Error{ErrorCode::kUsage,
                 "--chunk-size: a power of two from 64KiB to 4MiB, not " + chunk_size};
  options.chunk_bytes = static_cast<std::uint32_t>(bytes);
  return options;
}

void forget_startup_pages() {
  const auto forget = [](dl_phdr_info* object, std::size_t, void*) {
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      // What may be written was: it would be lost.
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
      const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
      const std::uintptr_t end =
          (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(page - 1);
      if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
    return 0;
  };
  dl_iterate_phdr(forget, nullptr);
}

unsigned default_lanes() { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u); }

}  // namespace p2p::cli
