#include "crypto/rendezvous.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

Secret key_of(const SwarmId& swarm) {
  Hasher hasher = Hasher::derive("p2p 1 owner");
  hasher.update(swarm.view());
  return *Secret::from_bytes(hasher.finish().view());
}

struct Candidate {
  std::uint64_t score;
  std::size_t position;
};

}  // namespace

Rendezvous::Rendezvous(const SwarmId& swarm) : key_(key_of(swarm)) {}

std::uint64_t Rendezvous::score(ByteView name) const {
  Hasher hasher = Hasher::keyed(key_);
  hasher.update(name);
  return get_u64(hasher.finish().bytes.data());
}

std::vector<std::size_t> best_owners(const SwarmId& swarm, std::span<const ByteView> names,
                                     std::size_t count) {
  const Rendezvous rendezvous(swarm);
  std::vector<Candidate> candidates;
  candidates.reserve(names.size());
  for (std::size_t i = 0; i < names.size(); ++i)
    candidates.push_back({rendezvous.score(names[i]), i});
  const auto better = [names](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    const ByteView left = names[a.position], right = names[b.position];
    const auto order = std::lexicographical_compare_three_way(left.begin(), left.end(),
                                                              right.begin(), right.end());
    return order != 0 ? order < 0 : a.position < b.position;
  };
  const auto end =
      candidates.begin() + static_cast<std::ptrdiff_t>(std::min(count, candidates.size()));
  std::partial_sort(candidates.begin(), end, candidates.end(), better);
  std::vector<std::size_t> best;
  for (auto at = candidates.begin(); at != end; ++at) best.push_back(at->position);
  return best;
}

std::string owner_name(const HostPort& tracker) {
  if (auto address = IpAddress::parse(tracker.host))
    return Endpoint{*address, tracker.port}.to_string();
  std::string host = absl::AsciiStrToLower(tracker.host);
  if (!host.empty() && host.back() == '.') host.pop_back();
  return HostPort{std::move(host), tracker.port}.to_string();
}

}  // namespace p2p
