#include <catch2/catch.hpp>
#include <functional>

#include "base/msgpack_codec.h"
#include "tests/tracker/support.h"
#include "tracker/messages.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

using Write = std::function<void(MsgpackWriter&)>;

Bytes written(const Write& write) {
  MsgpackBuffer buffer;
  MsgpackWriter writer(buffer);
  write(writer);
  return to_bytes(buffer);
}

// Writes one field of a message; each test replaces one by something hostile.
Write number(std::uint64_t value) {
  return [value](MsgpackWriter& writer) { writer.pack(value); };
}
Write signed_number(std::int64_t value) {
  return [value](MsgpackWriter& writer) { writer.pack(value); };
}
Write boolean(bool value) {
  return [value](MsgpackWriter& writer) { writer.pack(value); };
}
Write text(std::string value) {
  return [value](MsgpackWriter& writer) { write_str(writer, value); };
}
Write binary(Bytes value) {
  return [value](MsgpackWriter& writer) { write_bin(writer, value); };
}
Write nil() {
  return [](MsgpackWriter& writer) { writer.pack_nil(); };
}
Write array(std::vector<Write> elements) {
  return [elements](MsgpackWriter& writer) {
    writer.pack_array(static_cast<std::uint32_t>(elements.size()));
    for (const Write& element : elements) element(writer);
  };
}
Write map_of(Write key, Write value) {
  return [key, value](MsgpackWriter& writer) {
    writer.pack_map(1);
    key(writer);
    value(writer);
  };
}

const Bytes kSomeSwarm(32, 0x5a);
const Bytes kSomeEndpoint = {10, 0, 0, 1, 0x1f, 0x90};

std::vector<Write> announce_fields() {
  return {number(1),      binary(kSomeSwarm), number(0), number(8080),
          boolean(false), number(500),        number(8), array({binary(kSomeEndpoint)}),
          text("rack-7"), boolean(true)};
}
std::vector<Write> lookup_fields() { return {number(2), binary(kSomeSwarm), number(8)}; }
std::vector<Write> handout_fields() {
  return {number(3), binary(kSomeSwarm), number(30000),
          array({array({binary(kSomeEndpoint), boolean(true), boolean(false)})})};
}
std::vector<Write> refusal_fields() { return {number(4), binary(kSomeSwarm), text("full")}; }
std::vector<Write> watch_fields() { return {number(5), binary(kSomeSwarm), number(10000)}; }
std::vector<Write> report_fields() {
  return {number(6), binary(kSomeSwarm), text("a.iso"), number(300'000),      number(3),
          number(2), number(1000),       number(2000),  binary({255, 0, 128})};
}

bool is_read(std::vector<Write> fields, std::size_t replaced, Write by) {
  fields[replaced] = std::move(by);
  return decode(written(array(std::move(fields)))).has_value();
}

}  // namespace

TEST_CASE("every message comes back from its bytes, and its bytes from it") {
  const std::uint64_t seed = 2024;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    const Message message = random_message(random);
    const Bytes bytes = encode(message);
    REQUIRE(bytes.size() <= kMaxTrackerMessageBytes);
    const auto decoded = decode(bytes);
    REQUIRE(decoded.has_value());
    REQUIRE(*decoded == message);
    REQUIRE(encode(*decoded) == bytes);
  }
}

