#include "base/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxHostBytes = 253;  // RFC 1035, section 2.3.4
constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Error malformed(std::string_view what, std::string_view text) {
  return Error{ErrorCode::kMalformed, std::string(what) + " '" + std::string(text) + "'"};
}

Result<std::uint16_t> parse_port(std::string_view text, std::string_view whole) {
  std::uint32_t port = 0;
  const bool digits =
      !text.empty() && text.size() <= 5 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || !absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &port) ||
      port > 65535)
    return malformed("no port between 0 and 65535 at the end of", whole);
  return static_cast<std::uint16_t>(port);
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  std::array<std::uint8_t, 16> raw{};
  if (inet_pton(AF_INET, copy.c_str(), raw.data()) == 1) return from_bytes(ByteView(raw).first(4));
  if (inet_pton(AF_INET6, copy.c_str(), raw.data()) == 1) return from_bytes(raw);
  return malformed("not an IP address:", text);
}

Result<IpAddress> IpAddress::from_bytes(ByteView bytes) {
  IpAddress address;
  if (bytes.size() == 4) {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes_.begin());
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin() + 12);
  } else if (bytes.size() == 16) {
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  } else {
    return Error{ErrorCode::kMalformed,
                 absl::StrCat("an IP address has 4 or 16 bytes, not ", bytes.size())};
  }
  return address;
}

bool IpAddress::is_v4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin());
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  return std::all_of(bytes_.begin(), bytes_.begin() + 15, [](auto b) { return b == 0; }) &&
         bytes_[15] == 1;
}

bool IpAddress::is_any() const {
  const auto from = bytes_.begin() + (is_v4() ? 12 : 0);
  return std::all_of(from, bytes_.end(), [](auto b) { return b == 0; });
}

bool IpAddress::is_multicast() const {
  if (!is_v4()) return bytes_[0] == 0xff;
  const bool broadcast =
      std::all_of(bytes_.begin() + 12, bytes_.end(), [](auto b) { return b == 0xff; });
  return (bytes_[12] & 0xf0) == 0xe0 || broadcast;
}

bool IpAddress::is_link_local() const {
  if (is_v4()) return bytes_[12] == 169 && bytes_[13] == 254;
  return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

ByteView IpAddress::wire_bytes() const {
  return is_v4() ? ByteView(bytes_).last(4) : ByteView(bytes_);
}

IpAddress IpAddress::network() const {
  IpAddress network = *this;
  if (!is_v4()) std::fill(network.bytes_.begin() + 8, network.bytes_.end(), std::uint8_t{0});
  return network;
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  const ByteView raw = wire_bytes();
  inet_ntop(is_v4() ? AF_INET : AF_INET6, raw.data(), text, sizeof text);
  return text;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  P2P_ASSIGN(const HostPort host_port, HostPort::parse(text));
  P2P_ASSIGN(const IpAddress address, IpAddress::parse(host_port.host));
  return Endpoint{address, host_port.port};
}

std::string Endpoint::to_string() const { return HostPort{address.to_string(), port}.to_string(); }

Result<HostPort> HostPort::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return malformed("expected HOST:PORT, got", text);
  std::string_view host = text.substr(0, colon);
  P2P_ASSIGN(const std::uint16_t port, parse_port(text.substr(colon + 1), text));
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed || host.find(':') != std::string_view::npos) {
    P2P_ASSIGN(const IpAddress address, IpAddress::parse(host));
    return HostPort{address.to_string(), port};
  }
  if (host.empty() || host.size() > kMaxHostBytes ||
      !std::all_of(host.begin(), host.end(), is_host_character))
    return malformed("no host name or address in", text);
  return HostPort{std::string(host), port};
}

std::string HostPort::to_string() const {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

}  // namespace p2p
