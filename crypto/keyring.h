// The cluster keys that a process holds. One of them, the first, is in use: what it sends is sealed
// with that. All of them open what comes. So a cluster changes its key without a gap: the new key
// is added everywhere, then put first everywhere, then the old one is removed everywhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/keys.h"

namespace p2p {

// The old key, the new one, and room for a change that was begun twice.
inline constexpr std::size_t kMaxKeys = 4;
// A key file is read whole. Keys take 44 bytes a line; the rest is for comments.
inline constexpr std::size_t kMaxKeyFileBytes = 4096;

// What names a cluster key in public: in the header of every datagram sealed with it, and to people
// in hexadecimal. The first 4 bytes of derive("p2p 1 key hint", cluster key).
using KeyHint = std::array<std::uint8_t, 4>;
KeyHint key_hint_of(const Secret& cluster_key);
// 8 hex digits.
std::string hint_text(const KeyHint& hint);

// The keys of a key file in their order, as parse() below finds them, without those limits that
// only a whole ring has (a key twice, too many): for who edits the file line by line. A line is a
// key, or blank; '#' and what follows it up to the line's end is a comment.
// kMalformed, with the line's number and never its text: that may be a secret.
Result<std::optional<Secret>> parse_key_line(std::string_view line, std::size_t number);

// Immutable, and cheap to copy: sealers, openers and half-open connections share the keys and what
// is derived from them when the ring is built. Safe to read from several threads. Only a ring that
// was default-constructed is empty: of a process without a cluster key.
class Keyring {
 public:
  Keyring() = default;
  // The first is in use. kUsage: none; the same twice, or two that happen to share a hint (one pair
  // of keys in 4 billion). kLimit: more than kMaxKeys.
  static Result<Keyring> of(std::vector<Secret> keys);
  // A key file: one key a line as Secret::parse takes it, the first is in use. Blank lines,
  // comments after '#' and blanks around a key mean nothing. kLimit where the text has more than
  // kMaxKeyFileBytes, kMalformed with the number of a line that is no key, and the errors of of().
  static Result<Keyring> parse(std::string_view text);
  // The text of a key file with these keys and nothing else. Holds the secrets.
  std::string reveal() const;

  std::size_t size() const { return shared_ ? shared_->keys.size() : 0; }
  bool empty() const { return size() == 0; }
  // Below: index < size(); 0 is the key in use.
  const Secret& operator[](std::size_t index) const { return entry(index).key; }
  const KeyHint& hint(std::size_t index) const { return entry(index).hint; }
  // derive("p2p 1 datagram", cluster key): what the keys of datagrams are made of
  // (crypto/datagram.h).
  const Secret& datagram_root(std::size_t index) const { return entry(index).datagram_root; }
  // The one key with this hint. Hints are public: no care is taken of time.
  std::optional<std::size_t> find(const KeyHint& hint) const;
  // All keys, for a PskList.
  std::vector<Secret> secrets() const;

 private:
  struct Entry {
    Secret key;
    KeyHint hint;
    Secret datagram_root;
  };
  struct Shared {
    std::vector<Entry> keys;
  };
  const Entry& entry(std::size_t index) const;

  std::shared_ptr<const Shared> shared_;
};

}  // namespace p2p
