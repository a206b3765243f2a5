#include "net/json_text.h"

#include <catch2/catch.hpp>
#include <limits>
#include <nlohmann/json.hpp>

using namespace p2p::net;

TEST_CASE("values stand one after another with commas where they belong") {
  JsonWriter json;
  json.begin_object().field("a", 1u).key("b").begin_array().value("x").value(true).null();
  json.begin_object().end_object().begin_array().end_array().value(0.5).end_array();
  json.field("c", std::numeric_limits<double>::infinity()).end_object();
  CHECK(json.take() == R"({"a":1,"b":["x",true,null,{},[],0.5],"c":null})");
}

TEST_CASE("any bytes are a string that another parser reads") {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  JsonWriter json;
  json.begin_array().value(all).value("a\"\\\n\x7f\xC3\xA9").end_array();
  const auto parsed = nlohmann::json::parse(json.take());
  CHECK(parsed[1] == "a\"\\\n\x7f\xC3\xA9");
  CHECK(parsed[0].get<std::string>().substr(0, 128) == all.substr(0, 128));
}

TEST_CASE("what is no UTF-8 is replaced byte by byte, and what is stays") {
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(valid_utf8("a\xFF"
                   "b") == "a" + bad + "b");
  CHECK(valid_utf8("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80") ==
        "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80");
  CHECK(valid_utf8("\xC3") == bad);                                // cut short
  CHECK(valid_utf8("\xC0\x80") == bad + bad);                      // too long for what it says
  CHECK(valid_utf8("\xED\xA0\x80") == bad + bad + bad);            // half of a pair
  CHECK(valid_utf8("\xF4\x90\x80\x80") == bad + bad + bad + bad);  // past the last
}
