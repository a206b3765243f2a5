#include "net/redis_framing.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using p2p::net::kMaxRedisLineBytes;
using p2p::net::kMaxRedisReplyBytes;
using p2p::net::kMaxRedisReplyValues;
using p2p::net::RedisFraming;
using State = RedisFraming::State;

namespace {

// The lengths of the replies in it, given so many bytes at a time; a last 0: malformed.
std::vector<std::size_t> lengths(std::string_view text, std::size_t at_once) {
  RedisFraming framing;
  std::vector<std::size_t> found;
  while (!text.empty()) {
    std::size_t taken = 0;
    const State state = framing.take(text.substr(0, at_once), taken);
    if (state == State::kMalformed) {
      found.push_back(0);
      return found;
    }
    if (state == State::kComplete) found.push_back(framing.bytes());
    text.remove_prefix(taken);
  }
  return found;
}

bool is_too_large(std::string_view text) {
  RedisFraming framing;
  std::size_t taken = 0;
  REQUIRE(framing.take(text, taken) != State::kMalformed);
  return framing.too_large();
}

std::string value_of(std::size_t bytes) {
  return "$" + std::to_string(bytes) + "\r\n" + std::string(bytes, 'x') + "\r\n";
}

}  // namespace

TEST_CASE("replies are told apart, however they are cut") {
  const std::string replies[] = {"+OK\r\n",
                                 "-ERR something that has more than a few words to say\r\n",
                                 ":-12\r\n",
                                 "$-1\r\n",
                                 "$0\r\n\r\n",
                                 "$6\r\na\r\n$1b\r\n",
                                 "*0\r\n",
                                 "*-1\r\n",
                                 "*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n*1\r\n:1\r\n$1\r\nb\r\n"};
  std::string text;
  std::vector<std::size_t> expected;
  for (const std::string& reply : replies) {
    text += reply;
    expected.push_back(reply.size());
  }
  for (std::size_t at_once = 1; at_once <= text.size(); ++at_once)
    CHECK(lengths(text, at_once) == expected);
}

TEST_CASE("what is no reply of RESP 2 is told") {
  for (const std::string text :
       {"HTTP/1.1 400\r\n", "\r\n", "$x\r\n", "$\r\n", "$-7\r\n", "*99999999999999999\r\n",
        "$1 \r\n", "%1\r\n", "*1\r\n_\r\n", "$00000000000000000000000000000000000001\r\na\r\n"}) {
    CHECK(lengths(text, 1) == std::vector<std::size_t>{0});
    CHECK(lengths(text, text.size()) == std::vector<std::size_t>{0});
  }
  CHECK(lengths("+" + std::string(kMaxRedisLineBytes, 'x') + "\r\n", 1000).back() == 0);
}

TEST_CASE("a value that is too large is told before its bytes come") {
  CHECK_FALSE(is_too_large("$16000000\r\n"));
  CHECK(is_too_large("$16777216\r\n"));
  CHECK(is_too_large("*2\r\n$1\r\na\r\n$536870912\r\nx"));
}

TEST_CASE("what the values of a reply have together counts, not of two replies") {
  const std::string half = value_of(kMaxRedisReplyBytes / 2);
  CHECK(is_too_large("*2\r\n" + half + half));
  CHECK(lengths(half + half, half.size()) == std::vector<std::size_t>(2, half.size()));
  RedisFraming framing;
  std::size_t taken = 0;
  const std::string large = value_of(kMaxRedisReplyBytes);
  REQUIRE(framing.take(large, taken) == State::kComplete);
  CHECK(framing.too_large());
  REQUIRE(framing.take(half, taken) == State::kComplete);
  CHECK_FALSE(framing.too_large());
}

TEST_CASE("the values of a reply are counted as they are announced") {
  CHECK_FALSE(is_too_large("*" + std::to_string(kMaxRedisReplyValues - 1) + "\r\n"));
  CHECK(is_too_large("*" + std::to_string(kMaxRedisReplyValues) + "\r\n"));
  const std::string half = "*" + std::to_string(kMaxRedisReplyValues / 2) + "\r\n";
  CHECK(is_too_large("*" + std::to_string(kMaxRedisReplyValues / 2) + "\r\n" + half));
}
