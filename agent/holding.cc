#include "agent/holding.h"

#include <nlohmann/json.hpp>
#include <optional>

namespace p2p::agent {
namespace {

constexpr int kVersion = 1;

std::vector<std::string> texts_of(const std::vector<HostPort>& addresses) {
  std::vector<std::string> texts;
  for (const HostPort& address : addresses) texts.push_back(address.to_string());
  return texts;
}

std::optional<Holding::State> state_of(std::string_view name) {
  for (const auto state :
       {Holding::State::kWanted, Holding::State::kPartial, Holding::State::kComplete})
    if (state_name(state) == name) return state;
  return std::nullopt;
}

// Throws where it is no list of addresses.
std::vector<HostPort> addresses_of(const nlohmann::json& json) {
  std::vector<HostPort> addresses;
  for (const auto& text : json) {
    auto address = HostPort::parse(text.get<std::string>());
    if (!address || addresses.size() == kMaxLinkAddresses)
      throw nlohmann::json::other_error::create(501, "no address", nullptr);
    addresses.push_back(*std::move(address));
  }
  return addresses;
}

// Throws as above.
std::optional<Holding> holding_of(const nlohmann::json& json) {
  Holding holding;
  if (json.at("version").get<int>() != kVersion) return std::nullopt;
  const auto state = state_of(json.at("state").get<std::string>());
  const auto psk = Secret::parse(json.at("psk").get<std::string>());
  if (!state || !psk) return std::nullopt;
  holding.state = *state;
  holding.psk = *psk;
  holding.has_link_secret = json.at("has_link_secret").get<bool>();
  holding.trackers = addresses_of(json.at("trackers"));
  holding.seeders = addresses_of(json.at("seeders"));
  holding.members = addresses_of(json.at("members"));
  holding.name = json.at("name").get<std::string>();
  holding.bytes = json.at("bytes").get<std::uint64_t>();
  holding.pinned = json.at("pinned").get<bool>();
  holding.added = json.at("added").get<std::int64_t>();
  holding.last_used = json.at("last_used").get<std::int64_t>();
  holding.source = json.at("source").get<std::string>();
  return holding;
}

}  // namespace

std::string_view state_name(Holding::State state) {
  switch (state) {
    case Holding::State::kWanted:
      return "wanted";
    case Holding::State::kPartial:
      return "partial";
    case Holding::State::kComplete:
      return "complete";
  }
  return "";
}

std::string encode_holding(const Holding& holding) {
  const nlohmann::json json = {{"version", kVersion},
                               {"state", std::string(state_name(holding.state))},
                               {"psk", holding.psk.reveal()},
                               {"has_link_secret", holding.has_link_secret},
                               {"trackers", texts_of(holding.trackers)},
                               {"seeders", texts_of(holding.seeders)},
                               {"members", texts_of(holding.members)},
                               {"name", holding.name},
                               {"bytes", holding.bytes},
                               {"pinned", holding.pinned},
                               {"added", holding.added},
                               {"last_used", holding.last_used},
                               {"source", holding.source}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<Holding> decode_holding(std::string_view text, const ContentId& content) {
  const Error malformed{ErrorCode::kMalformed, "the record of content " + content.hex() +
                                                   " is damaged, or of another version of p2p"};
  try {
    auto holding = holding_of(nlohmann::json::parse(text));
    if (!holding) return malformed;
    holding->content = content;
    return *std::move(holding);
  } catch (const nlohmann::json::exception&) {
    return malformed;
  }
}

}  // namespace p2p::agent
