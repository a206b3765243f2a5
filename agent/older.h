// Which of the contents that an agent has are older versions of one that it is to fetch, as far as
// names and sizes say. A policy without clock or disk. To be wrong costs time: all of them is read,
// and nothing of it found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"

namespace p2p::agent {

// So many are searched, those that came last.
inline constexpr std::size_t kMaxOlder = 2;
// Versions of one thing are about as large: one has at most so many times the bytes of the other.
inline constexpr std::uint64_t kMaxOlderRatio = 2;
// A smaller content is fetched sooner than searched for.
inline constexpr std::uint64_t kMinOlderBytes = 1024 * 1024;

struct Version {
  ContentId content;
  std::string name;
  std::uint64_t bytes = 0;
  std::int64_t added = 0;  // seconds since 1970
};

// What the names of all versions of a thing begin with: the letters before the first digit, in
// lower case. "Linux-6.1.tar", "linux-6.2" and "linux" are versions of "linux". A name that begins
// with a digit, like a date, is known by all its letters.
std::string stem_of(std::string_view name);

// Which part of a thing that name is of: "-00001-of-00030" of "model-00001-of-00030.safetensors",
// ".part1" of "thing.part1.rar". Empty where it is a whole. Only equal parts are versions of one
// another.
std::string_view part_of(std::string_view name);

// Among those that are complete; the youngest first.
std::vector<ContentId> older_versions(const Version& wanted, std::vector<Version> complete);

}  // namespace p2p::agent
