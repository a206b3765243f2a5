// Writing JSON: values one after another into a string. And text that is safe to write: names and
// messages may hold any bytes.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace p2p::net {

// The same text in valid UTF-8: what is none becomes U+FFFD, one for each byte.
std::string valid_utf8(std::string_view text);

// Begin, values and end in the order of the text; commas and colons come by themselves. That keys
// and values take turns, and that what is begun is ended, is the caller's to see to.
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool yes) { return raw(yes ? "true" : "false"); }
  // null where it is no number.
  JsonWriter& value(double number);
  template <std::unsigned_integral Number>
  JsonWriter& value(Number number) {
    return whole(static_cast<std::uint64_t>(number));
  }
  JsonWriter& null() { return raw("null"); }

  template <typename Value>
  JsonWriter& field(std::string_view name, const Value& of) {
    return key(name).value(of);
  }

  std::string take() { return std::move(text_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  JsonWriter& raw(std::string_view text);
  JsonWriter& whole(std::uint64_t number);
  void separate();
  void quote(std::string_view text);

  std::string text_;
  bool comma_ = false;  // before the next value
};

}  // namespace p2p::net
