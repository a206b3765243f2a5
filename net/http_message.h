// What a request of HTTP says, and how the parts of it are read that handlers share. No sockets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/endpoint.h"

namespace p2p::net {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  bool head = false;    // HEAD: answered as GET is; the server leaves the body out
  std::string path;     // decoded; begins with '/', has no NUL, and may hold ".."
  std::string query;    // what follows '?', as it came
  HttpHeaders headers;  // names in lower case
  Endpoint remote;

  // Of the first header with this name (in lower case); empty where there is none.
  std::string_view header(std::string_view name) const;
};

// %41 is A. Nothing where a '%' is not followed by two hexadecimal digits.
std::optional<std::string> percent_decoded(std::string_view text);
// The same of an address. Nothing where a '%' is not followed by two hexadecimal digits, or a NUL
// comes out.
std::optional<std::string> decode_url(std::string_view text);

// Is the name that a browser asked for one of ours? A page of another site can be made to mean this
// host (DNS rebinding), and would read what only those who reach it may; but then the Host header
// has that site's name. Addresses, localhost, this host's name, with any domain behind it, and
// those of `names` ("*": all) are ours; so is none, since every browser sends one.
bool is_own_host(std::string_view host, const std::vector<std::string>& names);

// What a Range header asks for of a body of this size. One range is answered by 206 or 416; without
// one, with several, or with one that is not understood, the whole body is what is answered.
struct HttpRange {
  enum class Kind { kWhole, kPart, kUnsatisfiable } kind = Kind::kWhole;
  std::uint64_t first = 0;
  std::uint64_t length = 0;  // at least 1 of a part
  bool operator==(const HttpRange&) const = default;
};
HttpRange parse_range(std::string_view header, std::uint64_t size);
// The Content-Range header's value for it; not for the whole.
std::string content_range(const HttpRange& range, std::uint64_t size);

}  // namespace p2p::net
