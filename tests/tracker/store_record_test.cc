#include "tracker/store_record.h"

#include <catch2/catch.hpp>

#include "base/canonical_msgpack.h"
#include "tests/tracker/support.h"

using namespace p2p;
using namespace p2p::tracker;
using namespace p2p::tracker::test;

namespace {

StoreRecord a_record() {
  StoreRecord record;
  record.writer = 0x1122334455667788;
  record.swarm = swarm_id(1);
  record.peer = {peer_id(2), endpoint("192.0.2.1:40001"), true, "rack-7"};
  record.expires_ms = 1'764'000'000'000;
  return record;
}

void check_round_trip(const StoreMessage& message) {
  const auto decoded = decode_store_message(encode(message));
  REQUIRE(decoded.has_value());
  CHECK(*decoded == message);
}

std::string problem_of(const StoreMessage& message) {
  const auto decoded = decode_store_message(encode(message));
  return decoded ? "" : decoded.error().message;
}

}  // namespace

TEST_CASE("a record is what it was after its way through the store") {
  StoreRecord record = a_record();
  check_round_trip(record);
  record.peer.zone.clear();
  record.peer.complete = false;
  record.peer.endpoint = endpoint("[2001:db8::1]:40000");
  check_round_trip(record);
  record.peer.endpoint.port = 0;
  check_round_trip(record);
  record.writer = 0;
  record.expires_ms = 0;
  check_round_trip(record);
  check_round_trip(StoreRemoval{7, swarm_id(3), peer_id(4)});
}

TEST_CASE("the largest record is within its limit") {
  StoreRecord record = a_record();
  record.writer = UINT64_MAX;
  record.peer.endpoint = endpoint("[2001:db8::1]:40000");
  record.peer.zone = std::string(kMaxZoneBytes, 'z');
  record.expires_ms = kMaxStoreTimeMs;
  check_round_trip(record);
  CHECK(encode(record).size() == 175);
  CHECK(encode(record).size() <= kMaxStoreRecordBytes);
}

TEST_CASE("a record where nobody can be is refused") {
  StoreRecord record = a_record();
  for (const char* nowhere : {"0.0.0.0:1", "224.0.0.1:4000", "255.255.255.255:4000", "[::]:4000"}) {
    record.peer.endpoint = endpoint(nowhere);
    CHECK(problem_of(record).find("nobody can be at") != std::string::npos);
  }
}

TEST_CASE("a record with a zone or a time out of bounds is refused") {
  StoreRecord record = a_record();
  record.peer.zone = std::string(kMaxZoneBytes + 1, 'z');
  CHECK(problem_of(record).find("zone") != std::string::npos);
  record.peer.zone = "two words";
  CHECK(problem_of(record).find("zone") != std::string::npos);
  record = a_record();
  record.expires_ms = kMaxStoreTimeMs + 1;
  CHECK(problem_of(record).find("expires_ms") != std::string::npos);
}

TEST_CASE("what is longer than a record is refused unread") {
  const Bytes bytes(kMaxStoreRecordBytes + 1, 0x91);
  const auto decoded = decode_store_message(bytes);
  REQUIRE_FALSE(decoded.has_value());
  CHECK(decoded.error().code == ErrorCode::kLimit);
}

TEST_CASE("a record that is cut, or followed by something, is refused") {
  for (const StoreMessage& message :
       {StoreMessage(a_record()), StoreMessage(StoreRemoval{7, swarm_id(3), peer_id(4)})}) {
    Bytes bytes = encode(message);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      CHECK_FALSE(decode_store_message(ByteView(bytes).first(size)).has_value());
    bytes.push_back(0);
    CHECK_FALSE(decode_store_message(bytes).has_value());
  }
}

TEST_CASE("other numbers and counts of elements are refused") {
  for (const std::uint64_t number : {0, 1, 2, 3}) {
    for (const std::uint32_t elements : {0, 1, 3, 5, 7, 9}) {
      Bytes bytes;
      CanonicalWriter writer(bytes, kMaxStoreRecordBytes);
      writer.array(elements);
      writer.uint(number);
      for (std::uint32_t i = 1; i < elements; ++i) writer.uint(i);
      writer.finish();
      CHECK_FALSE(decode_store_message(bytes).has_value());
    }
  }
}

TEST_CASE("changed bytes of a record are refused or are another record") {
  Random random(1);
  const Bytes original = encode(a_record());
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes = original;
    for (std::uint64_t changes = 1 + random.below(3); changes > 0; --changes)
      bytes[random.below(bytes.size())] = static_cast<std::uint8_t>(random.next());
    const auto decoded = decode_store_message(bytes);
    if (decoded) CHECK(encode(*decoded) == bytes);
  }
}
