#include "tools/p2p/key_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "tools/p2p/state_folder.h"

namespace p2p::cli {
namespace {

// One byte more than a key file may have, if there are so many.
Result<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxKeyFileBytes + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad() || (file.fail() && !file.eof()))
    return Error{ErrorCode::kUsage,
                 absl::StrCat("cannot read ", path.string(), ": ", std::strerror(errno),
                              "; `p2p keygen -o FILE` makes one")};
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

Error no_key_file(const std::filesystem::path& path, const Error& why) {
  return Error{ErrorCode::kUsage,
               absl::StrCat(path.string(), " is no key file of `p2p keygen`: ", why.message)};
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    lines.emplace_back(line);
  }
  return lines;
}

std::string text_of_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  return text;
}

}  // namespace

Result<Keyring> read_cluster_keys(const std::string& path) {
  if (path.empty()) return Keyring();
  const auto keys = [&path]() -> Result<Keyring> {
    P2P_ASSIGN(const std::string text, read_text(path));
    Result<Keyring> ring = Keyring::parse(text);
    if (!ring) return no_key_file(path, ring.error());
    return ring;
  }();
  if (!keys) return Error{keys.error().code, "--cluster-key: " + keys.error().message};
  return keys;
}

Result<KeyFile> KeyFile::read(const std::filesystem::path& path) {
  P2P_ASSIGN(const std::string text, read_text(path));
  Result<KeyFile> file = parse(text);
  if (!file) return no_key_file(path, file.error());
  // A symlink stays one: what it names is replaced.
  std::error_code failure;
  file->path_ = std::filesystem::canonical(path, failure);
  if (failure)
    return Error{ErrorCode::kIo,
                 absl::StrCat("cannot find ", path.string(), ": ", failure.message())};
  return file;
}

Result<KeyFile> KeyFile::parse(std::string_view text) {
  KeyFile file;
  P2P_ASSIGN(file.keys_, Keyring::parse(text));
  file.lines_ = lines_of(text);
  return file;
}

std::string KeyFile::text() const { return text_of_lines(lines_); }

Status KeyFile::write() const {
  // The new file would be ours, and whoever runs with it could not read it.
  struct stat status {};
  if (stat(path_.c_str(), &status) == 0 && status.st_uid != geteuid())
    return Error{ErrorCode::kUsage,
                 absl::StrCat(path_.string(), " belongs to another user: run this as that user")};
  return write_private_file(path_, text(), Replace::kKeepingPermissions);
}

Status KeyFile::add(const Secret& key) {
  std::vector<std::string> lines = lines_;
  lines.push_back(key.reveal());
  return change_to(std::move(lines));
}

Status KeyFile::use(std::string_view hint) {
  P2P_ASSIGN(const std::size_t index, index_of(hint));
  std::vector<std::string> lines = lines_;
  const auto first = lines.begin() + static_cast<std::ptrdiff_t>(line_of(0));
  const auto chosen = lines.begin() + static_cast<std::ptrdiff_t>(line_of(index));
  // Keys change places on the lines of keys; comments between them stay.
  std::rotate(first, chosen, chosen + 1);
  return change_to(std::move(lines));
}

Status KeyFile::remove(std::string_view hint) {
  P2P_ASSIGN(const std::size_t index, index_of(hint));
  if (index == 0)
    return Error{ErrorCode::kUsage,
                 absl::StrCat("the key ", std::string(hint),
                              " is in use: put another first by `p2p keys use FILE KEY`")};
  std::vector<std::string> lines = lines_;
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(line_of(index)));
  return change_to(std::move(lines));
}

Result<std::size_t> KeyFile::index_of(std::string_view hint) const {
  for (std::size_t i = 0; i < keys_.size(); ++i)
    if (hint_text(keys_.hint(i)) == hint) return i;
  return Error{ErrorCode::kUsage,
               "there is no key of this name: `p2p keys list FILE` prints their names, 8 digits "
               "each"};
}

std::size_t KeyFile::line_of(std::size_t index) const {
  for (std::size_t at = 0; at < lines_.size(); ++at) {
    const auto key = parse_key_line(lines_[at], at + 1);
    P2P_CHECK(key.has_value());
    if (key->has_value() && index-- == 0) return at;
  }
  P2P_CHECK(false);
}

Status KeyFile::change_to(std::vector<std::string> lines) {
  P2P_ASSIGN(keys_, Keyring::parse(text_of_lines(lines)));
  lines_ = std::move(lines);
  return {};
}

}  // namespace p2p::cli
