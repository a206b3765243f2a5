#include "base/endpoint.h"

#include <catch2/catch.hpp>

using namespace p2p;

TEST_CASE("endpoints of both families survive being written and read") {
  for (const char* text : {"1.2.3.4:80", "[::1]:65535", "[2001:db8::7]:1", "0.0.0.0:0"})
    CHECK(Endpoint::parse(text)->to_string() == text);
}

TEST_CASE("an IPv4 address has one value, mapped or not") {
  CHECK(*IpAddress::parse("::ffff:10.0.0.1") == *IpAddress::parse("10.0.0.1"));
  CHECK(IpAddress::parse("::ffff:10.0.0.1")->wire_bytes().size() == 4);
}

TEST_CASE("nobody can be dialled at port 0, any, multicast or broadcast") {
  CHECK_FALSE(Endpoint::parse("10.0.0.1:0")->is_dialable());
  CHECK_FALSE(Endpoint::parse("0.0.0.0:5")->is_dialable());
  CHECK_FALSE(Endpoint::parse("[::]:5")->is_dialable());
  CHECK_FALSE(Endpoint::parse("224.0.0.1:5")->is_dialable());
  CHECK_FALSE(Endpoint::parse("255.255.255.255:5")->is_dialable());
  CHECK_FALSE(Endpoint::parse("[ff02::1]:5")->is_dialable());
  CHECK(Endpoint::parse("[fe80::1]:5")->is_dialable());
}

TEST_CASE("a host and port parts at the last colon") {
  CHECK(HostPort::parse("example.org:7")->host == "example.org");
  CHECK(HostPort::parse("2001:db8::1:4000")->to_string() == "[2001:db8::1]:4000");
  for (const char* text : {"", ":", "host", "host:", ":80", "host:65536", "host:-1", "host: 80",
                           "a b:80", "[::1]80", "[::1:80", "[zz]:80", "host:+80", "host/x:80"})
    CHECK_FALSE(HostPort::parse(text).has_value());
}
