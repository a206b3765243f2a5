// Small files that hold secrets, or that must never be seen half-written.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace p2p {

enum class Replace { kNo, kYes, kKeepingPermissions };
// Writes a file that only the user can read, or those that could read what it replaces; whole or
// not at all, and synced. kExists with kNo.
Status write_private_file(const std::filesystem::path& path, const std::string& text,
                          Replace replace);

}  // namespace p2p
