#include "content/path_rules.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace p2p {
namespace {

// Which characters beside control characters a text must not have.
enum class Bidi { kRefused, kAllowed };

bool is_control(utf8proc_int32_t point) {
  return point < 0x20 || (point >= 0x7f && point <= 0x9f);  // C0, DEL, C1
}

// Marks that make a name look like another on a screen ("exe.txt" for "txt.exe").
bool is_bidi(utf8proc_int32_t point) {
  return (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
         point == 0x200e || point == 0x200f || point == 0x061c;
}

// What is wrong with the characters, or null.
const char* character_problem(std::string_view text, Bidi bidi) {
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto* end = at + text.size();
  while (at != end) {
    utf8proc_int32_t point = *at;
    // Most names are ASCII; the library refuses overlong forms and surrogates in the others.
    const utf8proc_ssize_t used = point < 0x80 ? 1 : utf8proc_iterate(at, end - at, &point);
    if (used <= 0) return "is not valid UTF-8";
    if (is_control(point)) return "has a control character";
    if (bidi == Bidi::kRefused && is_bidi(point))
      return "has a character that changes the direction of writing, and so hides what it is "
             "called";
    at += used;
  }
  return nullptr;
}

// The text for an error: short, and harmless to a terminal.
std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShownBytes = 120;
  const bool cut = text.size() > kMaxShownBytes;
  if (cut) {
    text = text.substr(0, kMaxShownBytes);
    // Not in the middle of a character: its continuation bytes go, and then its first.
    while (!text.empty() && (text.back() & 0xc0) == 0x80) text.remove_suffix(1);
    if (!text.empty() && (text.back() & 0x80) != 0) text.remove_suffix(1);
  }
  std::string safe(text);
  if (character_problem(text, Bidi::kRefused) != nullptr) safe = absl::CHexEscape(safe);
  return absl::StrCat("'", safe, cut ? "...'" : "'");
}

Error refuse(std::string_view what, std::string_view text, const std::string& problem) {
  return Error{ErrorCode::kMalformed,
               absl::StrCat(std::string(what), " ", shown(text), " ", problem)};
}

bool has_drive_letter(std::string_view path) {
  return path.size() >= 2 && path[1] == ':' &&
         absl::ascii_isalpha(static_cast<unsigned char>(path[0]));
}

// What is wrong with a component, or an empty string.
std::string component_problem(std::string_view component) {
  if (component.empty()) return "has an empty component (a '/' too many)";
  if (component == "." || component == "..")
    return absl::StrCat("has a '", std::string(component), "' component");
  if (component.size() > kMaxComponentBytes)
    return absl::StrCat("has a component of ", component.size(), " bytes, more than ",
                        kMaxComponentBytes);
  return {};
}

// The rules that names and paths share.
std::string whole_problem(std::string_view text) {
  if (text.size() > kMaxPathBytes)
    return absl::StrCat("has ", text.size(), " bytes, more than ", kMaxPathBytes);
  if (const char* problem = character_problem(text, Bidi::kRefused)) return problem;
  if (text.find('\\') != std::string_view::npos) return "has a backslash";
  if (has_drive_letter(text)) return "begins with a drive letter";
  return {};
}

struct FreeDeleter {
  void operator()(utf8proc_uint8_t* text) const { std::free(text); }
};

std::string map_unicode(const std::string& text, int options) {
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &raw,
                                             static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, FreeDeleter> owner(raw);
  P2P_CHECK(size >= 0);  // the text is valid UTF-8
  return std::string(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(size));
}

}  // namespace

Status check_path(std::string_view path) {
  constexpr std::string_view kWhat = "the path";
  if (path.empty()) return Error{ErrorCode::kMalformed, "a path is empty"};
  if (path.front() == '/') return refuse(kWhat, path, "is absolute");
  if (std::string problem = whole_problem(path); !problem.empty())
    return refuse(kWhat, path, problem);
  std::size_t depth = 0;
  for (std::string_view rest = path;; ++depth) {
    const std::size_t slash = rest.find('/');
    if (std::string problem = component_problem(rest.substr(0, slash)); !problem.empty())
      return refuse(kWhat, path, problem);
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (++depth > kMaxPathDepth)
    return refuse(kWhat, path,
                  absl::StrCat("is ", depth, " folders deep, more than ", kMaxPathDepth));
  return {};
}

Status check_name(std::string_view name) {
  constexpr std::string_view kWhat = "the name";
  if (name.empty()) return Error{ErrorCode::kMalformed, "the name is empty"};
  if (name.find('/') != std::string_view::npos) return refuse(kWhat, name, "has a '/'");
  if (std::string problem = whole_problem(name); !problem.empty())
    return refuse(kWhat, name, problem);
  if (std::string problem = component_problem(name); !problem.empty())
    return refuse(kWhat, name, problem);
  return {};
}

Status check_symlink_target(std::string_view target) {
  constexpr std::string_view kWhat = "the symlink target";
  if (target.empty()) return Error{ErrorCode::kMalformed, "a symlink target is empty"};
  if (target.size() > kMaxSymlinkBytes)
    return refuse(kWhat, target,
                  absl::StrCat("has ", target.size(), " bytes, more than ", kMaxSymlinkBytes));
  if (const char* problem = character_problem(target, Bidi::kAllowed))
    return refuse(kWhat, target, problem);
  return {};
}

std::string collision_key(std::string_view path) {
  std::string text(path);
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return absl::ascii_isascii(static_cast<unsigned char>(c)); })) {
    absl::AsciiStrToLower(&text);
    return text;
  }
  // Decomposed before it is folded, as canonical caseless matching demands (Unicode 3.13, D145):
  // folding turns a combining iota into a letter, so marks must be in order by then. Ignorable
  // characters go because ext4 leaves them out, too, when it folds.
  text = map_unicode(text, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  return map_unicode(text,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
}

}  // namespace p2p
