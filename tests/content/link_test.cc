#include "content/link.h"

#include <catch2/catch.hpp>

#include "base/random.h"

using namespace p2p;

namespace {

// 32 bytes of 0xa5 and of 0x3c.
const std::string kContentText = "paWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaU";
const std::string kSecretText = "PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw";
const std::string kBare = "p2p://" + kContentText;
const std::string kWhole =
    kBare + "/t=tracker.example:7000/s=192.0.2.7:4000/s=2001:db8::7:4001#" + kSecretText;

std::string refusal(const std::string& text) {
  const auto link = Link::parse(text);
  if (link) return "";
  CHECK(link.error().code == ErrorCode::kMalformed);
  return link.error().message;
}

bool says(const std::string& text, const std::string& part) {
  const std::string message = refusal(text);
  INFO(text << " -> " << message);
  return message.find(part) != std::string::npos;
}

Bytes random_bytes(Random& random, std::size_t count) {
  Bytes bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
  return bytes;
}

HostPort random_address(Random& random) {
  HostPort address;
  address.port = static_cast<std::uint16_t>(1 + random.below(65535));
  const std::size_t address_bytes[] = {0, 4, 16};
  const std::size_t size = address_bytes[random.below(3)];
  if (size == 0)
    address.host = "host-" + std::to_string(random.below(1000)) + ".example";
  else
    address.host = IpAddress::from_bytes(random_bytes(random, size))->to_string();
  return address;
}

Link random_link(Random& random) {
  Link link;
  link.content = *ContentId::from_bytes(random_bytes(random, ContentId::kSize));
  for (auto n = random.below(kMaxLinkAddresses + 1); n > 0; --n)
    link.trackers.push_back(random_address(random));
  for (auto n = random.below(kMaxLinkAddresses + 1); n > 0; --n)
    link.seeders.push_back(random_address(random));
  for (auto n = random.below(kMaxLinkAddresses + 1); n > 0; --n)
    link.members.push_back(random_address(random));
  if (random.chance(0.5)) link.secret = Secret::from_bytes(random_bytes(random, Secret::kSize));
  return link;
}

}  // namespace

TEST_CASE("a link says the content, where to ask, and the secret") {
  const auto link = Link::parse(kWhole);
  REQUIRE(link.has_value());
  CHECK(link->content == *ContentId::from_bytes(Bytes(32, 0xa5)));
  CHECK(link->trackers == std::vector<HostPort>{{"tracker.example", 7000}});
  CHECK(link->seeders == std::vector<HostPort>{{"192.0.2.7", 4000}, {"2001:db8::7", 4001}});
  REQUIRE(link->secret.has_value());
  CHECK(*link->secret == *Secret::from_bytes(Bytes(32, 0x3c)));
  CHECK(link->to_string() == kWhole);
}

TEST_CASE("a link without addresses or secret is one too") {
  const auto link = Link::parse(kBare);
  REQUIRE(link.has_value());
  CHECK(link->trackers.empty());
  CHECK(link->seeders.empty());
  CHECK_FALSE(link->secret.has_value());
  CHECK(link->to_string() == kBare);
  CHECK(Link::parse(kBare + "#" + kSecretText).has_value());
}

TEST_CASE("every link survives being written and read") {
  const std::uint64_t seed = 51;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 500; ++round) {
    const Link link = random_link(random);
    const std::string text = link.to_string();
    CAPTURE(round, text);
    const auto back = Link::parse(text);
    REQUIRE(back.has_value());
    REQUIRE(back->content == link.content);
    REQUIRE(back->trackers == link.trackers);
    REQUIRE(back->members == link.members);
    REQUIRE(back->seeders == link.seeders);
    REQUIRE(back->secret.has_value() == link.secret.has_value());
    if (link.secret) REQUIRE(*back->secret == *link.secret);
    REQUIRE(back->to_string() == text);
    // A shell takes it as one word, unquoted.
    REQUIRE(text.find_first_of("[]*?&;|<>()$`\"' \t\n\\!{}~") == std::string::npos);
  }
}

TEST_CASE("an IPv6 address is written without brackets, and read with or without") {
  const auto bare = Link::parse(kBare + "/s=::1:4000");
  const auto bracketed = Link::parse(kBare + "/s=[::1]:4000");
  REQUIRE(bare.has_value());
  REQUIRE(bracketed.has_value());
  CHECK(bare->seeders == bracketed->seeders);
  CHECK(bracketed->to_string() == kBare + "/s=::1:4000");
}

TEST_CASE("addresses keep their order, and trackers are written first") {
  const auto link = Link::parse(kBare + "/s=b:1/t=d:2/s=a:3/t=c:4");
  REQUIRE(link.has_value());
  CHECK(link->to_string() == kBare + "/t=d:2/t=c:4/s=b:1/s=a:3");
}

