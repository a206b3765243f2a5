// Peers and places by number, for tests of the peer book.
#pragma once

#include <cstdint>
#include <vector>

#include "base/endpoint.h"
#include "base/id.h"

namespace p2p::peer {

inline PeerId peer_id(std::uint32_t number) {
  PeerId id;
  put_u32(id.bytes.data(), number);
  return id;
}

inline Endpoint place(std::uint32_t number) {
  std::uint8_t bytes[4];
  put_u32(bytes, 0x0a000000 + number);
  return {*IpAddress::from_bytes(bytes), 7000};
}

inline std::vector<Endpoint> places(std::uint32_t from, std::uint32_t count) {
  std::vector<Endpoint> all;
  for (std::uint32_t i = 0; i < count; ++i) all.push_back(place(from + i));
  return all;
}

}  // namespace p2p::peer
