#include "net/wire_message.h"

#include <catch2/catch.hpp>

using namespace p2p;

TEST_CASE("messages of both families keep their family on the wire") {
  const net::WireMessage announce = tracker::Message(tracker::Lookup{SwarmId{}, 5});
  const net::WireMessage swarm = peer::Message(peer::Request{7});
  CHECK(net::encode_wire(announce).front() == 1);
  CHECK(net::encode_wire(swarm).front() == 2);
  CHECK(*net::decode_wire(net::encode_wire(announce)) == announce);
  CHECK(*net::decode_wire(net::encode_wire(swarm)) == swarm);
}

TEST_CASE("no family, an unknown family and garbage are refused") {
  CHECK_FALSE(net::decode_wire({}).has_value());
  for (int family = 0; family < 256; ++family) {
    const Bytes body = {static_cast<std::uint8_t>(family), 0xc0};
    CHECK_FALSE(net::decode_wire(body).has_value());
  }
}