TEST_CASE("the encoding of an announce and a handout is fixed") {
  SwarmId swarm;
  swarm.bytes.fill(0x5a);
  Announce announce = announce_of(swarm, Event::kNone, 8080, 8);
  announce.have_permille = 500;
  announce.advertised = {endpoint("10.0.0.1:8080")};
  announce.zone = "rack-7";
  announce.starving = true;
  CHECK(encode(announce) == written(array(announce_fields())));
  CHECK(encode(Lookup{swarm, 8}) == written(array(lookup_fields())));
  CHECK(encode(Handout{swarm, 30s, {{endpoint("10.0.0.1:8080"), true}}}) ==
        written(array(handout_fields())));
  CHECK(encode(Refusal{swarm, "full"}) == written(array(refusal_fields())));
  CHECK(encode(Watch{swarm, 10s}) == written(array(watch_fields())));
  CHECK(encode(Report{swarm, "a.iso", 300'000, 3, 2, 1000, 2000, {255, 0, 128}}) ==
        written(array(report_fields())));
}

TEST_CASE("the largest messages are read") {
  Handout handout{swarm_id(1), kMaxInterval, {}};
  handout.peers.assign(kMaxPeersInMessage, {endpoint("[2001:db8::1]:65535"), true, true});
  CHECK(encode(handout).size() == 1194);
  CHECK(decode(encode(handout)).has_value());
  CHECK(decode(encode(Refusal{swarm_id(1), std::string(kMaxRefusalTextBytes, 'x')})).has_value());
}

TEST_CASE("a message truncated at any offset is refused") {
  Random random(7);
  for (int round = 0; round < 20; ++round) {
    const Bytes bytes = encode(random_message(random));
    for (std::size_t size = 0; size < bytes.size(); ++size)
      REQUIRE_FALSE(decode(ByteView(bytes).first(size)).has_value());
  }
}

TEST_CASE("a message with a byte behind it is refused") {
  Random random(8);
  for (int byte = 0; byte < 256; ++byte) {
    Bytes bytes = encode(random_message(random));
    bytes.push_back(static_cast<std::uint8_t>(byte));
    REQUIRE_FALSE(decode(bytes).has_value());
  }
}

TEST_CASE("whatever becomes of a byte, a message that is read has exactly these bytes") {
  const std::uint64_t seed = 99;
  CAPTURE(seed);
  Random random(seed);
  std::vector<Message> messages;
  for (std::size_t kind = 0; kind < 4;) {
    Message message = random_message(random);
    if (message.index() != kind) continue;
    messages.push_back(std::move(message));
    ++kind;
  }
  for (const Message& message : messages) {
    const Bytes bytes = encode(message);
    for (std::size_t offset = 0; offset < bytes.size(); ++offset) {
      for (int value = 0; value < 256; ++value) {
        Bytes mutated = bytes;
        mutated[offset] = static_cast<std::uint8_t>(value);
        const auto decoded = decode(mutated);
        if (decoded) REQUIRE(encode(*decoded) == mutated);
      }
    }
  }
}

TEST_CASE("random bytes are refused or are a message with exactly these bytes") {
  Random random(3);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes(random.below(64));
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    const auto decoded = decode(bytes);
    if (decoded) REQUIRE(encode(*decoded) == bytes);
  }
}

TEST_CASE("an announce with a value out of its bounds is refused") {
  const auto is_announce = [](std::size_t field, Write by) {
    return is_read(announce_fields(), field, std::move(by));
  };
  CHECK(is_announce(2, number(3)));
  CHECK_FALSE(is_announce(2, number(4)));
  CHECK_FALSE(is_announce(2, signed_number(-1)));
  CHECK(is_announce(3, number(0)));
  CHECK(is_announce(3, number(65535)));
  CHECK_FALSE(is_announce(3, number(65536)));
  CHECK_FALSE(is_announce(4, number(1)));
  CHECK(is_announce(5, number(1000)));
  CHECK_FALSE(is_announce(5, number(1001)));
  CHECK_FALSE(is_announce(5, number(UINT64_MAX)));
  CHECK(is_announce(6, number(50)));
  CHECK_FALSE(is_announce(6, number(51)));
  CHECK(is_announce(7, array(std::vector<Write>(4, binary(kSomeEndpoint)))));
  CHECK_FALSE(is_announce(7, array(std::vector<Write>(5, binary(kSomeEndpoint)))));
  CHECK(is_announce(8, text("")));
  CHECK(is_announce(8, text(std::string(kMaxZoneBytes, '~'))));
  CHECK_FALSE(is_announce(8, text(std::string(kMaxZoneBytes + 1, '~'))));
  CHECK_FALSE(is_announce(9, number(1)));
}

TEST_CASE("a handout, lookup or refusal with a value out of its bounds is refused") {
  CHECK(is_read(lookup_fields(), 2, number(50)));
  CHECK_FALSE(is_read(lookup_fields(), 2, number(51)));
  CHECK(is_read(handout_fields(), 2, number(3'600'000)));
  CHECK_FALSE(is_read(handout_fields(), 2, number(3'600'001)));
  CHECK_FALSE(is_read(handout_fields(), 2, signed_number(-1)));
  const Write peer = array({binary(kSomeEndpoint), boolean(true), boolean(false)});
  CHECK(is_read(handout_fields(), 3, array(std::vector<Write>(50, peer))));
  CHECK_FALSE(is_read(handout_fields(), 3, array(std::vector<Write>(51, peer))));
  CHECK_FALSE(is_read(handout_fields(), 3, array({array({binary(kSomeEndpoint)})})));
  CHECK_FALSE(is_read(handout_fields(), 3, array({array({binary(kSomeEndpoint), boolean(true)})})));
  for (const std::uint64_t percent : {0, 99, 100})
    CHECK(is_read(handout_fields(), 3, array({array({binary(kSomeEndpoint), number(percent)})})));
  CHECK_FALSE(is_read(handout_fields(), 3, array({array({binary(kSomeEndpoint), number(101)})})));
  CHECK_FALSE(is_read(
      handout_fields(), 3,
      array({array({binary(kSomeEndpoint), boolean(true), boolean(true), boolean(true)})})));
  CHECK(is_read(refusal_fields(), 2, text(std::string(200, 'x'))));
  CHECK_FALSE(is_read(refusal_fields(), 2, text(std::string(201, 'x'))));
}

TEST_CASE("a watch or a report with a value out of its bounds is refused") {
  CHECK(is_read(watch_fields(), 2, number(60'000)));
  CHECK_FALSE(is_read(watch_fields(), 2, number(60'001)));
  const auto is_report = [](std::size_t field, Write by) {
    return is_read(report_fields(), field, std::move(by));
  };
  CHECK(is_report(2, text("")));
  CHECK(is_report(2, text(std::string(255, '\xff'))));
  CHECK_FALSE(is_report(2, text(std::string(256, 'x'))));
  CHECK(is_report(3, number(kMaxReportedBytes)));
  CHECK_FALSE(is_report(3, number(kMaxReportedBytes + 1)));
  CHECK_FALSE(is_report(4, number(1)));  // fewer than it has
  CHECK_FALSE(is_report(5, number(4)));
  for (const std::size_t rate : {6, 7}) {
    CHECK(is_report(rate, number(kMaxReportedRate)));
    CHECK_FALSE(is_report(rate, number(kMaxReportedRate + 1)));
  }
  for (const std::size_t columns : {0, 2, 4, 64, 65})
    CHECK_FALSE(is_report(8, binary(Bytes(columns, 1))));
  auto large = report_fields();
  large[4] = number(kMaxChunks);
  CHECK(is_read(large, 8, binary(Bytes(64, 1))));
  CHECK_FALSE(is_read(large, 8, binary(Bytes(63, 1))));
  CHECK_FALSE(is_read(large, 4, number(kMaxChunks + 1)));
}

TEST_CASE("a peer of a handout says how much it has, or only whether it is complete") {
  const Handout handout{swarm_id(1),
                        30s,
                        {{endpoint("10.0.0.1:8080"), false, false, std::uint8_t{37}},
                         {endpoint("10.0.0.2:8080"), true, false, kFullPercent},
                         {endpoint("10.0.0.3:8080"), false, true}}};
  const auto read = decode(encode(handout));
  REQUIRE(read);
  CHECK(std::get<Handout>(*read) == handout);
}

TEST_CASE("a refusal cannot carry what a terminal would act upon") {
  for (const char* hostile : {"\x1b[2J", "a\nb", "\x7f", "\xc3\x28", "\xe2\x80\xae", "\xff"})
    CHECK_FALSE(is_read(refusal_fields(), 2, text(hostile)));
  CHECK_FALSE(is_read(refusal_fields(), 2, text(std::string("a\0b", 3))));
}

TEST_CASE("a zone cannot carry a space or what a terminal would act upon") {
  for (const char* hostile : {"rack 7", "\x1b[2J", "a\nb", "\x7f", "\xc3\xa9", "\xff"})
    CHECK_FALSE(is_read(announce_fields(), 8, text(hostile)));
  CHECK_FALSE(is_read(announce_fields(), 8, text(std::string("a\0b", 3))));
  CHECK(is_read(announce_fields(), 8, text("!row-3/rack.17~")));
}

TEST_CASE("a swarm that is not 32 bytes is refused") {
  for (const std::size_t size : {0, 31, 33, 64}) {
    CHECK_FALSE(is_read(announce_fields(), 1, binary(Bytes(size, 1))));
    CHECK_FALSE(is_read(lookup_fields(), 1, binary(Bytes(size, 1))));
    CHECK_FALSE(is_read(handout_fields(), 1, binary(Bytes(size, 1))));
    CHECK_FALSE(is_read(refusal_fields(), 1, binary(Bytes(size, 1))));
  }
  CHECK_FALSE(is_read(announce_fields(), 1, text(std::string(32, 'x'))));
}

TEST_CASE("an endpoint that nobody can dial or that has two spellings is refused") {
  const auto is_peer = [](const Bytes& bytes) {
    const bool advertised = is_read(announce_fields(), 7, array({binary(bytes)}));
    const bool handed = is_read(handout_fields(), 3,
                                array({array({binary(bytes), boolean(false), boolean(false)})}));
    CHECK(advertised == handed);
    return handed;
  };
  CHECK(is_peer({10, 0, 0, 1, 0, 1}));
  CHECK_FALSE(is_peer({10, 0, 0, 1, 0, 0}));          // port 0
  CHECK_FALSE(is_peer({0, 0, 0, 0, 0, 80}));          // any
  CHECK_FALSE(is_peer({224, 0, 0, 1, 0, 80}));        // multicast
  CHECK_FALSE(is_peer({239, 255, 255, 255, 0, 80}));  // multicast
  CHECK_FALSE(is_peer({255, 255, 255, 255, 0, 80}));  // broadcast
  Bytes v6(18, 0);
  v6[17] = 80;
  CHECK_FALSE(is_peer(v6));  // any
  v6[0] = 0xff;
  CHECK_FALSE(is_peer(v6));  // multicast
  v6[0] = 0x20;
  CHECK(is_peer(v6));
  const Bytes mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1, 0, 80};
  CHECK_FALSE(is_peer(mapped));
  for (std::size_t size = 0; size < 40; ++size)
    if (size != 6 && size != 18) CHECK_FALSE(is_peer(Bytes(size, 1)));
}

TEST_CASE("fields of another type, missing, added or under another number are refused") {
  const std::vector<std::vector<Write>> messages = {announce_fields(), lookup_fields(),
                                                    handout_fields(),  refusal_fields(),
                                                    watch_fields(),    report_fields()};
  for (const auto& fields : messages) {
    CHECK(decode(written(array(fields))).has_value());
    for (std::size_t field = 0; field < fields.size(); ++field) {
      CHECK_FALSE(is_read(fields, field, nil()));
      CHECK_FALSE(is_read(fields, field, map_of(number(1), number(1))));
      CHECK_FALSE(is_read(fields, field, array({number(1)})));
      auto missing = fields;
      missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(field));
      CHECK_FALSE(decode(written(array(missing))).has_value());
    }
    auto added = fields;
    added.push_back(number(0));
    CHECK_FALSE(decode(written(array(added))).has_value());
    for (const std::uint64_t unknown : {0, 7, 127, 255})
      CHECK_FALSE(is_read(fields, 0, number(unknown)));
  }
  CHECK_FALSE(decode(written(array({}))).has_value());
  CHECK_FALSE(decode(written(map_of(number(1), binary(kSomeSwarm)))).has_value());
  CHECK_FALSE(decode(Bytes{}).has_value());
}

TEST_CASE("a longer spelling of a value is refused") {
  Bytes bytes = written(array(lookup_fields()));
  REQUIRE(decode(bytes).has_value());
  REQUIRE(bytes.back() == 8);
  bytes.back() = 0xcc;  // 8 as an integer of one byte of its own
  bytes.push_back(8);
  CHECK_FALSE(decode(bytes).has_value());
}

TEST_CASE("deep nesting and claims of 2^32-1 elements are refused") {
  Bytes deep(100'000, 0x91);
  CHECK_FALSE(decode(deep).has_value());
  for (const std::uint8_t tag : {0xdd, 0xdf, 0xc6, 0xdb}) {
    Bytes bytes = written(array(announce_fields()));
    bytes.erase(bytes.end() - 17, bytes.end());  // from the advertised list on
    bytes.insert(bytes.end(), {tag, 0xff, 0xff, 0xff, 0xff, 1, 2, 3});
    CHECK_FALSE(decode(bytes).has_value());
  }
}

TEST_CASE("a message over the size limit is refused unread") {
  const auto refused = decode(Bytes(kMaxTrackerMessageBytes + 1, 0xc0));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ErrorCode::kLimit);
}
