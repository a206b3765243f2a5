#include "agent/older.h"

#include <catch2/catch.hpp>

using namespace p2p;
using namespace p2p::agent;

namespace {

constexpr std::uint64_t kSize = 100 * kMinOlderBytes;

ContentId id(std::uint8_t number) {
  ContentId made;
  made.bytes[0] = number;
  return made;
}

Version version(std::uint8_t number, std::string name, std::uint64_t bytes = kSize,
                std::int64_t added = 0) {
  return {id(number), std::move(name), bytes, added};
}

}  // namespace

TEST_CASE("versions of one thing have a stem in common, different things have not") {
  for (const char* name :
       {"linux-6.1.190.tar.xz", "linux-6.2", "Linux_7rc1.tar", "linux", "linux-"})
    CHECK(stem_of(name) == "linux");
  CHECK(stem_of("linux-image-6.1") == "linuximage");
  CHECK(stem_of("2024-01-31-dump.sql") == stem_of("2024-02-29-dump.sql"));
  CHECK(stem_of("2024-01-31-dump.sql") != stem_of("2024-01-31-logs.gz"));
  CHECK(stem_of("données-2") == "données");
  CHECK(stem_of("20240131").empty());
  CHECK(stem_of("").empty());
}

TEST_CASE("older versions are those of the same stem and about the same size") {
  const Version wanted = version(1, "thing-2");
  CHECK(older_versions(wanted, {version(2, "thing-1"), version(3, "other-1")}) ==
        std::vector{id(2)});
  CHECK(older_versions(wanted, {version(2, "thing-1", kSize / kMaxOlderRatio)}).size() == 1);
  CHECK(older_versions(wanted, {version(2, "thing-1", kSize * kMaxOlderRatio)}).size() == 1);
  CHECK(older_versions(wanted, {version(2, "thing-1", kSize / kMaxOlderRatio - 1)}).empty());
  CHECK(older_versions(wanted, {version(2, "thing-1", (kSize + 1) * kMaxOlderRatio)}).empty());
  CHECK(older_versions(wanted, {version(2, "thing-1", 0)}).empty());
}

TEST_CASE("a content is no older version of itself, and a small one has none") {
  CHECK(older_versions(version(1, "thing"), {version(1, "thing")}).empty());
  const auto of = [](std::uint64_t bytes) {
    return older_versions(version(1, "thing", bytes), {version(2, "thing", bytes)});
  };
  CHECK(of(kMinOlderBytes).size() == 1);
  CHECK(of(kMinOlderBytes - 1).empty());
}

TEST_CASE("of many older versions those that came last are searched") {
  std::vector<Version> complete;
  for (std::uint8_t i = 2; i < 20; ++i) complete.push_back(version(i, "thing", kSize, i % 15));
  const auto found = older_versions(version(1, "thing"), complete);
  CHECK(found.size() == kMaxOlder);
  CHECK(found == std::vector{id(14), id(13)});
}

TEST_CASE("a part of a thing is known by its name") {
  CHECK(part_of("model-00001-of-00030.safetensors") == "-00001-of-00030");
  CHECK(part_of("model-v2-00001-of-00030") == "-00001-of-00030");
  CHECK(part_of("thing.part1.rar") == ".part1");
  CHECK(part_of("thing-1.2.part02") == ".part02");
  for (const char* name : {"", "linux-6.1.tar", "out-of-8", "8-of-9", "a-1-of-b", "a-1of2",
                           "thing.parts.tar", "part1.rar", "a.part"})
    CHECK(part_of(name).empty());
}

TEST_CASE("other parts of a thing are no older versions, the same part of another is") {
  const Version shard = version(1, "model-00002-of-00030.safetensors");
  CHECK(older_versions(shard, {version(2, "model-00001-of-00030.safetensors"),
                               version(3, "model-v1-00001-of-00030.safetensors"),
                               version(4, "model.safetensors")})
            .empty());
  CHECK(older_versions(shard, {version(2, "model-00002-of-00030.safetensors")}).size() == 1);
  CHECK(older_versions(version(1, "dump.part2.rar"), {version(2, "dump.part1.rar")}).empty());
  CHECK(older_versions(version(1, "dump-2.part2.rar"), {version(2, "dump-1.part2.rar")}).size() ==
        1);
}
