// The user's state folder: the secret and port of each content that was seeded, so that the same
// content gives the same link again; and the hashes of what was scanned. Readable by the user
// alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/id.h"
#include "base/result.h"
#include "content/hash_cache.h"
#include "crypto/keys.h"

namespace p2p::cli {

struct SeedState {
  Secret secret;
  std::uint16_t port = 0;  // 0: none yet
};

// $XDG_STATE_HOME/p2p, or ~/.local/state/p2p.
Result<std::filesystem::path> state_folder();

// What is remembered of the content, or a fresh secret. An unreadable state is an error: a new
// secret would silently make old links useless.
Result<SeedState> load_seed_state(const ContentId& content);
Status save_seed_state(const ContentId& content, const SeedState& state);

// A folder of the state folder, made where it is missing, for the user alone.
Result<std::filesystem::path> make_state_folder(const std::string& name);

// The hashes of paths that were scanned before.
Result<HashCache> open_hash_cache();

// What the system says in errno of a file that it did not let us `what`.
Error io_error(const std::string& what, const std::filesystem::path& path);

enum class Replace { kNo, kYes, kKeepingPermissions };
// Writes a file that only the user can read, or those that could read what it replaces; whole or
// not at all. kExists with kNo.
Status write_private_file(const std::filesystem::path& path, const std::string& text,
                          Replace replace);

}  // namespace p2p::cli
