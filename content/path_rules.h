// What a path or link target inside a content may look like. One strict rule for everything that
// comes from outside, so that a manifest can write nowhere but under its target, on any file
// system.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace p2p {

inline constexpr std::size_t kMaxPathBytes = 4096;
inline constexpr std::size_t kMaxPathDepth = 100;
inline constexpr std::size_t kMaxComponentBytes = 255;
inline constexpr std::size_t kMaxSymlinkBytes = 4095;

// A relative path of components joined by '/': valid UTF-8, no empty, "." or ".." component, no
// backslash, no control or bidi-override character, no drive letter ("C:" as the start of the first
// component), within the limits above. "foo... bar" is fine.
Status check_path(std::string_view path);

// A single component by the same rules: the name of a content.
Status check_name(std::string_view name);

// A symlink target is kept as it is, and never followed when writing; it may point anywhere. Valid
// UTF-8, not empty, no NUL or control character, within the limit.
Status check_symlink_target(std::string_view target);

// Two paths with the same key are the same file on a file system that folds case or normalises
// Unicode: NFC and full case folding (utf8proc). The path must have passed check_path.
std::string collision_key(std::string_view path);

}  // namespace p2p
