#include "net/json_text.h"

#include <utf8proc.h>

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace p2p::net {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    utf8proc_int32_t point = *at;
    const utf8proc_ssize_t used =
        point < 0x80 ? 1 : utf8proc_iterate(at, static_cast<utf8proc_ssize_t>(text.size()), &point);
    valid.append(used <= 0 ? kReplacement : text.substr(0, static_cast<std::size_t>(used)));
    text.remove_prefix(used <= 0 ? 1 : static_cast<std::size_t>(used));
  }
  return valid;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  text_.push_back(bracket);
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  text_.push_back(bracket);
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  quote(name);
  text_.push_back(':');
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  quote(text);
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number)) return null();
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  return raw({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

JsonWriter& JsonWriter::whole(std::uint64_t number) { return raw(std::to_string(number)); }

JsonWriter& JsonWriter::raw(std::string_view text) {
  separate();
  text_.append(text);
  return *this;
}

void JsonWriter::separate() {
  if (std::exchange(comma_, true)) text_.push_back(',');
}

void JsonWriter::quote(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  text_.push_back('"');
  for (const char c : valid_utf8(text)) {
    if (c == '"' || c == '\\') {
      text_.push_back('\\');
      text_.push_back(c);
    } else if (c == '\n') {
      text_.append("\\n");
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      text_.append("\\u00");
      text_.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      text_.push_back(kHex[c & 0xf]);
    } else {
      text_.push_back(c);
    }
  }
  text_.push_back('"');
}

}  // namespace p2p::net
