// Where trackers share what they know: the URL of a redis server.
#pragma once

#include <string>
#include <string_view>

#include "base/endpoint.h"
#include "base/result.h"

namespace p2p::net {

inline constexpr std::size_t kMaxStorePasswordBytes = 512;
inline constexpr unsigned kMaxStoreDatabase = 1'000'000;

struct StoreAddress {
  HostPort where;
  std::string user;      // empty: the server's default one
  std::string password;  // empty: none is given
  unsigned database = 0;

  // redis://HOST:PORT, redis://:PASSWORD@HOST:PORT/DATABASE, redis://USER:PASSWORD@HOST:PORT, or
  // redis://USER@HOST:PORT where the password comes from elsewhere. What has a meaning in a URL
  // stands in user and password as %XX. kUsage; the text quotes nothing of the URL.
  static Result<StoreAddress> parse(std::string_view url);
  // The URL without user and password: for logs.
  std::string to_string() const;
  // By its text, unasked: at a loopback address?
  bool is_loopback() const;
};

}  // namespace p2p::net
