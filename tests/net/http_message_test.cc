#include "net/http_message.h"

#include <unistd.h>

#include <catch2/catch.hpp>

using namespace p2p::net;

namespace {

constexpr HttpRange kWhole{};
constexpr HttpRange kUnsatisfiable{HttpRange::Kind::kUnsatisfiable};

HttpRange part(std::uint64_t first, std::uint64_t length) {
  return {HttpRange::Kind::kPart, first, length};
}

}  // namespace

TEST_CASE("a range names a part by its first and last byte, from one on, or the last so many") {
  CHECK(parse_range("bytes=0-0", 10) == part(0, 1));
  CHECK(parse_range("bytes=2-5", 10) == part(2, 4));
  CHECK(parse_range("bytes=7-", 10) == part(7, 3));
  CHECK(parse_range("bytes=-3", 10) == part(7, 3));
  CHECK(parse_range(" bytes= 2 - 5 ", 10) == part(2, 4));
}

TEST_CASE("a range ends where the body does, however far it reaches") {
  CHECK(parse_range("bytes=8-99", 10) == part(8, 2));
  CHECK(parse_range("bytes=8-99999999999999999999999", 10) == part(8, 2));
  CHECK(parse_range("bytes=-99", 10) == part(0, 10));
  CHECK(parse_range("bytes=0-18446744073709551615", UINT64_MAX) == part(0, UINT64_MAX));
}

TEST_CASE("a range of which the body has nothing cannot be satisfied") {
  for (const char* header :
       {"bytes=10-", "bytes=10-11", "bytes=99999999999999999999999-", "bytes=-0"})
    CHECK(parse_range(header, 10) == kUnsatisfiable);
  for (const char* header : {"bytes=0-", "bytes=0-5", "bytes=-5"})
    CHECK(parse_range(header, 0) == kUnsatisfiable);
}

TEST_CASE("without a range, with several, and with one that makes no sense it is the whole body") {
  for (const char* header : {"", "bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "bytes=a-b",
                             "bytes=1", "bytes=0x1-5", "bytes=--5", "chunks=0-1", "bytes=1-2-3"})
    CHECK(parse_range(header, 10) == kWhole);
}

TEST_CASE("Content-Range says which part it is, and of how much") {
  CHECK(content_range(part(2, 4), 10) == "bytes 2-5/10");
  CHECK(content_range(kUnsatisfiable, 10) == "bytes */10");
}

TEST_CASE("an address is decoded once, and only where it is well-formed") {
  CHECK(decode_url("/a%20b/%C3%A9") == "/a b/\xC3\xA9");
  CHECK(decode_url("/a+b") == "/a+b");
  CHECK(decode_url("/%252e") == "/%2e");
  for (const char* text : {"/%", "/%4", "/%4g", "/%zz", "/a%00b"}) CHECK(!decode_url(text));
}

TEST_CASE("a browser may ask by address, by localhost and by this host's name alone") {
  char own[256] = {};
  REQUIRE(gethostname(own, sizeof own - 1) == 0);
  for (const std::string host : {"127.0.0.1:9090", "[::1]:9090", "[::1]", "10.1.2.3", "localhost",
                                 "LocalHost:1", "a.localhost"})
    CHECK(is_own_host(host, {}));
  CHECK(is_own_host(std::string(own) + ":80", {}));
  CHECK(is_own_host(std::string(own) + ".example.net", {}));
  CHECK(is_own_host("", {}));
  for (const std::string host : {"evil.example", "evil.example:9090", "127.0.0.1.evil.example",
                                 "localhost.evil.example", "[::1", "[evil]:1"})
    CHECK_FALSE(is_own_host(host, {}));
}

TEST_CASE("names by which it may be asked can be added, or all be allowed") {
  CHECK(is_own_host("Tracker.Example:80", {"tracker.example"}));
  CHECK_FALSE(is_own_host("other.example", {"tracker.example"}));
  CHECK(is_own_host("other.example", {"*"}));
}
