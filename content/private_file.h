// The small files that a program keeps for itself: some hold secrets, none must ever be seen
// half-written.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"
#include "content/rooted.h"

namespace p2p {

enum class Replace { kNo, kYes, kKeepingPermissions };
// Writes a file that only the user can read, or those that could read what it replaces; whole or
// not at all, and synced. kExists with kNo.
Status write_private_file(const std::filesystem::path& path, const std::string& text,
                          Replace replace);

// All of a file. Errors: kIo, kMalformed where it has more than `max_bytes`.
Result<std::string> read_whole_file(const std::filesystem::path& path, std::uint64_t max_bytes);

// Makes the folder where it is missing; its parent must exist.
Status make_folder(const std::filesystem::path& path, mode_t mode);

// Locks the file, which is made where it is missing, for as long as what it returns is open; the
// kernel lets go of it when the process dies. kExists where another process has it.
Result<Fd> lock_file(const std::filesystem::path& path);

}  // namespace p2p
