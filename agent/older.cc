#include "agent/older.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace p2p::agent {
namespace {

// Bytes of a name in another alphabet are letters as well.
bool is_letter(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return absl::ascii_isalpha(value) || value >= 0x80;
}

bool are_alike(const Version& a, const Version& b) {
  const auto [less, more] = std::minmax(a.bytes, b.bytes);
  return more / kMaxOlderRatio <= less && stem_of(a.name) == stem_of(b.name);
}

}  // namespace

std::string stem_of(std::string_view name) {
  std::string stem;
  for (const char byte : name) {
    if (absl::ascii_isdigit(static_cast<unsigned char>(byte)) && !stem.empty()) break;
    if (is_letter(byte)) stem += absl::ascii_tolower(static_cast<unsigned char>(byte));
  }
  return stem;
}

std::vector<ContentId> older_versions(const Version& wanted, std::vector<Version> complete) {
  if (wanted.bytes < kMinOlderBytes) return {};
  std::erase_if(complete, [&](const Version& one) {
    return one.content == wanted.content || !are_alike(wanted, one);
  });
  std::sort(complete.begin(), complete.end(), [](const Version& a, const Version& b) {
    return a.added != b.added ? a.added > b.added : a.content < b.content;
  });
  if (complete.size() > kMaxOlder) complete.resize(kMaxOlder);
  std::vector<ContentId> found;
  for (const Version& one : complete) found.push_back(one.content);
  return found;
}

}  // namespace p2p::agent
