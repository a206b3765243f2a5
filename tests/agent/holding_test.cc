#include "agent/holding.h"

#include <catch2/catch.hpp>

using namespace p2p;
using namespace p2p::agent;

namespace {

Holding example() {
  Holding holding;
  holding.content.bytes[3] = 9;
  holding.state = Holding::State::kPartial;
  holding.psk = Secret::random();
  holding.has_link_secret = false;
  holding.trackers = {{"tracker.example", 7000}};
  holding.seeders = {{"::1", 80}};
  holding.members = {{"10.0.0.1", 7946}};
  holding.name = "a \"name\"\n";
  holding.bytes = std::uint64_t{1} << 42;
  holding.pinned = true;
  holding.added = 12;
  holding.last_used = 34;
  holding.source = "/srv/data";
  return holding;
}

}  // namespace

TEST_CASE("what is remembered of a content comes back as it was") {
  const Holding holding = example();
  const auto read = decode_holding(encode_holding(holding), holding.content);
  REQUIRE(read.has_value());
  CHECK(encode_holding(*read) == encode_holding(holding));
  CHECK(read->content == holding.content);
  CHECK(read->psk == holding.psk);
  CHECK(read->state == Holding::State::kPartial);
  CHECK(read->trackers == holding.trackers);
  CHECK(read->seeders == holding.seeders);
  CHECK(read->bytes == holding.bytes);
  CHECK_FALSE(read->in_store());
}

TEST_CASE("a record that was cut off anywhere is refused") {
  const Holding holding = example();
  const std::string text = encode_holding(holding);
  for (std::size_t size = 0; size + 2 < text.size(); ++size)
    CHECK_FALSE(decode_holding(text.substr(0, size), holding.content).has_value());
}

TEST_CASE("a record with a missing or wrong field is refused") {
  const Holding holding = example();
  const std::string text = encode_holding(holding);
  const auto replaced = [&](std::string_view from, std::string_view to) {
    std::string changed = text;
    const std::size_t at = changed.find(from);
    REQUIRE(at != std::string::npos);
    changed.replace(at, from.size(), to);
    return decode_holding(changed, holding.content).has_value();
  };
  CHECK_FALSE(replaced("\"version\": 1", "\"version\": 2"));
  CHECK_FALSE(replaced("\"partial\"", "\"perhaps\""));
  CHECK_FALSE(replaced("\"pinned\": true", "\"pinned\": 1"));
  CHECK_FALSE(replaced("\"psk\"", "\"other\""));
  CHECK_FALSE(replaced(holding.psk.reveal(), "short"));
  CHECK_FALSE(replaced("tracker.example:7000", "tracker.example"));
}
