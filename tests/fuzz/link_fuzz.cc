// Whatever text is taken for a link is read again from what it is written as.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "content/link.h"
#include "crypto/keys.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool started = (p2p::init_crypto(), true);
  const auto link = p2p::Link::parse(p2p::text_of(p2p::ByteView(data, size)));
  if (!started || !link.has_value()) return 0;
  const std::string text = link->to_string();
  const auto again = p2p::Link::parse(text);
  P2P_CHECK(again.has_value() && again->to_string() == text);
  P2P_CHECK(again->content == link->content && again->secret == link->secret);
  P2P_CHECK(again->trackers == link->trackers && again->seeders == link->seeders);
  return 0;
}
