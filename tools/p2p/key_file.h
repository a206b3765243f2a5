// The key file of --cluster-key: one key a line, the first is in use (crypto/keyring.h).
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "crypto/keyring.h"

namespace p2p::cli {

// All keys of the file at `path`. An empty ring where `path` is empty. kUsage, with the flag's name
// and what to do.
Result<Keyring> read_cluster_keys(const std::string& path);

// A key file that is being edited. Each edit gives a text that Keyring::parse() takes, or an error
// and no change. Lines keep their comments, and lines that are no keys their places.
class KeyFile {
 public:
  static Result<KeyFile> read(const std::filesystem::path& path);
  static Result<KeyFile> parse(std::string_view text);

  const Keyring& keys() const { return keys_; }
  std::string text() const;
  // Writes what it was read from, whole or not at all.
  Status write() const;

  // At the end: it opens, and is not in use.
  Status add(const Secret& key);
  // `hint` as hint_text() gives it. To the first place: in use from now on.
  Status use(std::string_view hint);
  // Not the one in use: that must be said by use() of another.
  Status remove(std::string_view hint);

 private:
  Result<std::size_t> index_of(std::string_view hint) const;
  // The line of the key at this index of keys().
  std::size_t line_of(std::size_t index) const;
  Status change_to(std::vector<std::string> lines);

  std::filesystem::path path_;
  std::vector<std::string> lines_;
  Keyring keys_;
};

}  // namespace p2p::cli
