// Link: the one line a person copies. It names the content, says where to ask, and carries the join
// secret.
//
//   p2p://CONTENT/t=HOST:PORT/j=HOST:PORT/s=HOST:PORT#SECRET
//
// CONTENT and SECRET are 32 bytes in base64url without padding (43 characters). t= is a tracker, j=
// a member of the cluster whose hash table knows the content, s= a seeder; any number up to the
// limit, in no order of preference. IPv6 stands without brackets (the last colon parts the port),
// so that no shell needs quotes. Without #SECRET the content is closed by a cluster key.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/keys.h"

namespace p2p {

inline constexpr std::size_t kMaxLinkBytes = 4096;
inline constexpr std::size_t kMaxLinkAddresses = 16;  // of each kind

struct Link {
  ContentId content;
  std::vector<HostPort> trackers;
  std::vector<HostPort> seeders;
  std::optional<Secret> secret;
  std::vector<HostPort> members;  // where their datagrams come in

  static Result<Link> parse(std::string_view text);  // errors: kMalformed
  std::string to_string() const;
};

// The content's id as links spell it.
std::string link_text_of(const ContentId& content);

}  // namespace p2p