TEST_CASE("what is no link is refused, and the refusal says which part is wrong") {
  for (const char* text :
       {"", "p2p", "p2p:/", "P2P://", "http://example.org", " p2p://", "magnet:?"})
    CHECK(says(text, "does not begin with 'p2p://'"));
  CHECK(says("p2p://", "content id has 0 characters instead of 43"));
  CHECK(says(kBare.substr(0, 48), "content id has 42 characters"));
  CHECK(says(kBare + "A", "content id has 44 characters"));
  CHECK(says(kBare + "=", "content id has 44 characters"));
  CHECK(says("p2p:///" + kContentText, "content id has 0 characters"));
  CHECK(says(kBare + "#", "after the '#': a secret has 43 characters, not 0"));
  CHECK(says(kBare + "#" + kSecretText + "x", "after the '#'"));
  CHECK(says(kBare + "#" + kSecretText + "\n", "after the '#'"));
  CHECK(says(kBare + "#" + kSecretText + "#", "more than one '#'"));
  CHECK(says(kBare + "##" + kSecretText, "more than one '#'"));
  CHECK(says(kBare + "/", "part 1 after the content id begins with none"));
  CHECK(says(kBare + "//s=h:1", "part 1"));
  CHECK(says(kBare + "/s=h:1/", "part 2"));
  for (const char* part : {"x=h:1", "T=h:1", "S=h:1", "s", "sh:1", "ss=h:1", " s=h:1", "=h:1"})
    CHECK(says(kBare + "/s=h:1/" + part, "part 2 after the content id begins with none"));
  for (const char* address : {"", "h", "h:", ":1", "h:0", "h:65536", "h:-1", "h:1 ", "h h:1",
                              "[::1]", "[::1:1", "g::1:1", "h:1?", "h:1%20", "\xc3\xa9:1"})
    CHECK(says(kBare + "/t=t:1/s=" + address, "the seeder address in part 2 is no HOST:PORT"));
  CHECK(says(kBare + "/t=h:0", "the tracker address in part 1"));
  for (const std::string& text :
       {std::string("p2p://"), kBare + "/", kBare + "#", kBare + "/s=h:0"})
    CHECK(says(text, "may not have been copied whole"));
}

TEST_CASE("a content id or secret has one spelling") {
  // The last character carries four bits of the bytes and two spare ones.
  for (const char last : {'V', 'W', 'X'}) {
    CHECK(says("p2p://" + kContentText.substr(0, 42) + last, "wrong character"));
    CHECK_FALSE(Link::parse(kBare + "#" + kSecretText.substr(0, 42) + char(last - 'V' + 'x')));
  }
  for (const char odd : {'+', '=', '.', ' ', '\n', '\t', '\0', '\x80', '%'}) {
    std::string content = kContentText;
    content[20] = odd;
    CHECK(says("p2p://" + content, "wrong character"));
    std::string secret = kSecretText;
    secret[20] = odd;
    CAPTURE(secret);
    CHECK_FALSE(Link::parse(kBare + "#" + secret).has_value());
  }
  for (int value = 0; value < 256; ++value) {
    std::string secret = kSecretText;
    secret[30] = static_cast<char>(value);
    const auto link = Link::parse(kBare + "#" + secret);
    if (link) CHECK(link->secret->reveal() == secret);
  }
  // Spaces that a decoder might skip, where the length is right all the same.
  CHECK_FALSE(Link::parse("p2p://" + kContentText.substr(0, 39) + "    ").has_value());
  CHECK_FALSE(Link::parse("p2p://" + kContentText.substr(0, 40) + "===").has_value());
}

TEST_CASE("a link is bounded in addresses and length") {
  std::string text = kBare;
  for (std::size_t i = 0; i < kMaxLinkAddresses; ++i) text += "/s=h:1/t=h:1";
  CHECK(Link::parse(text).has_value());
  CHECK(says(text + "/s=h:1", "the seeder address in part 33 is more than 16 of its kind"));
  CHECK(says(text + "/t=h:1", "the tracker address in part 33 is more than 16 of its kind"));
  CHECK(says(kBare + std::string(kMaxLinkBytes, 'a'), "more than 4096"));
  CHECK(says("p2p://" + std::string(100'000'000, '/'), "more than 4096"));
}

TEST_CASE("a link that is cut short within the content id or secret is refused") {
  const std::size_t content_end = kBare.size();
  const std::size_t secret_start = kWhole.find('#') + 1;
  for (std::size_t size = 0; size < kWhole.size(); ++size) {
    if (size >= content_end && size < secret_start) continue;
    CAPTURE(size);
    CHECK(says(kWhole.substr(0, size), "may not have been copied whole"));
  }
}

TEST_CASE("no change of one byte crashes the reader, and what is read has one spelling") {
  for (std::size_t offset = 0; offset < kWhole.size(); ++offset) {
    for (int value = 0; value < 256; ++value) {
      std::string text = kWhole;
      text[offset] = static_cast<char>(value);
      const auto link = Link::parse(text);
      if (!link) continue;
      const auto again = Link::parse(link->to_string());
      REQUIRE(again.has_value());
      REQUIRE(again->to_string() == link->to_string());
    }
  }
}

TEST_CASE("a refusal never repeats the secret, even where the link lost its '#'") {
  const std::string part = kSecretText.substr(4, 12);
  for (std::size_t offset = 0; offset < kWhole.size(); ++offset) {
    for (const char* by : {"", "#", "/", "x", ":"}) {
      std::string text = kWhole;
      text.replace(offset, 1, by);
      CAPTURE(text);
      CHECK_FALSE(says(text, part));
    }
  }
}
