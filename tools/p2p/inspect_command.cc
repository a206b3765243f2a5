// p2p inspect and p2p verify: what a link names or a path would be, and whether what lies there
// matches.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "agent/json_line.h"
#include "base/units.h"
#include "content/scan.h"
#include "crypto/digest.h"
#include "net/fetch.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/progress_line.h"

namespace p2p::cli {
namespace {

struct InspectOptions {
  std::string subject, path, cluster_key, chunk_size;
  double patience_seconds = 5;
  bool json = false, files = false;
};

constexpr std::size_t kShownRanges = 20;

Result<Manifest> manifest_of(const Link& link, const InspectOptions& options) {
  P2P_ASSIGN(const auto cluster_key, read_cluster_key(options.cluster_key));
  return manifest_from_peers(link, cluster_key, from_seconds(options.patience_seconds));
}

const char* kind_text(Entry::Kind kind) {
  switch (kind) {
    case Entry::Kind::kFile:
      return "file";
    case Entry::Kind::kExecutable:
      return "executable";
    case Entry::Kind::kEmptyFolder:
      return "folder";
    case Entry::Kind::kSymlink:
      return "link";
  }
  return "";
}

void print_manifest(const Manifest& manifest, const ContentId& content,
                    const InspectOptions& options) {
  const Layout layout = manifest.layout();
  if (options.json) {
    nlohmann::json json = {
        {"content", content.hex()},          {"name", manifest.name},
        {"bytes_total", layout.total_bytes}, {"chunk_bytes", layout.chunk_bytes},
        {"chunks", layout.chunk_count()},    {"entries", manifest.entries.size()}};
    if (options.files)
      for (const Entry& entry : manifest.entries)
        json["files"].push_back(
            {{"kind", kind_text(entry.kind)}, {"path", entry.path}, {"bytes", entry.size_bytes}});
    std::printf("%s\n", agent::json_line(json).c_str());
    return;
  }
  std::printf(
      "content    %s\nname       %s\nkind       %s\nsize       %s (%llu bytes)\nchunks     %u of "
      "%s\n",
      content.hex().c_str(), manifest.name.c_str(),
      manifest.root == Manifest::Root::kFile
          ? "file"
          : absl::StrCat("folder of ", manifest.entries.size(), " entries").c_str(),
      format_bytes(layout.total_bytes).c_str(), static_cast<unsigned long long>(layout.total_bytes),
      layout.chunk_count(), format_bytes(layout.chunk_bytes).c_str());
  if (!options.files) return;
  for (const Entry& entry : manifest.entries)
    std::printf("%-10s %12llu  %s%s%s\n", kind_text(entry.kind),
                static_cast<unsigned long long>(entry.size_bytes), entry.path.c_str(),
                entry.target.empty() ? "" : " -> ", entry.target.c_str());
}

Result<int> inspect_path(const InspectOptions& options) {
  ProgressLine line;
  P2P_ASSIGN(const ScanOptions how, scan_options(line, options.chunk_size));
  P2P_ASSIGN(const Scan scanned, scan_path(options.subject, how));
  line.wipe();
  print_manifest(*scanned.manifest, content_id_of(encode_manifest(*scanned.manifest)), options);
  return kOk;
}

Result<int> inspect_link(const InspectOptions& options) {
  P2P_ASSIGN(const Link link, read_link(options.subject));
  if (!options.json) {
    for (const HostPort& tracker : link.trackers)
      std::printf("tracker    %s\n", tracker.to_string().c_str());
    for (const HostPort& seeder : link.seeders)
      std::printf("seeder     %s\n", seeder.to_string().c_str());
    std::printf("closed by  %s\n", link.secret ? "the secret in the link" : "a cluster key");
    std::fflush(stdout);
  }
  auto manifest = manifest_of(link, options);
  if (!manifest) {
    if (!options.json) std::printf("content    %s\n", link.content.hex().c_str());
    return std::move(manifest).error();
  }
  print_manifest(*manifest, link.content, options);
  return kOk;
}

// The manifest of the link: from the path itself where it gives the same id, else from peers.
Result<Manifest> manifest_for_verify(const Link& link, const InspectOptions& options,
                                     const ScanOptions& how) {
  if (auto scanned = scan_path(options.path, how);
      scanned && content_id_of(encode_manifest(*scanned->manifest)) == link.content)
    return *scanned->manifest;
  return manifest_of(link, options);
}

// What differs beside the bytes: entries that are missing, more, or of another kind.
std::vector<std::string> entry_differences(const Manifest& expected, const Manifest& found) {
  std::vector<std::string> differences;
  if (expected.root != found.root) return {"one is a folder, the other a file"};
  auto want = expected.entries.begin();
  auto have = found.entries.begin();
  while (want != expected.entries.end() || have != found.entries.end()) {
    if (have == found.entries.end() ||
        (want != expected.entries.end() && want->path < have->path)) {
      differences.push_back("missing: " + want++->path);
    } else if (want == expected.entries.end() || have->path < want->path) {
      differences.push_back("not in the content: " + have++->path);
    } else {
      const std::string name = want->path.empty() ? expected.name : want->path;
      if (want->kind != have->kind)
        differences.push_back(absl::StrCat(name, ": is a ", kind_text(have->kind), ", should be a ",
                                           kind_text(want->kind)));
      else if (want->target != have->target)
        differences.push_back(
            absl::StrCat(name, ": links to ", have->target, ", should link to ", want->target));
      else if (want->size_bytes != have->size_bytes)
        differences.push_back(absl::StrCat(name, ": has ", have->size_bytes, " bytes, should have ",
                                           want->size_bytes));
      ++want, ++have;
    }
  }
  return differences;
}

void print_bad_chunks(const Bitfield& good) {
  std::size_t shown = 0;
  for (ChunkIndex first = good.next_clear(0); first < good.size();) {
    const ChunkIndex end = good.next_set(first);
    if (++shown > kShownRanges) {
      std::printf("...\n");
      return;
    }
    if (end - first == 1)
      std::printf("chunk %u does not match\n", first);
    else
      std::printf("chunks %u to %u do not match\n", first, end - 1);
    first = good.next_clear(end);
  }
}

Result<int> verify(const InspectOptions& options) {
  P2P_ASSIGN(const Link link, read_link(options.subject));
  ProgressLine line;
  P2P_ASSIGN(ScanOptions how, scan_options(line, ""));
  P2P_ASSIGN(Manifest manifest, manifest_for_verify(link, options, how));
  const auto expected = std::make_shared<const Manifest>(std::move(manifest));
  how.chunk_bytes = expected->chunk_bytes;
  P2P_ASSIGN(const Scan found, scan_path(options.path, how));
  const std::vector<std::string> differences = entry_differences(*expected, *found.manifest);
  const ChunkIndex count = expected->layout().chunk_count();
  Bitfield good(count, false);
  if (found.manifest->entries == expected->entries && found.manifest->root == expected->root) {
    for (ChunkIndex i = 0; i < count; ++i)
      if (found.manifest->chunk_hashes[i] == expected->chunk_hashes[i]) good.set(i);
  } else if (found.manifest->root == expected->root) {
    P2P_ASSIGN(const auto files, FileSet::open(expected, options.path, FileSet::Mode::kRead));
    P2P_ASSIGN(good, check_chunks(*expected, *files, Bitfield(count, true), how.job));
  }
  line.wipe();
  for (std::size_t i = 0; i < differences.size() && i < kShownRanges; ++i)
    std::printf("%s\n", differences[i].c_str());
  if (differences.size() > kShownRanges)
    std::printf("... and %zu more\n", differences.size() - kShownRanges);
  print_bad_chunks(good);
  if (differences.empty() && good.all()) {
    std::printf("%s matches: %u chunks, %s\n", options.path.c_str(), count,
                format_bytes(expected->layout().total_bytes).c_str());
    return kOk;
  }
  std::printf("%s does not match: %u of %u chunks are good\n", options.path.c_str(), good.count(),
              count);
  return kCorrupt;
}

}  // namespace

void add_inspect(CLI::App& app, Run& run) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect", "What a link names, or what id a path would get, without serving it");
  command->add_option("LINK-OR-PATH", options->subject, "A link, a file or a folder")->required();
  add_flag_option(*command, "--chunk-size", options->chunk_size, "For a path: as in seed");
  add_file_option(*command, "--cluster-key", options->cluster_key,
                  "For a link: key file of `p2p keygen`");
  add_flag_option(*command, "--patience", options->patience_seconds,
                  "For a link: seconds to look for a peer")
      ->check(kSeconds)
      ->type_name("SECONDS");
  command->add_flag("--files", options->files, "List the entries too")->envname("P2P_FILES");
  command->add_flag("--json", options->json, "One JSON object")->envname("P2P_JSON");
  command->footer("Example:\n  p2p inspect 'p2p://...#...' --files\n  p2p inspect ./release");
  command->callback([options, &run] {
    const bool link = options->subject.rfind("p2p:", 0) == 0 || options->subject == "-";
    run = body_of(options, link ? inspect_link : inspect_path);
  });
}

void add_verify(CLI::App& app, Run& run) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("verify", "Does what lies at a path match a link, chunk by chunk?");
  command->add_option("LINK", options->subject, "The link, or - to read it from stdin")
      ->required()
      ->envname("P2P_LINK");
  command->add_option("PATH", options->path, "What to check")->required();
  add_file_option(*command, "--cluster-key", options->cluster_key, "Key file of `p2p keygen`");
  add_flag_option(*command, "--patience", options->patience_seconds,
                  "Seconds to look for a peer that has the manifest")
      ->check(kSeconds)
      ->type_name("SECONDS");
  command->footer("Example:\n  p2p verify 'p2p://...#...' /srv/big.iso");
  command->callback([options, &run] { run = body_of(options, verify); });
}

}  // namespace p2p::cli
