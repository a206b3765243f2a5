#include "content/path_rules.h"

#include <catch2/catch.hpp>

using namespace p2p;

namespace {

using namespace std::string_literals;

std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

// Every text that is refused as a component, whether a path of its own, a part or a name.
const std::vector<std::string> kBadComponents = {
    "."s,
    ".."s,
    "a\\b"s,
    "\\"s,
    "a\0b"s,
    "\0"s,
    "a\nb"s,
    "\x1b[2J"s,
    "\x01"s,
    "\x1f"s,
    "\x7f"s,
    "\xc2\x80"s,  // C1
    "\xc2\x9f"s,  // C1
    "\u202a"s,    // bidi marks, from here
    "a\u202egpj.exe"s,
    "\u2066x"s,
    "\u2069"s,
    "\u200e"s,
    "\u200f"s,
    "\u061c"s,
    "\xff"s,  // no UTF-8, from here
    "\x80"s,  // a continuation byte alone
    "\xc3"s,  // cut short
    "\xe2\x82"s,
    "\xc0\xaf"s,  // '/' overlong
    "\xc0\x80"s,  // NUL overlong
    "\xe0\x80\xaf"s,
    "\xed\xa0\x80"s,  // surrogates
    "\xed\xbf\xbf"s,
    "\xf4\x90\x80\x80"s,  // past U+10FFFF
    "\xf8\x88\x80\x80\x80"s,
    std::string(256, 'a'),
    repeated("\u00e9", 128),
};

}  // namespace

TEST_CASE("ordinary and odd names alike are fine as paths") {
  for (const std::string& path : {"a"s,
                                  "foo... bar"s,
                                  "..."s,
                                  ".hidden"s,
                                  "..a"s,
                                  "a.."s,
                                  "a/b/c.txt"s,
                                  "~"s,
                                  "a b"s,
                                  "-rf"s,
                                  "*?<>|\"'$`"s,
                                  "CON"s,
                                  "\u00e9t\u00e9/\u65e5\u672c"s,
                                  "\U0001f600"s,

                                  "ab:c"s,
                                  "1:"s,
                                  "x/C:"s,
                                  "\u00a0"s,
                                  "\u202f"s,
                                  "\u2065"s,
                                  "\u200d"s,
                                  std::string(255, 'a'),
                                  repeated("\u00e9", 127)}) {
    CAPTURE(path);
    CHECK(check_path(path).has_value());
  }
}

TEST_CASE("a path that could lead out of its folder, or hide what it is, is refused") {
  for (const std::string& bad : kBadComponents) {
    CAPTURE(bad);
    CHECK(check_path(bad).error().code == ErrorCode::kMalformed);
    CHECK_FALSE(check_path("a/" + bad).has_value());
    CHECK_FALSE(check_path(bad + "/a").has_value());
    CHECK_FALSE(check_path("a/" + bad + "/b").has_value());
  }
  for (const std::string& bad :
       {""s, "/"s, "/a"s, "//a"s, "a/"s, "a//b"s, "./a"s, "../a"s, "a/../b"s, "a/./b"s, "C:"s,
        "c:/x"s, "C:x"s, "a:b"s, "Z:\\x"s, "\\\\h\\x"s}) {
    CAPTURE(bad);
    CHECK_FALSE(check_path(bad).has_value());
  }
}

TEST_CASE("a path is bounded in depth and length") {
  CHECK(check_path(repeated("a/", 99) + "a").has_value());
  CHECK_FALSE(check_path(repeated("a/", 100) + "a").has_value());
  const std::string folder = std::string(255, 'a') + "/";
  CHECK(check_path(repeated(folder, 15) + std::string(255, 'a')).has_value());  // 4,095 bytes
  CHECK_FALSE(check_path(repeated(folder, 16) + "a").has_value());              // 4,097
}

