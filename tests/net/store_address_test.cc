#include "net/store_address.h"

#include <catch2/catch.hpp>

using namespace p2p;
using net::StoreAddress;

namespace {

StoreAddress parsed(const std::string& url) {
  auto address = StoreAddress::parse(url);
  INFO(url);
  REQUIRE(address.has_value());
  return *address;
}

}  // namespace

TEST_CASE("a store's URL has a host and a port, and may have user, password and database") {
  const StoreAddress plain = parsed("redis://store.example:6379");
  CHECK(plain.where == HostPort{"store.example", 6379});
  CHECK(plain.user.empty());
  CHECK(plain.password.empty());
  CHECK(plain.database == 0);
  const StoreAddress full = parsed("redis://me:a%40b%2Fc%25@[::1]:7000/12");
  CHECK(full.where == HostPort{"::1", 7000});
  CHECK(full.user == "me");
  CHECK(full.password == "a@b/c%");
  CHECK(full.database == 12);
  CHECK(parsed("redis://:word@127.0.0.1:1/").database == 0);
  CHECK(parsed("redis://me@127.0.0.1:1").user == "me");
  CHECK(parsed("redis://:an@at@127.0.0.1:1").password == "an@at");
}

TEST_CASE("what a person sees of a store's URL has neither user nor password") {
  CHECK(parsed("redis://me:s3cret@127.0.0.1:1/3").to_string() == "redis://127.0.0.1:1/3");
  for (const char* url :
       {"redis://me:s3cret", "redis://me:s3cret/0", "s3cret", "redis://s3cret@h",
        "redis://:s3%0acret@h:1", "redis://me:s3cret@nowhere", "redis://:s3cret%@h:1",
        "redis://:s3cret@h:1/x", "rediss://:s3cret@h:1"}) {
    const auto refused = StoreAddress::parse(url);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == ErrorCode::kUsage);
    CHECK(refused.error().message.find("s3cret") == std::string::npos);
    CHECK(refused.error().message.find("PASSWORD@") == std::string::npos);
  }
}

TEST_CASE("no store's URL") {
  for (const char* url :
       {"", "redis", "redis://", "redis://:1", "http://h:1", "redis://h", "redis://h:0x1",
        "redis://h:99999", "redis://u:p%00@h:1", "redis://u%0D:p@h:1", "redis://:p%7f@h:1",
        "redis://:%@h:1", "redis://:%4@h:1", "redis://:%+1@h:1", "redis://h:1/-1",
        "redis://h:1/1000001", "redis://h:1/1/2"}) {
    INFO(url);
    CHECK_FALSE(StoreAddress::parse(url).has_value());
  }
  const std::string longest(net::kMaxStorePasswordBytes, 'x');
  CHECK(StoreAddress::parse("redis://:" + longest + "@h:1").has_value());
  CHECK_FALSE(StoreAddress::parse("redis://:" + longest + "x@h:1").has_value());
}

TEST_CASE("a store at a loopback address is on this host") {
  CHECK(parsed("redis://127.0.0.1:1").is_loopback());
  CHECK(parsed("redis://[::1]:1").is_loopback());
  CHECK(parsed("redis://localhost:1").is_loopback());
  CHECK_FALSE(parsed("redis://192.0.2.1:1").is_loopback());
  CHECK_FALSE(parsed("redis://store.example:1").is_loopback());
}
