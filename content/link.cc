#include "content/link.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace p2p {
namespace {

constexpr std::string_view kScheme = "p2p://";
constexpr std::size_t kIdCharacters = 43;  // ceil(32 * 8 / 6)

struct AddressKind {
  const char* key;
  const char* name;
  std::vector<HostPort> Link::*addresses;
};
// In the order in which they stand in a link.
constexpr AddressKind kAddressKinds[] = {{"t=", "tracker", &Link::trackers},
                                         {"j=", "member", &Link::members},
                                         {"s=", "seeder", &Link::seeders}};

// Nothing of the link is repeated: a link that lost its '#' has the secret in its last address, and
// errors end up in logs.
Error broken(const std::string& problem) {
  return Error{ErrorCode::kMalformed,
               absl::StrCat("not a p2p link: ", problem, "; it may not have been copied whole")};
}

Result<ContentId> parse_content(std::string_view text) {
  if (text.size() != kIdCharacters)
    return broken(
        absl::StrCat("the content id has ", text.size(), " characters instead of ", kIdCharacters));
  std::string bytes;
  const bool decoded =
      absl::WebSafeBase64Unescape(absl::string_view(text.data(), text.size()), &bytes);
  const auto content = decoded ? ContentId::from_bytes(bytes_of(bytes)) : std::nullopt;
  // absl skips white space and takes any spare bits: only the one way to write an id is read.
  if (!content || link_text_of(*content) != text)
    return broken("the content id has a wrong character");
  return *content;
}

Status parse_address(std::string_view part, std::size_t number, Link& link) {
  const auto kind = std::find_if(std::begin(kAddressKinds), std::end(kAddressKinds),
                                 [&](const AddressKind& k) { return part.starts_with(k.key); });
  if (kind == std::end(kAddressKinds))
    return broken(absl::StrCat("part ", number,
                               " after the content id begins with none of 't=', 'j=' and 's='"));
  const std::string name = absl::StrCat(kind->name, " address in part ", number);
  std::vector<HostPort>& addresses = link.*kind->addresses;
  if (addresses.size() == kMaxLinkAddresses)
    return broken(absl::StrCat("the ", name, " is more than ", kMaxLinkAddresses, " of its kind"));
  Result<HostPort> address = HostPort::parse(part.substr(2));
  if (!address || address->port == 0)
    return broken(absl::StrCat("the ", name, " is no HOST:PORT with a port from 1 to 65535"));
  addresses.push_back(*std::move(address));
  return {};
}

}  // namespace

std::string link_text_of(const ContentId& content) {
  return absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(content.bytes.data()), content.bytes.size()));
}

Result<Link> Link::parse(std::string_view text) {
  if (text.size() > kMaxLinkBytes)
    return Error{ErrorCode::kMalformed, absl::StrCat("not a p2p link: it has ", text.size(),
                                                     " characters, more than ", kMaxLinkBytes)};
  if (!text.starts_with(kScheme))
    return broken(absl::StrCat("it does not begin with '", std::string(kScheme), "'"));
  text.remove_prefix(kScheme.size());

  Link link;
  if (const std::size_t hash = text.find('#'); hash != std::string_view::npos) {
    const std::string_view fragment = text.substr(hash + 1);
    if (fragment.find('#') != std::string_view::npos) return broken("it has more than one '#'");
    Result<Secret> secret = Secret::parse(fragment);
    if (!secret) return broken(absl::StrCat("after the '#': ", secret.error().message));
    link.secret = *std::move(secret);
    text = text.substr(0, hash);
  }

  std::size_t slash = text.find('/');
  P2P_ASSIGN(link.content, parse_content(text.substr(0, slash)));
  for (std::size_t number = 1; slash != std::string_view::npos; ++number) {
    text.remove_prefix(slash + 1);
    slash = text.find('/');
    P2P_TRY(parse_address(text.substr(0, slash), number, link));
  }
  return link;
}

std::string Link::to_string() const {
  std::string text = absl::StrCat(std::string(kScheme), link_text_of(content));
  for (const AddressKind& kind : kAddressKinds)
    for (const HostPort& address : this->*kind.addresses)
      absl::StrAppend(&text, "/", kind.key, address.host, ":", address.port);
  if (secret) absl::StrAppend(&text, "#", secret->reveal());
  return text;
}

}  // namespace p2p