TEST_CASE("a name is one component by the same rules") {
  for (const std::string& name :
       {"a"s, "foo... bar"s, "x.tar.gz"s, "\u00e9"s, std::string(255, 'a')})
    CHECK(check_name(name).has_value());
  for (const std::string& bad : kBadComponents) {
    CAPTURE(bad);
    CHECK(check_name(bad).error().code == ErrorCode::kMalformed);
  }
  for (const std::string& bad : {""s, "/"s, "a/b"s, "/a"s, "a/"s, "C:"s, "c:x"s})
    CHECK_FALSE(check_name(bad).has_value());
}

TEST_CASE("a symlink may point anywhere, but is text without control characters") {
  for (const std::string& target : {"a"s, "/etc/passwd"s, "../../x"s, "."s, "a\\b"s, "C:\\x"s,
                                    "\u202e"s, "a//b/"s, std::string(4095, 'a')})
    CHECK(check_symlink_target(target).has_value());
  for (const std::string& bad : {""s, "a\0b"s, "a\nb"s, "\x7f"s, "\xc2\x85"s, "\xff"s, "\xc0\xaf"s,
                                 "\xed\xa0\x80"s, std::string(4096, 'a')}) {
    CAPTURE(bad);
    CHECK(check_symlink_target(bad).error().code == ErrorCode::kMalformed);
  }
}

TEST_CASE("an error names the path, and shows it so that it harms no terminal") {
  CHECK(check_path("a/../b").error().message == "the path 'a/../b' has a '..' component");
  CHECK(check_name("caf\u00e9/x").error().message == "the name 'caf\u00e9/x' has a '/'");
  for (const std::string& bad : kBadComponents) {
    const std::string message = check_path("x/" + bad).error().message;
    CAPTURE(message);
    CHECK(message.size() < 800);
    for (const char c : message) CHECK(static_cast<unsigned char>(c) >= 0x20);
    CHECK(message.find("\u202e") == std::string::npos);
    CHECK(message.find('\xff') == std::string::npos);
    CHECK(message.find('\x7f') == std::string::npos);
  }
  // A long one is cut between characters, wherever they fall.
  for (const std::string& start : {""s, "a"s, "aa"s}) {
    const std::string path = start + repeated("\u65e5", 100);
    const std::string message = check_path(path).error().message;
    CHECK(message.find("'" + start + "\u65e5") != std::string::npos);
    CHECK(message.find("...'") != std::string::npos);
    CHECK(check_symlink_target(message).has_value());  // still valid UTF-8
  }
}

TEST_CASE("names that a folding file system takes for one have one collision key") {
  const std::vector<std::vector<std::string>> same = {
      {"readme", "README", "ReadMe"},
      {"\u00e9", "e\u0301", "\u00c9", "E\u0301"},
      {"stra\u00dfe", "STRASSE", "stra\u1e9ee"},
      {"\u03c3", "\u03c2", "\u03a3"},      // sigma, its final form, the capital
      {"k", "\u212a"},                     // the Kelvin sign
      {"\u00e5", "\u212b", "a\u030a"},     // the Angstrom sign
      {"\ufb01", "FI"},                    // a ligature
      {"q\u0307\u0323", "q\u0323\u0307"},  // marks in another order
      {"\u03b1\u0345\u0301", "\u03b1\u0301\u0345", "\u1fb4", "\u0391\u0301\u0399"},
      {"\uac00", "\u1100\u1161"},  // Hangul, composed and not
      {"a\u200db", "ab"},          // a zero-width joiner
      {"A/B/\u00c9", "a/b/e\u0301"},
  };
  for (const auto& names : same) {
    for (const std::string& name : names) {
      CAPTURE(names.front(), name);
      CHECK(collision_key(name) == collision_key(names.front()));
      CHECK(collision_key(collision_key(name)) == collision_key(name));
    }
  }
  for (std::size_t i = 1; i < same.size(); ++i)
    CHECK(collision_key(same[i].front()) != collision_key(same[i - 1].front()));
}

TEST_CASE("names that no file system takes for one have different collision keys") {
  CHECK(collision_key("a") != collision_key("b"));
  CHECK(collision_key("e") != collision_key("\u00e9"));
  CHECK(collision_key("a/b") != collision_key("ab"));
  CHECK(collision_key("\u00b2") != collision_key("2"));  // alike by compatibility only
}
