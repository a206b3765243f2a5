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
#include "content/private_file.h"
#include "content/rooted.h"
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

}  // namespace p2p::cli
