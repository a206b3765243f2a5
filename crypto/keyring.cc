#include "crypto/keyring.h"

#include <sodium.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

Secret datagram_root_of(const Secret& cluster_key) {
  Hasher hasher = Hasher::derive("p2p 1 datagram");
  hasher.update(cluster_key.view());
  Digest digest = hasher.finish();
  const Secret root = *Secret::from_bytes(digest.view());
  sodium_memzero(digest.bytes.data(), digest.bytes.size());
  return root;
}

}  // namespace

KeyHint key_hint_of(const Secret& cluster_key) {
  Hasher hasher = Hasher::derive("p2p 1 key hint");
  hasher.update(cluster_key.view());
  const Digest digest = hasher.finish();
  KeyHint hint;
  std::copy_n(digest.bytes.begin(), hint.size(), hint.begin());
  return hint;
}

std::string hint_text(const KeyHint& hint) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(hint.data()), hint.size()));
}

Result<std::optional<Secret>> parse_key_line(std::string_view line, std::size_t number) {
  const std::string_view text = line.substr(0, line.find('#'));
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return std::optional<Secret>();
  Result<Secret> key =
      Secret::parse(text.substr(first, text.find_last_not_of(kBlanks) + 1 - first));
  if (!key)
    return Error{ErrorCode::kMalformed,
                 absl::StrCat("line ", number, " is no key: ", key.error().message)};
  return std::optional<Secret>(*key);
}

Result<Keyring> Keyring::of(std::vector<Secret> keys) {
  if (keys.empty()) return Error{ErrorCode::kUsage, "there is no key"};
  if (keys.size() > kMaxKeys)
    return Error{ErrorCode::kLimit, absl::StrCat(keys.size(), " keys; at most ", kMaxKeys,
                                                 " are allowed: remove one that is not in use")};
  auto shared = std::make_shared<Shared>();
  for (const Secret& key : keys) {
    const KeyHint hint = key_hint_of(key);
    for (const Entry& other : shared->keys)
      if (other.hint == hint)
        return Error{ErrorCode::kUsage,
                     absl::StrCat("the key ", hint_text(hint), " is there twice: remove one")};
    shared->keys.push_back({key, hint, datagram_root_of(key)});
  }
  Keyring ring;
  ring.shared_ = std::move(shared);
  return ring;
}

Result<Keyring> Keyring::parse(std::string_view text) {
  if (text.size() > kMaxKeyFileBytes)
    return Error{ErrorCode::kLimit, absl::StrCat("more than ", kMaxKeyFileBytes, " bytes")};
  std::vector<Secret> keys;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    P2P_ASSIGN(const std::optional<Secret> key, parse_key_line(line, ++number));
    if (key) keys.push_back(*key);
  }
  return of(std::move(keys));
}

std::string Keyring::reveal() const {
  std::string text;
  for (std::size_t i = 0; i < size(); ++i) absl::StrAppend(&text, entry(i).key.reveal(), "\n");
  return text;
}

std::optional<std::size_t> Keyring::find(const KeyHint& hint) const {
  for (std::size_t i = 0; i < size(); ++i)
    if (entry(i).hint == hint) return i;
  return std::nullopt;
}

std::vector<Secret> Keyring::secrets() const {
  std::vector<Secret> keys;
  for (std::size_t i = 0; i < size(); ++i) keys.push_back(entry(i).key);
  return keys;
}

const Keyring::Entry& Keyring::entry(std::size_t index) const {
  P2P_CHECK(index < size());
  return shared_->keys[index];
}

}  // namespace p2p
