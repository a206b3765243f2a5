#include "net/store_address.h"

#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "net/http_message.h"

namespace p2p::net {
namespace {

constexpr std::string_view kScheme = "redis://";

Error usage(const std::string& problem) {
  return Error{ErrorCode::kUsage, "--store: " + problem +
                                      "; write it like redis://store.example:6379/0, with "
                                      "the password in a --store-password-file"};
}

// Without the %XX. Errors where these make no sense, and for control characters.
Result<std::string> unescaped(std::string_view text) {
  auto plain = percent_decoded(text);
  if (!plain) return usage("a '%' in user or password is not followed by two hexadecimal digits");
  for (const char c : *plain)
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c)))
      return usage("there is a control character in user or password");
  if (plain->size() > kMaxStorePasswordBytes) return usage("user or password is too long");
  return *std::move(plain);
}

}  // namespace

Result<StoreAddress> StoreAddress::parse(std::string_view url) {
  if (url.starts_with("rediss://")) return usage("a store is met without TLS (redis://)");
  if (!url.starts_with(kScheme)) return usage("no URL of a redis server");
  std::string_view rest = url.substr(kScheme.size());
  StoreAddress address;
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    const std::string_view who = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    const std::size_t colon = who.find(':');
    P2P_ASSIGN(address.user, unescaped(who.substr(0, colon)));
    if (colon != std::string_view::npos) {
      P2P_ASSIGN(address.password, unescaped(who.substr(colon + 1)));
    }
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view number = rest.substr(slash + 1);
    rest = rest.substr(0, slash);
    const char* end = number.data() + number.size();
    const auto read = std::from_chars(number.data(), end, address.database);
    if (!number.empty() &&
        (read.ec != std::errc() || read.ptr != end || address.database > kMaxStoreDatabase))
      return usage("the database is a number");
  }
  const auto where = HostPort::parse(rest);
  // Not in whose words it is no such thing: they would quote a password that stands there by
  // mistake (redis://USER:PASSWORD, without the @HOST:PORT).
  if (!where) return usage("no HOST:PORT");
  address.where = *where;
  return address;
}

std::string StoreAddress::to_string() const {
  return absl::StrCat(std::string(kScheme), where.to_string(),
                      database == 0 ? "" : absl::StrCat("/", database));
}

bool StoreAddress::is_loopback() const {
  if (where.host == "localhost") return true;
  const auto address = IpAddress::parse(where.host);
  return address && address->is_loopback();
}

}  // namespace p2p::net
