#include <catch2/catch.hpp>

#include "base/random.h"
#include "peer/messages.h"
#include "tests/peer/probe.h"

using namespace p2p;
using namespace p2p::peer;

namespace {

SwarmId swarm_id(std::uint8_t fill) {
  SwarmId id;
  id.bytes.fill(fill);
  return id;
}

std::vector<Message> one_of_each() {
  return {Join{kProtocolVersion, swarm_id(7), 6881, ""},
          Join{kProtocolVersion, swarm_id(7), 0, "row-3/rack-17"},
          ManifestRequest{262144},
          ManifestPart{300000, 262144, Bytes(1000, 3)},
          ManifestPart{},
          Chunks{Bitfield(1000)},
          Chunks{Bitfield(1000, true)},
          Chunks{Bitfield(0)},
          Chunks{bits(1001, {0, 7, 8, 1000})},
          Have{{1, 70000, kMaxChunks - 1}, 4},
          Have{},
          Lost{{5}},
          Request{12},
          Request{kAnyChunk},
          Give{300, 9},
          Cancel{kAnyChunk},
          Cancel{0},
          Reject{kAnyChunk, RejectReason::kNotHere},
          Reject{8, RejectReason::kSourceChanged},
          Peers{{*Endpoint::parse("1.2.3.4:80"), *Endpoint::parse("[2001:db8::1]:443")}},
          Peers{},
          Bye{ByeReason::kViolation, "chunk 9 is out of range"},
          OutlineRequest{262144},
          OutlinePart{300000, 262144, Bytes(1000, 3)},
          OutlinePart{},
          DetailRequest{70000, kMaxGroupsInDetail},
          DetailPart{3, 2, Bytes(40, 1)},
          DetailPart{3, 2, {}},
          Partial{},
          Partial{{{7, {{0, 5}, {6, 100}, {3000, 1}}}, {9, {{65536, 70000}}}, {8, {}}}}};
}

Message random_message(Random& random) {
  const auto number = [&](std::uint64_t bound) {
    return static_cast<std::uint32_t>(random.below(random.chance(0.5) ? bound : bound % 200 + 1));
  };
  const auto list = [&] {
    std::vector<ChunkIndex> chunks(random.below(50));
    for (ChunkIndex& chunk : chunks) chunk = number(kMaxChunks);
    return chunks;
  };
  switch (random.below(11)) {
    case 0: {
      Bitfield have(number(5000));
      for (ChunkIndex i = 0; i < have.size(); ++i)
        if (random.chance(0.5)) have.set(i);
      return Chunks{have};
    }
    case 1:
      return Have{list(), number(UINT32_MAX)};
    case 2:
      return Lost{list()};
    case 3:
      return Request{random.chance(0.3) ? kAnyChunk : number(kMaxChunks)};
    case 4:
      return Give{number(kMaxChunks), number(UINT32_MAX)};
    case 5: {
      Peers peers;
      for (std::uint64_t i = random.below(kMaxPeersInMessage + 1); i > 0; --i) {
        std::uint8_t address[16];
        for (auto& byte : address) byte = static_cast<std::uint8_t>(random.next());
        peers.endpoints.push_back(
            {*IpAddress::from_bytes(ByteView(address, random.chance(0.5) ? 4 : 16)),
             static_cast<std::uint16_t>(random.next())});
      }
      return peers;
    }
    case 7: {
      Partial partial;
      for (std::uint64_t i = random.below(20); i > 0; --i) {
        PartialChunk chunk{number(kMaxChunks), {}};
        std::uint32_t at = number(1000);
        for (std::uint64_t j = random.below(20); j > 0; --j) {
          chunk.missing.push_back({at, 1 + number(100'000)});
          at += chunk.missing.back().bytes + 1 + number(50'000);
        }
        partial.chunks.push_back(std::move(chunk));
      }
      return partial;
    }
    case 8:
      return DetailRequest{number(1'000'000),
                           1 + static_cast<std::uint32_t>(random.below(kMaxGroupsInDetail))};
    case 9:
      return DetailPart{number(1'000'000),
                        1 + static_cast<std::uint32_t>(random.below(kMaxGroupsInDetail)),
                        Bytes(random.below(2000), 1)};
    case 6:
      return Reject{number(kMaxChunks), static_cast<RejectReason>(1 + random.below(4))};
    default: {
      const std::uint32_t total = 1 + number(kMaxManifestBytes);
      Bytes data(std::min<std::size_t>(total, random.below(2000)), 1);
      const auto offset = static_cast<std::uint32_t>(random.below(total - data.size() + 1));
      return ManifestPart{total, offset, std::move(data)};
    }
  }
}

bool refused(const Bytes& bytes) { return !decode(bytes).has_value(); }

Bytes with_endpoint(const Bytes& endpoint) {
  Bytes bytes = {0x92, 11, 0x91, 0xc4, static_cast<std::uint8_t>(endpoint.size())};
  for (std::uint8_t byte : endpoint) bytes.push_back(byte);
  return bytes;
}

}  // namespace

TEST_CASE("every message comes back as it was") {
  for (const Message& message : one_of_each()) {
    const auto decoded = decode(encode(message));
    REQUIRE(decoded.has_value());
    CHECK(*decoded == message);
  }
}

TEST_CASE("the number of a message is its place, from 1") {
  CHECK(encode(Join{})[1] == 1);
  CHECK(encode(Chunks{})[1] == 4);
  CHECK(encode(Bye{})[1] == 12);
  CHECK(encode(Partial{})[1] == 17);
}

TEST_CASE("ranges that are empty, touch, lead past a chunk or are too many are refused") {
  // Array of number 17 and one chunk: its index, then pairs of what is left out and what is lacked.
  const auto of_pairs = [](const Bytes& pairs) {
    Bytes bytes = {0x92, 17, 0x91, static_cast<std::uint8_t>(0x91 + pairs.size()), 5};
    bytes.insert(bytes.end(), pairs.begin(), pairs.end());
    return bytes;
  };
  CHECK_FALSE(refused(of_pairs({0, 5, 1, 5})));
  CHECK_FALSE(refused(of_pairs({})));
  CHECK(refused(of_pairs({0, 0})));
  CHECK(refused(of_pairs({0, 5, 0, 5})));
  CHECK(refused(of_pairs({0, 5, 1})));
  CHECK(refused(encode(Partial{{{5, {{kMaxChunkBytes - 1, 2}}}}})));
  CHECK(refused(encode(Partial{{{5, {{0, kMaxChunkBytes}}}}})));
  Partial many{{{5, {}}}};
  for (std::uint32_t i = 0; i <= kMaxRangesOfChunk; ++i)
    many.chunks[0].missing.push_back({2 * i, 1});
  CHECK(refused(encode(many)));
  many.chunks[0].missing.pop_back();
  CHECK_FALSE(refused(encode(many)));
  while (many.chunks.size() <= kMaxRangesInPartial / kMaxRangesOfChunk)
    many.chunks.push_back(many.chunks[0]);
  CHECK(refused(encode(many)));
}

TEST_CASE("details of no group, of too many, or that are too long are refused") {
  CHECK(refused(encode(DetailRequest{0, 0})));
  CHECK(refused(encode(DetailRequest{0, kMaxGroupsInDetail + 1})));
  CHECK(refused(encode(DetailPart{0, 1, Bytes(kMaxDetailBytes + 1)})));
  CHECK(refused(encode(OutlinePart{10, 5, Bytes(6)})));
  CHECK(refused(encode(OutlinePart{kMaxOutlineBytes + 1, 0, Bytes(6)})));
}

TEST_CASE("random messages come back as they were") {
  const std::uint64_t seed = 11;
  CAPTURE(seed);
  Random random(seed);
  for (int i = 0; i < 2000; ++i) {
    const Message message = random_message(random);
    const auto decoded = decode(encode(message));
    REQUIRE(decoded.has_value());
    REQUIRE(*decoded == message);
  }
}

TEST_CASE("a message cut at any offset, or with a byte after it, is refused") {
  for (const Message& message : one_of_each()) {
    Bytes bytes = encode(message);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      REQUIRE_FALSE(decode(ByteView(bytes).first(size)).has_value());
    bytes.push_back(0);
    REQUIRE(refused(bytes));
  }
}

TEST_CASE("a mutated message is refused or is another message with one encoding") {
  const std::uint64_t seed = 12;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 200; ++round) {
    for (const Message& message : one_of_each()) {
      Bytes bytes = encode(message);
      for (std::uint64_t i = 1 + random.below(3); i > 0; --i)
        bytes[random.below(bytes.size())] = static_cast<std::uint8_t>(random.next());
      const auto decoded = decode(bytes);
      if (decoded) REQUIRE(encode(*decoded) == bytes);
    }
  }
}

TEST_CASE("unknown numbers, other shapes and wrong types are refused") {
  CHECK(refused({}));
  CHECK(refused({0x90}));                // []
  CHECK(refused({0x91, 0}));             // [0]
  CHECK(refused({0x92, 18, 0}));         // [18, 0]
  CHECK(refused({0x80}));                // {}
  CHECK(refused({0x07}));                // 7
  CHECK(refused({0x91, 7}));             // Request without its chunk
  CHECK(refused({0x93, 7, 1, 1}));       // Request with one element too many
  CHECK(refused({0x92, 7, 0xff}));       // chunk -1
  CHECK(refused({0x92, 7, 0xa1, '1'}));  // chunk "1"
  CHECK(refused({0x92, 7, 0xcc, 1}));    // 1 in two bytes
  CHECK_FALSE(refused({0x92, 7, 1}));
  CHECK(refused({0x92, 0xa1, '7', 1}));       // number "7"
  CHECK(refused({0x93, 10, 1, 0}));           // reject without a reason
  CHECK(refused({0x93, 10, 1, 5}));           // with an unknown one
  CHECK(refused({0x93, 12, 11, 0xa0}));       // bye with an unknown one
  CHECK(refused({0x93, 12, 1, 0xa1, '\n'}));  // text that is not printable
  CHECK_FALSE(refused({0x93, 12, 1, 0xa1, 'x'}));
}

TEST_CASE("chunk indexes and lists over the limits are refused") {
  CHECK(refused(encode(Request{kMaxChunks})));
  CHECK(refused(encode(Request{kAnyChunk - 1})));
  CHECK(refused(encode(Give{kAnyChunk, 0})));
  CHECK(refused(encode(Have{{kAnyChunk}, 0})));
  CHECK_FALSE(refused(encode(Have{std::vector<ChunkIndex>(kMaxChunksInHave, 1), 0})));
  CHECK(refused(encode(Have{std::vector<ChunkIndex>(kMaxChunksInHave + 1, 1), 0})));
  CHECK(refused(encode(Lost{std::vector<ChunkIndex>(kMaxChunksInHave + 1, 1)})));
  CHECK(refused(encode(Bye{ByeReason::kStopping, std::string(kMaxByeTextBytes + 1, 'x')})));
  const Peers many{std::vector<Endpoint>(kMaxPeersInMessage + 1, *Endpoint::parse("1.2.3.4:5"))};
  CHECK(refused(encode(many)));
}

TEST_CASE("a zone is printable ASCII without spaces, of up to 64 bytes") {
  const auto is_read = [](const std::string& zone) {
    return !refused(encode(Join{kProtocolVersion, swarm_id(7), 1, zone}));
  };
  CHECK(is_read(""));
  CHECK(is_read("!~"));
  CHECK(is_read(std::string(kMaxZoneBytes, 'z')));
  CHECK_FALSE(is_read(std::string(kMaxZoneBytes + 1, 'z')));
  for (const char* hostile : {"rack 7", "\n", "\x1b[2J", "\x7f", "\xc3\xa9"})
    CHECK_FALSE(is_read(hostile));
}

TEST_CASE("manifest parts that lie past their own end or the limit are refused") {
  CHECK_FALSE(refused(encode(ManifestPart{100, 90, Bytes(10)})));
  CHECK(refused(encode(ManifestPart{100, 91, Bytes(10)})));
  CHECK(refused(encode(ManifestPart{100, 0xffffffff, Bytes(10)})));
  CHECK(refused(encode(ManifestPart{5, 0, Bytes(10)})));
  CHECK(refused(encode(ManifestPart{kMaxManifestBytes + 1, 0, Bytes(10)})));
  CHECK(refused(encode(ManifestPart{kMaxManifestBytes, 0, Bytes(kMaxManifestPartBytes + 1)})));
  CHECK(refused(encode(ManifestRequest{kMaxManifestBytes + 1})));
}

TEST_CASE("a bitfield has one form, of the right length and without spare bits") {
  CHECK_FALSE(refused({0x94, 4, 12, 2, 0xc4, 2, 0x80, 0x10}));
  CHECK(refused({0x94, 4, 12, 2, 0xc4, 2, 0x80, 0x08}));        // a spare bit
  CHECK(refused({0x94, 4, 12, 2, 0xc4, 1, 0x80}));              // a byte short
  CHECK(refused({0x94, 4, 12, 2, 0xc4, 3, 0x80, 0x10, 0x00}));  // a byte long
  CHECK(refused({0x94, 4, 12, 2, 0xc4, 2, 0x00, 0x00}));        // none, spelt out
  CHECK(refused({0x94, 4, 12, 2, 0xc4, 2, 0xff, 0xf0}));        // all, spelt out
  CHECK(refused({0x94, 4, 12, 0, 0xc4, 1, 0x00}));              // none, with bits
  CHECK(refused({0x94, 4, 12, 3, 0xc4, 0}));                    // an unknown form
  CHECK(refused({0x94, 4, 0, 1, 0xc4, 0}));                     // all of nothing
  // 2^21 + 1 chunks, and 2^32 - 1.
  CHECK(refused({0x94, 4, 0xce, 0x00, 0x20, 0x00, 0x01, 1, 0xc4, 0}));
  CHECK(refused({0x94, 4, 0xce, 0xff, 0xff, 0xff, 0xff, 1, 0xc4, 0}));
  CHECK_FALSE(refused({0x94, 4, 0xce, 0x00, 0x20, 0x00, 0x00, 1, 0xc4, 0}));
}

TEST_CASE("an endpoint has 6 or 18 bytes, and an IPv4 address is not spelt in 16") {
  CHECK_FALSE(refused(with_endpoint({1, 2, 3, 4, 0, 80})));
  CHECK(refused(with_endpoint({1, 2, 3, 4, 0})));
  CHECK(refused(with_endpoint({})));
  CHECK(refused(with_endpoint(Bytes(19, 1))));
  CHECK_FALSE(refused(with_endpoint(Bytes(18, 1))));
  CHECK(refused(with_endpoint({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4, 0, 80})));
}

TEST_CASE("claims of 2^32-1 elements or bytes are refused") {
  CHECK(refused({0x93, 5, 0xdd, 0xff, 0xff, 0xff, 0xff, 0}));
  CHECK(refused({0x94, 3, 1, 0, 0xc6, 0xff, 0xff, 0xff, 0xff}));
}
