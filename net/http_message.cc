#include "net/http_message.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace p2p::net {
namespace {

// Of the digits; more than fits is as good as the most that does. Nothing where other signs are
// among them, or there are none.
std::optional<std::uint64_t> read_number(std::string_view digits) {
  if (digits.empty()) return std::nullopt;
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    value = value > (kMost - digit) / 10 ? kMost : value * 10 + digit;
  }
  return value;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return end == std::string_view::npos ? std::string_view() : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

std::string own_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "";
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      unsigned value = 0;
      const char* digits = text.data() + i + 1;
      if (text.size() - i < 3 || std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2)
        return std::nullopt;
      c = static_cast<char>(value);
      i += 2;
    }
    decoded.push_back(c);
  }
  return decoded;
}

std::optional<std::string> decode_url(std::string_view text) {
  auto decoded = percent_decoded(text);
  if (decoded && decoded->find('\0') != std::string::npos) return std::nullopt;
  return decoded;
}

bool is_own_host(std::string_view host, const std::vector<std::string>& names) {
  if (host.empty()) return true;
  const std::string name = absl::AsciiStrToLower(std::string(without_port(trimmed(host))));
  if (IpAddress::parse(name) || name == "localhost" || name.ends_with(".localhost")) return true;
  const std::string own = absl::AsciiStrToLower(own_name());
  if (!own.empty() && (name == own || name.starts_with(own + "."))) return true;
  return std::any_of(names.begin(), names.end(), [&](const std::string& allowed) {
    return allowed == "*" || absl::AsciiStrToLower(allowed) == name;
  });
}

HttpRange parse_range(std::string_view header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  header = trimmed(header);
  if (!header.starts_with(kUnit)) return {};
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view from = trimmed(header.substr(0, dash));
  const std::string_view to = trimmed(header.substr(dash + 1));
  const auto first = read_number(from), last = read_number(to);
  const HttpRange none{HttpRange::Kind::kUnsatisfiable};
  if (from.empty()) {  // the last so many
    if (!last) return {};
    if (*last == 0 || size == 0) return none;
    const std::uint64_t length = std::min(*last, size);
    return {HttpRange::Kind::kPart, size - length, length};
  }
  if (!first || (!last && !to.empty()) || (last && *last < *first)) return {};
  if (*first >= size) return none;
  const std::uint64_t end = last && *last < size ? *last : size - 1;
  return {HttpRange::Kind::kPart, *first, end - *first + 1};
}

std::string content_range(const HttpRange& range, std::uint64_t size) {
  if (range.kind == HttpRange::Kind::kUnsatisfiable) return absl::StrCat("bytes */", size);
  return absl::StrCat("bytes ", range.first, "-", range.first + range.length - 1, "/", size);
}

}  // namespace p2p::net
