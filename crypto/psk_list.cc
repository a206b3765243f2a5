#include "crypto/psk_list.h"

#include <sodium.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

Secret hint_key_of(const Secret& psk) {
  Hasher hasher = Hasher::derive("p2p 1 psk hint");
  hasher.update(psk.view());
  Digest digest = hasher.finish();
  const Secret key = *Secret::from_bytes(digest.view());
  sodium_memzero(digest.bytes.data(), digest.bytes.size());
  return key;
}

PskHint make_hint(const Secret& hint_key, const PeerId& ephemeral) {
  Hasher hasher = Hasher::keyed(hint_key);
  hasher.update(ephemeral.view());
  const Digest digest = hasher.finish();
  PskHint hint;
  std::copy_n(digest.bytes.begin(), hint.size(), hint.begin());
  return hint;
}

}  // namespace

PskList::PskList(std::vector<Secret> psks) {
  auto shared = std::make_shared<Shared>();
  shared->hint_keys.reserve(psks.size());
  for (const Secret& psk : psks) shared->hint_keys.push_back(hint_key_of(psk));
  shared->psks = std::move(psks);
  shared_ = std::move(shared);
}

PskList::PskList(std::initializer_list<Secret> psks) : PskList(std::vector<Secret>(psks)) {}

const Secret& PskList::operator[](std::size_t index) const {
  P2P_CHECK(index < size());
  return shared_->psks[index];
}

PskHint PskList::hint(std::size_t index, const PeerId& ephemeral) const {
  P2P_CHECK(index < size());
  return make_hint(shared_->hint_keys[index], ephemeral);
}

std::optional<std::size_t> PskList::find(ByteView hint, const PeerId& ephemeral) const {
  if (hint.size() != PskHint{}.size()) return std::nullopt;
  for (std::size_t i = 0; i < size(); ++i) {
    const PskHint candidate = make_hint(shared_->hint_keys[i], ephemeral);
    if (sodium_memcmp(candidate.data(), hint.data(), candidate.size()) == 0) return i;
  }
  return std::nullopt;
}

}  // namespace p2p
