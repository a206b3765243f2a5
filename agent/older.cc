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

std::size_t digits_at(std::string_view name, std::size_t at) {
  const std::size_t start = at;
  while (at < name.size() && absl::ascii_isdigit(static_cast<unsigned char>(name[at]))) ++at;
  return at - start;
}

bool are_alike(const Version& a, const Version& b) {
  const auto [less, more] = std::minmax(a.bytes, b.bytes);
  return more / kMaxOlderRatio <= less && stem_of(a.name) == stem_of(b.name) &&
         part_of(a.name) == part_of(b.name);
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

std::string_view part_of(std::string_view name) {
  constexpr std::string_view kOf = "-of-", kPart = ".part";
  for (std::size_t at = name.find('-'); at != name.npos; at = name.find('-', at + 1)) {
    const std::size_t number = digits_at(name, at + 1);
    const std::size_t of = at + 1 + number;
    if (number == 0 || name.substr(of, kOf.size()) != kOf) continue;
    const std::size_t count = digits_at(name, of + kOf.size());
    if (count > 0) return name.substr(at, 1 + number + kOf.size() + count);
  }
  for (std::size_t at = name.find(kPart); at != name.npos; at = name.find(kPart, at + 1)) {
    const std::size_t number = digits_at(name, at + kPart.size());
    if (number > 0) return name.substr(at, kPart.size() + number);
  }
  return {};
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
